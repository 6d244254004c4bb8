"""`lunos/scripted-image`: plain PNG images made from the prompt, the same every time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import struct
import threading
import zlib
from collections import OrderedDict
from typing import Any

from lunos_local.backends import conversation, tokens
from lunos_local.backends.answer import CREATED, Answer, Choice, usage
from lunos_local.backends.base import Body, RuleBackend

DEFAULT_SIZE = "256x256"
IMAGE_TOKENS = 1290
_MOST_FILES = 64
_SIZE = 16
_CELLS = 8


class Files:
    """The last images that were generated as URLs; the oldest are dropped first."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, data: bytes, ending: str = ".png") -> str:
        """Keep an image and return its name, which is its hash."""
        name = hashlib.sha256(data).hexdigest()[:24] + ending
        with self._lock:
            self._files[name] = data
            self._files.move_to_end(name)
            while len(self._files) > _MOST_FILES:
                self._files.popitem(last=False)
        return name

    def get(self, name: str) -> bytes | None:
        """Return the image of that name, if it is still there."""
        return self._files.get(name)


class ScriptedImages:
    """Makes `n` images; their colours and patterns depend on prompt, seed and number."""

    def __init__(self) -> None:
        self.chat = RuleBackend(_chat, _chat)

    async def draw(self, body: Body, files: Files, files_url: str) -> Body:
        """Answer an image request; URLs begin with `files_url`."""
        return await asyncio.to_thread(self._answer, body, files, files_url)

    def _answer(self, body: Body, files: Files, files_url: str) -> Body:
        width, height = (int(number) for number in (body.get("size") or DEFAULT_SIZE).split("x"))
        data: list[dict[str, Any]] = []
        for number in range(body.get("n") or 1):
            image = draw(f"{body['prompt']}\n{body.get('seed')}\n{number}", width, height)
            if body.get("response_format") == "b64_json":
                entry = {"b64_json": base64.b64encode(image).decode("ascii")}
            else:
                entry = {"url": files_url + files.add(image)}
            data.append({**entry, "revised_prompt": body["prompt"]})
        return {"created": CREATED, "data": data, "model": body["model"], "cost": 0.0}


def _chat(body: Body) -> Answer:
    prompt = conversation.last_user_text(body["messages"])
    ratio = (body.get("image_config") or {}).get("aspect_ratio") or ""
    match = re.fullmatch(r"([1-9]\d?):([1-9]\d?)", ratio)
    height = 256 * int(match[2]) // int(match[1]) if match else 256
    count = body.get("n") or 1
    choices = []
    for number in range(count):
        image = draw(f"{prompt}\n{body.get('seed')}\n{number}", 256, height)
        url = "data:image/png;base64," + base64.b64encode(image).decode("ascii")
        choices.append(Choice(images=[url]))
    spent = usage(
        tokens.count(prompt),
        count * IMAGE_TOKENS,
        completion_details={"image_tokens": count * IMAGE_TOKENS},
    )
    name = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return Answer(f"chatcmpl-{name}", body["model"], choices, spent)


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
