"""docs/command-line.md is true: each block, pasted into bash, prints what stands below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lunos_cli.commands import COMMANDS
from lunos_local import LocalGateway
from tests.documentation.markdown_blocks import DOCS, matches

PAGE = (DOCS / "command-line.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_each_command_stands_on_the_page() -> None:
    named = set(re.findall(r"lunos (\w+)", PAGE))
    assert COMMANDS.keys() - named == {"demo"}  # on the first page
    assert PAGE.count("```bash") == len(BLOCKS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("commands", "printed"), BLOCKS, ids=[commands.split("\n")[-2][:24] for commands, _ in BLOCKS]
)
def test_a_block_prints_what_stands_below_it(
    gateway: LocalGateway, tmp_path: Path, commands: str, printed: str
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LUNOS_")}
    service = {"LUNOS_API_KEY": gateway.api_key, "LUNOS_BASE_URL": gateway.base_url}
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", commands],
        cwd=tmp_path,
        env=kept | service | path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert matches(printed, done.stdout), done.stdout
