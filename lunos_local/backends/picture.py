"""Small PNG images from the standard library."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib

_SIZE = 16
_CELLS = 8


def png_data_url(text: str) -> str:
    """Return a data URL of a 16x16 PNG whose two colours come from `text`."""
    dark, light, _ = _colours(text)
    rows = [[dark if (x + y) % 2 else light for x in range(4)] for y in range(4)]
    data = _png(_SIZE, _SIZE, rows)
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def draw(text: str, width: int, height: int) -> bytes:
    """Return a PNG of a mirrored pattern; colours and pattern come from `text`."""
    dark, light, bits = _colours(text)
    half = _CELLS // 2
    rows = []
    for y in range(_CELLS):
        left = [dark if bits[y] >> x & 1 else light for x in range(half)]
        rows.append(left + left[::-1])
    return _png(width, height, rows)


def _colours(text: str) -> tuple[bytes, bytes, bytes]:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return digest[:3], digest[3:6], digest[6:]


def _png(width: int, height: int, cells: list[list[bytes]]) -> bytes:
    lines = []
    for row in cells:
        pixels = (row[x * len(row) // width] for x in range(width))
        lines.append(b"\x00" + b"".join(pixels))  # a row starts with its filter; 0 is none
    body = b"".join(lines[y * len(lines) // height] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    return data + _chunk(b"IDAT", zlib.compress(body, 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
