"""Generated pictures as files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from lunos_core.endpoints.images import Images

_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}


def save_images(images: Images, folder: str | os.PathLike[str]) -> list[Path | None]:
    """Write each picture whose bytes came; `None` for one that is a web address only.

    A file is named by what is in it, so that none is written over and the same picture is one file.

    Args:
        images: the answer.
        folder: made when it is not there.

    Raises:
        OSError: it cannot be written.
    """
    paths: list[Path | None] = []
    for image in images.images:
        data = image.data
        if data is None:
            paths.append(None)
            continue
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        ending = _ENDINGS.get(image.mime_type or "", ".bin")
        path = target / f"{hashlib.sha256(data).hexdigest()[:16]}{ending}"
        path.write_bytes(data)
        paths.append(path)
    return paths
