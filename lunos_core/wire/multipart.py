"""Encode multipart forms deterministically, so that a retry sends the same body.

Source of the format: RFC 7578; names and file names are escaped as browsers do (WHATWG).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lunos_core.wire import json
from lunos_core.wire.text import join_surrogates

_TYPES = {
    "aac": "audio/aac",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "mp4": "audio/mp4",
    "mpeg": "audio/mpeg",
    "mpga": "audio/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "webm": "audio/webm",
}


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form.

    Attributes:
        filename: its extension tells servers the format.
        data: its bytes.
    """

    filename: str
    data: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        """The media type of the file's extension, the same on every machine."""
        ending = self.filename.rpartition(".")[2].lower()
        return _TYPES.get(ending, "application/octet-stream")


def encode_form(fields: Mapping[str, Any], file: FormFile) -> tuple[bytes, str]:
    """Return the body and its content type.

    Args:
        fields: texts, numbers and flags; a list is sent as one `name[]` for each item, and a
            mapping as JSON.
        file: the field `file`, which comes last.

    Raises:
        TypeError: a value that a form cannot carry.

    Example:
        >>> from lunos_core.wire.multipart import FormFile, encode_form
        >>> body, content_type = encode_form({"model": "m"}, FormFile("a.wav", b"RIFF"))
        >>> content_type
        'multipart/form-data; boundary=lunos-form-0'
        >>> body.count(b"--lunos-form-0")
        3
    """
    parts = [
        (f'name="{_escaped(name)}"'.encode(), _field_bytes(name, value))
        for name, value in _flat(fields)
    ]
    # not random: equal requests have equal bodies, even in a recording
    number = 0
    while any(b"lunos-form-%d" % number in data for data in (file.data, *(p[1] for p in parts))):
        number += 1
    boundary = b"lunos-form-%d" % number
    pieces = [
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (boundary, name, data)
        for name, data in parts
    ]
    # "replace": a file's name may have bytes that aren't text
    filename = _escaped(file.filename).encode("utf-8", "replace")
    pieces.append(
        b'--%b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n'
        b"Content-Type: %b\r\n\r\n" % (boundary, filename, file.content_type.encode())
    )
    pieces += [file.data, b"\r\n--%b--\r\n" % boundary]
    return b"".join(pieces), f"multipart/form-data; boundary={boundary.decode()}"


def _flat(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, list | tuple):
            yield from ((f"{name}[]", item) for item in value)
        elif value is not None:
            yield name, value


def _field_bytes(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return join_surrogates(value).encode()
    if isinstance(value, bool | int | float | Mapping):
        return json.dumps(value)
    raise TypeError(f"{name} cannot be sent in a form: {type(value).__name__}")


def _escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
