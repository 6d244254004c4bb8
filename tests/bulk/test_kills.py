"""Nothing is paid twice, whenever the job is killed: counted at the gateway, in real processes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
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


def texts_kept_in(target: Path) -> int:
    with contextlib.closing(sqlite3.connect(target / "_lunos" / "usage.db")) as state:
        try:
            return int(state.execute("SELECT COUNT(value) FROM answers").fetchone()[0])
        except sqlite3.OperationalError:  # killed before the table was made
            return 0


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
    kills = after = lost = 0
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
        (target / "_lunos").mkdir(parents=True, exist_ok=True)  # where it was killed before
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        service.wait_until_left()  # what was in flight arrives at the gateway
        # whoever is killed can't keep what the gateway answers later: these are paid again
        after += sum(len(body["input"]) for body in service.answered[answered:])
        before, lost = lost, sum(service.texts().values()) - texts_kept_in(target)
        assert lost - before <= IN_FLIGHT * PER_REQUEST
    assert kills, "it had ended before it was killed"
    process = start(source, target)
    assert process.wait(timeout=300) == 0
    texts = service.texts()
    twice = sum(texts.values()) - len(texts)
    print(f"{kills} kills: {len(texts)} texts, {twice} of them paid again")
    print(f"{after} texts were answered after the kills, {lost - after} before and not yet kept")
    assert len(texts) == TEXTS
    assert twice == lost, "nothing else is paid again"
    assert [row["id"] for row in rows_in(target)] == list(range(TEXTS))
    again = start(source, target)
    before = len(service.bodies)
    assert again.wait(timeout=300) == 0
    assert len(service.bodies) == before


def two_files(folder: Path, rows: int = 200, different: int = 60) -> list[str]:
    folder.mkdir()
    texts = [f"text {i % different}" for i in range(rows)]
    corpus(folder / "0.jsonl", texts[: rows // 2])
    corpus(folder / "1.jsonl", texts[rows // 2 :])
    return texts


@pytest.mark.slow
def test_two_workers_share_pace_and_answers(service: Service, tmp_path: Path) -> None:
    service.seconds = 0.02
    texts, target = two_files(tmp_path / "corpus"), tmp_path / "out"
    process = start(tmp_path / "corpus", target, "--workers", 2)
    assert process.wait(timeout=300) == 0, said_by(target).read_text()
    assert service.texts() == dict.fromkeys(set(texts), 1)
    assert len(rows_in(target)) == 200
    assert "200 rows" in said_by(target).read_text()


def children_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that send requests: those that were begun with "spawn_main"."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    command = [(int(child), Path(f"/proc/{child}/cmdline").read_bytes()) for child in children]
    return [child for child, words in command if b"spawn_main" in words]


def files_begun(service: Service) -> int:
    """Of how many of two files with a thousand different texts some have been sent."""
    sent = [text for body in list(service.bodies) for text in body["input"]]
    return len({int(text.removeprefix("text ")) // 500 for text in sent})


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.mark.slow
@linux
@pytest.mark.parametrize("killed", ["a worker", "their parent"])
def test_when_a_process_is_killed_the_others_end_and_the_same_command_goes_on(
    service: Service, tmp_path: Path, killed: str
) -> None:
    service.seconds = 0.3
    # so long that the first worker can't take both files before the second has started
    texts, target = two_files(tmp_path / "corpus", rows=1000, different=1000), tmp_path / "out"
    small = ("--workers", 2, "--in-flight", 1, "--block", 20)
    process = start(tmp_path / "corpus", target, *small)
    # both are at work: who is killed before would leave both files to the other
    while files_begun(service) < 2 and process.poll() is None:
        time.sleep(0.01)
    children = children_of(process)
    assert len(children) == 2
    os.kill(children[0] if killed == "a worker" else process.pid, signal.SIGKILL)
    service.seconds = 0.02
    assert process.wait(timeout=60) == (4 if killed == "a worker" else -signal.SIGKILL)
    if killed == "a worker":
        assert "one of the worker processes was killed" in said_by(target).read_text()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < until, "the others end"
        time.sleep(0.01)
    assert len(service.bodies) < 1000 // PER_REQUEST, "whoever is alone doesn't do all the rest"
    service.seconds = 0.0
    assert start(tmp_path / "corpus", target, "--workers", 2).wait(timeout=60) == 0
    assert len(rows_in(target)) == 1000
    paid = service.texts()
    assert set(paid) == set(texts)
    assert sum(paid.values()) - len(paid) <= 2 * PER_REQUEST, "what was in flight alone"


def start_without_answers(
    service: Service, folder: Path, workers: int
) -> tuple[subprocess.Popen[bytes], threading.Event]:
    """Start a job, and return when it has asked; nothing is answered before the event."""
    answers = threading.Event()

    def answer(body: dict[str, Any]) -> Reply:
        assert answers.wait(60)
        return vectors(body)

    service.answer = answer
    process = start(folder / "corpus", folder / "out", "--workers", workers)
    while len(service.bodies) < 4 and process.poll() is None:
        time.sleep(0.01)
    return process, answers


@pytest.mark.slow
@linux
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_lets_workers_keep_what_they_have_asked(
    service: Service, tmp_path: Path, workers: int
) -> None:
    texts, target = two_files(tmp_path / "corpus"), tmp_path / "out"
    process, answers = start_without_answers(service, tmp_path, workers)
    service.seconds = 0.3
    os.killpg(process.pid, signal.SIGINT)
    answers.set()
    assert process.wait(timeout=60) == 130, said_by(target).read_text()
    assert "Traceback" not in said_by(target).read_text()
    assert start(tmp_path / "corpus", target, "--workers", workers).wait(timeout=60) == 0
    assert service.texts() == dict.fromkeys(set(texts), 1)


@pytest.mark.slow
@linux
@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_ctrl_c_does_not_wait(service: Service, tmp_path: Path, workers: int) -> None:
    two_files(tmp_path / "corpus")
    target = tmp_path / "out"
    process, answers = start_without_answers(service, tmp_path, workers)
    children = children_of(process)
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.closing(sqlite3.connect(target / "_lunos" / "usage.db")) as state:
        while not state.execute("SELECT 1 FROM facts WHERE value = 'interrupted'").fetchall():
            assert process.poll() is None
            time.sleep(0.01)
    assert process.poll() is None, "the first one waits"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130, said_by(target).read_text()
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    answers.set()
    assert "Traceback" not in said_by(target).read_text()


@pytest.mark.slow
def test_what_can_no_longer_be_read_is_said_by_several_workers_too(
    service: Service, tmp_path: Path
) -> None:
    two_files(tmp_path / "corpus")
    target = tmp_path / "out"
    code = f"""
from pathlib import Path
from lunos_cli.bulk.files import Files
from lunos_cli.bulk.inputs import pieces_of
from lunos_bulk.job import Job
if __name__ == "__main__":
    corpus = Path({str(tmp_path / "corpus")!r})
    pieces = pieces_of(str(corpus), print)
    (corpus / "1.jsonl").unlink()
    print(Files(Job({str(target / "s")!r}, "m"), Path({str(target)!r})).run(pieces, workers=2))
"""
    (tmp_path / "run.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.stderr == ""
    assert "1.jsonl can't be used: [Errno 2] No such file" in done.stdout.splitlines()[-1]
    assert max(service.texts().values(), default=1) == 1


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
    state = tmp_path / "state"
    code = f"""
import ray
from lunos_bulk import embed
ray.init(include_dashboard=False)
rows = [{{"text": f"text {{i}}" if i else "bad"}} for i in range(50)]
rows = embed(ray.data.from_items(rows), model="m", state={str(state)!r}).take_all()
print(sum(row["error"] is not None for row in rows), "dead")
"""
    # a short path: Ray's sockets are in it
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as logs:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"RAY_TMPDIR": logs, "LUNOS_LOG": "debug"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "1 dead" in done.stdout, done.stderr
        files = [path for path in Path(logs).rglob("*") if path.is_file()]
        files += [path for path in state.rglob("*") if path.is_file()]
        assert any(path.name.startswith("worker-") for path in files), "Ray wrote its logs here"
        assert [path for path in files if key.encode() in path.read_bytes()] == []
        assert key not in done.stdout + done.stderr


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
    from lunos_bulk.job import Job
    from lunos_cli.bulk import files
    from lunos_cli.bulk.files import Files
    from lunos_cli.bulk.inputs import pieces_of

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
