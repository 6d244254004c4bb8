"""Where the command `lunos` begins."""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings


def main() -> None:
    """Run the command line; without its library, say which extra has it."""
    interrupted = signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback from an import
    from lunos_core.lazy import is_installed

    if not is_installed("click"):
        sys.exit('the command line needs click: pip install "lunos-integrations[cli]"')
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the shell: <&-
            file = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # until the end
            setattr(sys, name, file)
    if isinstance(sys.stdin, io.TextIOWrapper):  # whoever reads it refuses what isn't text
        sys.stdin.reconfigure(errors="surrogateescape")
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding lacks is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    # one line, instead of two that name and quote a file of ours
    warnings.showwarning = lambda message, *_, **__: print(f"Warning: {message}", file=sys.stderr)
    from lunos_cli.commands import lunos

    signal.signal(signal.SIGINT, interrupted)
    lunos(prog_name="lunos")
