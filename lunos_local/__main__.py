"""`python -m lunos_local`: serve until Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from errno import EADDRNOTAVAIL
from pathlib import Path
from socket import gaierror
from typing import NoReturn

from lunos_core.compatibility.advice import one_line

try:
    from lunos_local.app import create_app
    from lunos_local.catalog import Model
    from lunos_local.gateway import DEFAULT_KEY, Gateway
    from lunos_local.server import HOST, listen, uvicorn_server
except ImportError as error:
    sys.exit(f'{error}: pip install "lunos-integrations[local]"')

DEFAULT_PORT = 8484


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} -h)\n")


class _RefusedKey(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(
            "--api-key shows the key in the process list; set LUNOS_API_KEY or use --api-key-file"
        )


def _arguments(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = _Parser(
        prog=prog,
        description="A stand-in for the Lunos gateway on this machine: no key, no network.",
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes any free port")
    parser.add_argument("--host", default=HOST)
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="a file with the key that requests must carry; by default LUNOS_API_KEY, else "
        f"{DEFAULT_KEY}",
    )
    parser.add_argument("--api-key", action=_RefusedKey, help=argparse.SUPPRESS)
    parser.add_argument("--gguf", type=Path, help="serve this model file as local/<file stem>")
    parser.add_argument(
        "--no-real-models",
        action="store_true",
        help="serve only the scripted and extractive models",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name, beside addresses and localhost, by which clients may reach the gateway",
    )
    parser.add_argument(
        "--alias",
        action="append",
        default=[],
        metavar="NAME=MODEL",
        help="serve MODEL as NAME too; may be given several times",
    )
    parser.add_argument(
        "--strict", action="store_true", help="don't serve well-known names such as openai/gpt-4o"
    )
    args = parser.parse_args(argv)
    for alias in args.alias:
        if not all(alias.partition("=")):
            parser.error(f"argument --alias: expected NAME=MODEL, got {alias!r}")
    if not args.host:
        parser.error("argument --host: expected an address, got ''")
    if args.gguf is not None and not _is_gguf(args.gguf):
        parser.error(f"argument --gguf: {args.gguf} isn't a GGUF model file")
    return args


def _alias_lines(models: list[Model]) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for model in models:
        if model.served_by:
            names.setdefault(model.served_by, []).append(model.id)
    head = "aliases:"
    for own, served in names.items():
        more = f" and {len(served) - 2} more" if len(served) > 2 else ""
        yield f"  {head:<8} {', '.join(served[:2])}{more}: served by {own}"
        head = ""


def _key(file: Path | None) -> str:
    if file is None:
        return os.environ.get("LUNOS_API_KEY", "").strip() or DEFAULT_KEY
    key = file.read_text("utf-8", "replace").strip()
    if not key or not key.isascii():
        raise ValueError(f"{file} is empty or binary; it must contain the key")
    return key


def _is_gguf(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(4) == b"GGUF"
    except OSError:
        return False


def _greeting(gateway: Gateway, base_url: str, api_key: str) -> str:
    models = gateway.models.catalog.models
    own = [model for model in models if not model.served_by]
    well_behaved = [model.id for model in own if not model.fault]
    faults = [model.id for model in own if model.fault]
    lines = [
        f"Lunos stand-in gateway: {base_url}",
        # the user's own key isn't printed
        f"  key:     {api_key}   (LUNOS_API_KEY={api_key} LUNOS_BASE_URL={base_url})"
        if api_key == DEFAULT_KEY
        else f"  key:     your own   (LUNOS_BASE_URL={base_url})",
        f"  models:  {', '.join(well_behaved)}",
        f"  page:    {base_url.removesuffix('v1')}",
        *_alias_lines(models),
        f"  faults:  {len(faults)} models that fail on demand, such as {faults[0]}",
    ]
    if gateway.models.missing:
        names = ", ".join(line.split(":")[0] for line in gateway.models.missing)
        lines.append(
            f"  without: {names} (optional; docs/local-gateway.md says how to install them)"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None, *, prog: str = "python -m lunos_local") -> int:
    """Serve until interrupted; return the exit code."""
    args = _arguments(argv, prog)
    logging.basicConfig(level=logging.WARNING)  # the package adds no handler
    try:
        listener = listen(args.host, args.port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "ports end at 65535"
        is_host = isinstance(error, gaierror) or getattr(error, "errno", 0) == EADDRNOTAVAIL
        remedy = "is --host right?" if is_host else "--port 0 takes a free port"
        said = f"cannot listen on {args.host}:{args.port}: {reason}; {remedy}"
        print(f"lunos local: {said}", file=sys.stderr)
        return 1
    try:
        api_key = _key(args.api_key_file)
        app = create_app(
            api_key=api_key,
            real_models=not args.no_real_models,
            gguf=args.gguf,
            aliases=dict(alias.split("=", 1) for alias in args.alias),
            strict=args.strict,
            hosts=[args.host, *args.allow_host],
        )
    except (OSError, ValueError) as error:
        listener.close()
        print(f"lunos local: {one_line(error)}", file=sys.stderr)
        return 1
    gateway: Gateway = app.state.gateway
    host = f"[{args.host}]" if ":" in args.host else args.host
    base_url = f"http://{host}:{listener.getsockname()[1]}/v1"
    print(_greeting(gateway, base_url, api_key), flush=True)
    try:
        uvicorn_server(app).run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        gateway.models.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
