"""Where the command `lunos` begins."""

from __future__ import annotations

from lunos_core.lazy import is_installed


def main() -> None:
    """Run the command line; without its libraries, say which extra has them."""
    if not (is_installed("click") and is_installed("rich")):
        raise SystemExit(
            "the command line needs click and rich, which are not installed: "
            'pip install "lunos-integrations[cli]"'
        )
    from lunos_cli.commands import lunos

    lunos(prog_name="lunos")
