"""Where the command `lunos` begins."""

from __future__ import annotations

import sys

from lunos_core.lazy import is_installed


def main() -> None:
    """Run the command line; without its library, say which extra has it."""
    if not is_installed("click"):
        sys.exit('the command line needs click: pip install "lunos-integrations[cli]"')
    from lunos_cli.commands import lunos

    lunos(prog_name="lunos")
