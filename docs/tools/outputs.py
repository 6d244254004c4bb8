"""Run the Python examples of the README and the docs, and write their outputs below them.

.venv/bin/python docs/tools/outputs.py           write the outputs that have changed
.venv/bin/python docs/tools/outputs.py --check   only name them

Each example runs exactly as printed, against the local gateway. What differs from run to run
(ports, request ids) becomes "…"; `tests/documentation/` compares the outputs with the same rule.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lunos_local import LocalGateway  # noqa: E402
from tests.documentation.markdown_blocks import DOCS, Example, examples_of, matches  # noqa: E402

_CHANGING = re.compile(
    r"req_local_\d+|req_[0-9a-f]{8,}|127\.0\.0\.1:\d+|chatcmpl-[0-9a-f]+"
    # seconds, in a ledger's table: the spaces before them make up for their width
    r"|(?<=\d)[ ]+\d+\.\d{3}(?=[ ]+(?:-|\d+\.\d{3})$)|(?<=\d\.\d{3})[ ]+\d+\.\d{3}$",
    re.MULTILINE,
)


def output_of(example: Example, gateway: LocalGateway) -> str:
    """Run an example in a process of its own and return what it prints.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LUNOS_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", example.code],
        cwd=ROOT,
        env=kept | {"LUNOS_API_KEY": gateway.api_key, "LUNOS_BASE_URL": gateway.base_url},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return _CHANGING.sub("…", done.stdout).rstrip() + "\n"


def main() -> int:
    """Compare all outputs, and write those that have changed."""
    changed = 0
    with LocalGateway() as gateway:
        for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]:
            text = page.read_text("utf-8")
            for example in examples_of(page):
                printed = output_of(example, gateway)
                if example.printed is not None and matches(example.printed, printed):
                    continue
                changed += 1
                print(f"{page.relative_to(ROOT)}: {example.name}")
                code = f"```python\n{example.code}```\n"
                old = (
                    code if example.printed is None else f"{code}\n```text\n{example.printed}```\n"
                )
                assert old in text
                text = text.replace(old, f"{code}\n```text\n{printed}```\n", 1)
            if "--check" not in sys.argv:
                page.write_text(text, "utf-8")
    return int(changed > 0 and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
