"""The command line: `lunos models`, `lunos usage`, `lunos check`, `lunos local`."""

from lunos_cli.entry import main as main
