"""The command line `lunos`."""

from lunos_cli.entry import main as main
