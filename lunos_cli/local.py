"""`lunos local`: the gateway on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import click


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def local(arguments: Sequence[str]) -> None:
    """Start the gateway on this machine: no account, no network. `lunos local -h` says more."""
    from lunos_local.__main__ import main

    raise SystemExit(main(list(arguments), prog="lunos local"))
