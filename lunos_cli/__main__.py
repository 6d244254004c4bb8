"""`python -m lunos_cli`."""

from lunos_cli.entry import main

main()
