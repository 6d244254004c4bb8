"""Files that people keep, written completely or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file in one step: see `replacing`.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
    """
    with replacing(path) as file:
        file.write(data)


def write_in(folder: str | os.PathLike[str], data: bytes, ending: str) -> Path:
    """Write a file in a folder, named by a hash of its contents, and return its path.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(folder) / f"{hashlib.sha256(data).hexdigest()[:16]}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    return path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that replaces the old one when the block ends, unless the block raises.

    A reader sees the old file or the new one, never a part. A symlink stays, and the file that it
    points to is replaced. A special file, such as `/dev/stdout`, is written directly.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG | (0o666 & ~_umask())
    if not stat.S_ISREG(mode):
        with target.open("wb") as file:
            yield file
        return
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    # the only way to read it; a file that another thread creates meanwhile gets a stricter mode
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
