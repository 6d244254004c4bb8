"""The public catalog on disk: one small JSON file for each base URL, without any secret.

A file that is broken, from the future, of another version or of another base URL counts as absent;
a folder that isn't writable means no cache. Nothing here raises or blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lunos_core.logs import log as _log
from lunos_core.wire import json

_VERSION = 1
# other machines may share the folder, and their clocks differ a little
_CLOCK_SKEW = 60.0
_LARGEST_FILE = 64 * 1024 * 1024


def cache_folder(
    environment: Mapping[str, str], platform: str = sys.platform, home: Path | None = None
) -> Path | None:
    """Return this system's folder for cache files, or `None` if it cannot be determined.

    `LUNOS_CACHE_DIR` wins. Then there are only three rules: `%LOCALAPPDATA%` on Windows,
    `~/Library/Caches` on macOS, `$XDG_CACHE_HOME` or `~/.cache` elsewhere.
    """
    own = environment.get("LUNOS_CACHE_DIR")
    if own:
        return Path(own)
    if platform == "win32":
        base = environment.get("LOCALAPPDATA") or environment.get("APPDATA")
        return Path(base, "lunos", "Cache") if base else None
    if home is None:
        try:
            home = Path.home()
        except RuntimeError:  # no home folder, as in some containers
            return None
    if platform == "darwin":
        return home / "Library" / "Caches" / "lunos"
    xdg = environment.get("XDG_CACHE_HOME", "")
    # the XDG rules ignore relative paths
    return (Path(xdg) if Path(xdg).is_absolute() else home / ".cache") / "lunos"


def cache_file(folder: Path, root_url: str) -> Path:
    """Return the file for one base URL; its name shows people the host."""
    digest = hashlib.sha256(root_url.encode()).hexdigest()[:16]
    host = "".join(c if c.isalnum() or c in ".-" else "-" for c in urlsplit(root_url).netloc)
    return folder / f"models-{host[:60]}-{digest}.json"


def read_cache(file: Path, root_url: str) -> tuple[float, list[Any]] | None:
    """Return when the entries were fetched (Unix time), and the entries, or `None`."""
    try:
        value = json.loads(_read_regular_file(file))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    fetched, models = value.get("fetched"), value.get("models")
    is_ours = value.get("version") == _VERSION and value.get("url") == root_url
    if not is_ours or not isinstance(models, list) or not models:
        return None
    if isinstance(fetched, bool) or not isinstance(fetched, int | float):
        return None
    # a file from the future was written before the clock was set back
    return (float(fetched), models) if 0 <= fetched <= time.time() + _CLOCK_SKEW else None


def _read_regular_file(file: Path) -> bytes:
    """Return the bytes of a regular file: opening a FIFO would wait for its writer.

    Raises:
        OSError: it cannot be read, isn't a regular file, is too large or from the future.
    """
    # O_NONBLOCK, as any earlier check could be followed by a FIFO in its place
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as opened:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE:
            raise OSError(f"{file} isn't a regular file")
        if status.st_mtime > time.time() + _CLOCK_SKEW:
            raise OSError(f"{file} is from the future")
        return opened.read()


def write_cache(file: Path, root_url: str, fetched: float, entries: list[Any]) -> None:
    """Write the file in one step: a reader sees the old file or the new one, never a part."""
    value = {"version": _VERSION, "url": root_url, "fetched": fetched, "models": entries}
    temporary: str | None = None
    try:
        data = json.dumps(value)
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".models-", suffix=".tmp")
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
        os.replace(temporary, file)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        _log.info("the model catalog can't be kept on disk: %s", error)
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
