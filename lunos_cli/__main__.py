"""`python -m lunos_cli`."""

from lunos_cli import main

main()
