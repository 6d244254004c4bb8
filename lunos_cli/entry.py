"""Where the command `lunos` begins."""

from __future__ import annotations

from lunos_core.lazy import is_installed


def main() -> None:
    """Run the command line; without its libraries, say which extra has them."""
    if not is_installed("click"):
        raise SystemExit(
            "the command line needs click, which isn't installed: "
            'pip install "lunos-integrations[cli]"'
        )
    from lunos_cli.commands import lunos

    lunos(prog_name="lunos")
