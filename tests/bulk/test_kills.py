"""Nothing is paid twice, whenever the job is killed: counted at the gateway, in real processes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bulk.conftest import Reply, Service, corpus, no, rows_in, vectors

ROOT = Path(__file__).parents[2]
PER_REQUEST, IN_FLIGHT = 5, 6
KILLS = int(os.environ.get("LUNOS_BULK_KILLS", "5"))
TEXTS = 120 * KILLS


def start(source: Path, target: Path, *more: object, **environment: str) -> subprocess.Popen[bytes]:
    settings = ("-m", "m", "--block", 50, "--batch-tokens", 2 * PER_REQUEST, "--rpm", 100_000)
    words = ("bulk", "embed", source, target, *settings, "--in-flight", IN_FLIGHT, *more)
    with said_by(target).open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "lunos_cli", *map(str, words)],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )


def said_by(target: Path) -> Path:
    """The file with what the commands that write into a folder said."""
    return target.with_name(f"{target.name}.stderr")


@pytest.mark.slow
def test_killed_at_random_moments_it_pays_again_only_for_what_was_in_flight(
    service: Service, tmp_path: Path
) -> None:
    dice = random.Random(int(os.environ.get("LUNOS_BULK_SEED", "7")))
    service.seconds = 0.05
    source = corpus(tmp_path / "c.jsonl", [f"text {i}" for i in range(TEXTS)])
    target = tmp_path / "out"
    kills = in_flight = 0
    while kills < KILLS:
        sent = len(service.bodies)
        process = start(source, target)
        # some requests after it has begun to send, or before
        count = sent + dice.randrange(TEXTS // PER_REQUEST // KILLS * 2)
        while len(service.bodies) < count and process.poll() is None:
            time.sleep(0.001)
        time.sleep(dice.random() * 0.05)
        if process.poll() is not None:
            break
        answered = len(service.answered)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        time.sleep(0.2)  # what was in flight arrives at the gateway
        in_flight += len(service.bodies) - answered
    process = start(source, target)
    assert process.wait(timeout=300) == 0
    texts = service.texts()
    twice = sum(texts.values()) - len(texts)
    print(f"{kills} kills: {len(texts)} texts, {twice} of them paid again")
    print(f"{in_flight} requests of {PER_REQUEST} texts at most were in flight at the gateway")
    assert len(texts) == TEXTS
    assert twice <= kills * IN_FLIGHT * PER_REQUEST
    assert [row["id"] for row in rows_in(target)] == list(range(TEXTS))
    again = start(source, target)
    before = len(service.bodies)
    assert again.wait(timeout=300) == 0
    assert len(service.bodies) == before


@pytest.mark.slow
def test_two_workers_on_ray_share_pace_and_answers(service: Service, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    service.seconds = 0.02
    folder = tmp_path / "corpus"
    folder.mkdir()
    texts = [f"text {i % 60}" for i in range(200)]
    for half in (0, 1):
        corpus(folder / f"{half}.jsonl", texts[half * 100 : half * 100 + 100])
    process = start(folder, tmp_path / "out", "--workers", 2)
    assert process.wait(timeout=300) == 0, said_by(tmp_path / "out").read_text()
    assert service.texts() == dict.fromkeys(set(texts), 1)
    assert len(rows_in(tmp_path / "out")) == 200


@pytest.mark.slow
def test_the_key_is_in_no_log_of_ray_and_no_file_of_the_job(
    service: Service, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    key = os.environ["LUNOS_API_KEY"]

    def answer(body: dict[str, Any]) -> Reply:
        bad = any("bad" in text for text in body["input"])
        return no(400, f"{body} of {key}") if bad else vectors(body)

    service.answer = answer
    source = corpus(tmp_path / "c.jsonl", ["bad", *(f"text {i}" for i in range(50))])
    # a short path: Ray's sockets are in it
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as logs:
        target, talk = tmp_path / "out", {"RAY_TMPDIR": logs, "LUNOS_LOG": "debug"}
        process = start(source, target, "--workers", 2, **talk)
        assert process.wait(timeout=300) == 3, said_by(target).read_text()
        files = [path for path in Path(logs).rglob("*") if path.is_file()]
        files += [path for path in target.rglob("*") if path.is_file()]
        assert any(path.name.startswith("worker-") for path in files), "Ray wrote its logs here"
        assert [path for path in files if key.encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_a_ray_dataset_gets_a_column_of_vectors(service: Service, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    code = f"""
import ray
from lunos_bulk import embed
ray.init(include_dashboard=False, log_to_driver=False)
rows = [{{"n": i, "text": f"text {{i % 7}}" if i else ""}} for i in range(50)]
dataset = embed(ray.data.from_items(rows), model="m", state={str(tmp_path / "state")!r})
for row in sorted(dataset.take_all(), key=lambda row: row["n"]):
    print(row["n"], row["vector"] is None or len(row["vector"]), row["error"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[-50:]
    assert lines[0] == "0 True ValueError: 'text' isn't text, or is empty: str"
    assert lines[1:] == [f"{i} 4 None" for i in range(1, 50)]
    assert set(service.texts().values()) == {1}


def test_the_driver_reads_nothing_whole(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the corpus: the same rows in memory at once, at most."""
    from lunos_bulk import files
    from lunos_bulk.files import Files
    from lunos_bulk.inputs import pieces_of
    from lunos_bulk.job import Job

    def most_rows(count: int) -> int:
        alive, most = [0], [0]
        write = Files._write

        async def counted(self: Any, worker: Any, name: str, kind: str, rows: list[Any]) -> None:
            alive[0] += len(rows)
            most[0] = max(most[0], alive[0])
            await write(self, worker, name, kind, rows)
            alive[0] -= len(rows)

        source = corpus(tmp_path / f"{count}.jsonl", [f"t{i}" for i in range(count)])
        job = Job(str(tmp_path / f"s{count}"), "m", rpm=10**6)
        monkeypatch.setattr(files.Files, "_write", counted)
        Files(job, tmp_path / f"o{count}", block=20).run(pieces_of(str(source), job.check_columns))
        monkeypatch.undo()
        monkeypatch.setenv("LUNOS_API_KEY", "k")
        monkeypatch.setenv("LUNOS_BASE_URL", service.base_url)
        return most[0]

    service.answer = vectors
    assert most_rows(400) <= 160
    assert most_rows(4000) <= 160
