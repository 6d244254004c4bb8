"""`lunos bulk`: its options, the files it reads, and those it writes."""

from lunos_cli.bulk.command import bulk as bulk
