"""Check whether a tag may be released: tag, built files and CHANGELOG.md name one version.

python scripts/check_release.py v0.1.0 dist
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"
NAME = "lunos_integrations"


def versions_in(changelog: str) -> list[str]:
    """Return the versions that have a section with a date, newest first."""
    return re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)


def problems(tag: str, files: Sequence[str], changelog: str) -> list[str]:
    """Return what is wrong with this release; nothing if it may go out."""
    version = tag.removeprefix("v")
    result = []
    if tag != f"v{version}" or not re.fullmatch(r"\d+\.\d+\.\d+([ab]|rc)?\d*", version):
        result.append(f"the tag is {tag!r}, and must be v and a version")
    wanted = {f"{NAME}-{version}.tar.gz", f"{NAME}-{version}-py3-none-any.whl"}
    if set(files) != wanted:
        result.append(f"built: {sorted(files)}, and the tag asks for {sorted(wanted)}")
    if versions_in(changelog)[:1] != [version]:
        result.append(f"CHANGELOG.md must begin with a section '## [{version}] - YYYY-MM-DD'")
    return result


def main(tag: str, folder: str) -> int:
    """Print what is wrong; the exit code is 1 if something is."""
    files = [path.name for path in Path(folder).iterdir()]
    result = problems(tag, files, CHANGELOG.read_text("utf-8"))
    for problem in result:
        print(f"check_release: {problem}", file=sys.stderr)
    return bool(result)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
