"""`python -m benchmarks.bulk`: what a bulk job makes of workers and requests in flight.

A gateway of its own answers after a fixed time; the figures are texts and requests a second. With
`--million` a million short texts are embedded end to end by the local gateway's hashed words.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lunos_core import AsyncLunos

_SERVER = """
import asyncio, json, struct, base64, sys
VECTOR = base64.b64encode(struct.pack("<8f", *range(8))).decode()
async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            length = next((int(line.split(b":")[1]) for line in head.split(b"\\r\\n")
                           if line.lower().startswith(b"content-length:")), 0)
            asked = json.loads(await reader.readexactly(length) or b"{}")
            await asyncio.sleep(float(sys.argv[1]))
            count = len(asked.get("input", []))
            data = [{"index": i, "embedding": VECTOR} for i in range(count)]
            usage = {"prompt_tokens": count, "total_tokens": count, "cost": 0.0}
            body = json.dumps({"data": data, "model": "m", "usage": usage}).encode()
            writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\n"
                         b"content-length: %d\\r\\n\\r\\n" % len(body) + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextmanager
def gateway(seconds: float) -> Iterator[None]:
    """Run a gateway that answers after some time; the environment names it."""
    command = [sys.executable, "-c", _SERVER, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        os.environ |= {"LUNOS_BASE_URL": f"http://127.0.0.1:{port}/v1", "LUNOS_API_KEY": "k"}
        try:
            yield
        finally:
            process.terminate()


def write_corpus(path: Path, texts: int, files: int = 4) -> None:
    """Write short texts, all different, as JSON lines in some files."""
    path.mkdir()
    for number in range(files):
        with (path / f"{number}.jsonl").open("w") as file:
            for i in range(number, texts, files):
                file.write(json.dumps({"id": i, "text": f"text number {i} of the sea"}) + "\n")


def job(corpus: Path, target: Path, *more: object) -> float:
    """Run `lunos bulk embed` and return its seconds."""
    command = [sys.executable, "-m", "lunos_cli", "bulk", "embed", str(corpus), str(target)]
    began = time.perf_counter()
    done = subprocess.run([*command, *map(str, more)], capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        sys.exit(f"{done.stderr[-2000:]}\nthe job ended with {done.returncode}")
    return time.perf_counter() - began


def span(target: Path) -> float:
    """Return the seconds from the end of a job's first request to that of its last."""
    with closing(sqlite3.connect(target / "_lunos" / "usage.db")) as store:
        first, last = store.execute("SELECT MIN(at), MAX(at) FROM calls").fetchone()
    return float(last - first)


async def plain(requests: int, in_flight: int, per_request: int) -> float:
    """Send as many requests with the plain client, and return the seconds."""
    places = asyncio.Semaphore(in_flight)

    async def ask(lunos: AsyncLunos, number: int) -> None:
        async with places:
            texts = [f"text number {number} {i} of the sea" for i in range(per_request)]
            await lunos.embeddings.create_array(model="m", input=texts)

    async with AsyncLunos() as lunos:
        await ask(lunos, 0)
        began = time.perf_counter()
        await asyncio.gather(*(ask(lunos, i) for i in range(requests)))
        return time.perf_counter() - began


def measure(texts: int, seconds: float) -> None:
    """Print throughput by requests in flight and workers, and the overhead of a request."""
    per_request = 20
    tokens = per_request * 7  # such a text is estimated at seven tokens
    with tempfile.TemporaryDirectory() as folder, gateway(seconds):
        corpus = Path(folder) / "corpus"
        write_corpus(corpus, texts)
        few = ("-m", "m", "--batch-tokens", tokens, "--block", 500, "--rpm", 10**6)
        print(f"{texts:,} texts, {per_request} a request, {seconds * 1000:.0f} ms each")
        print("in flight  plain: requests/s  bulk: requests/s  overhead ms/request")
        for in_flight in (1, 8, 32, 64):
            count = min(texts // per_request, max(20, in_flight * 12))
            alone = count / asyncio.run(plain(count, in_flight, per_request))
            part = Path(folder) / f"part{in_flight}"
            write_corpus(part, count * per_request, 1)
            target = Path(folder) / f"i{in_flight}"
            job(part, target, *few, "--in-flight", in_flight)
            ours = count / (span(target) + seconds)
            overhead = 1000 * in_flight * (1 / ours - 1 / alone)
            print(f"{in_flight:9} {alone:18,.0f} {ours:17,.0f} {overhead:12.2f}", flush=True)
        print("workers  requests/s from the first to the last  texts/s  seconds with the start")
        for workers in (1, 2, 4):
            target = Path(folder) / f"w{workers}"
            took = job(corpus, target, *few, "--workers", workers)
            rate = texts / per_request / (span(target) + seconds)
            print(f"{workers:7} {rate:36,.0f} {rate * per_request:8,.0f} {took:23.1f}", flush=True)


def million(folder: Path, texts: int) -> None:
    """Embed many texts by hashed words, and print how far it came, again and again."""
    from lunos_local import LocalGateway

    if not (folder / "corpus").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_corpus(folder / "corpus", texts)
    with LocalGateway() as local:
        os.environ |= {"LUNOS_BASE_URL": local.base_url, "LUNOS_API_KEY": local.api_key}
        model = ("-m", "lunos/scripted-embedding", "--rpm", 10**6, "--keep", "text")
        print(f"{texts:,} texts: {job(folder / 'corpus', folder / 'out', *model):,.0f} s")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each request")
    parser.add_argument("--million", type=Path, metavar="FOLDER", help="the long run, kept there")
    asked = parser.parse_args()
    if asked.million is not None:
        million(asked.million, 1_000_000)
    else:
        measure(asked.texts, asked.seconds)


if __name__ == "__main__":
    main()
