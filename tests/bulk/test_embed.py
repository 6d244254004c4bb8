"""`lunos bulk embed`: every text once, whatever fails, stops or is killed."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lunos_bulk.job import Job
from lunos_bulk.worker import Stopped, Worker, begin
from tests.bulk.conftest import Service, corpus, no, rows_in, run, vectors

pytestmark = pytest.mark.socket


def embed(source: Path, target: Path, *more: object) -> Any:
    # no waiting for the pace that a job begins with, unless the test is about it
    return run("embed", source, target, "-m", "m", "--rpm", 60_000, *more)


def test_each_text_has_its_vector_in_order_and_equal_texts_are_sent_once(
    service: Service, tmp_path: Path
) -> None:
    texts = ["a" * (i % 30 + 1) for i in range(100)]
    result = embed(corpus(tmp_path / "c.jsonl", texts), tmp_path / "out", "--block", 16)
    assert result.exit_code == 0, result.output
    rows = rows_in(tmp_path / "out")
    assert [row["id"] for row in rows] == list(range(100))
    assert [row["vector"][0] for row in rows] == [len(text) for text in texts]
    schema = pq.read_schema(next((tmp_path / "out").glob("*.parquet")))
    assert schema.field("vector").type == pa.list_(pa.float32(), 4)
    assert service.texts(paid=False) == dict.fromkeys(set(texts), 1)
    assert "100 rows" in result.output
    assert "0.030000 USD" in result.output


def test_requests_are_filled_by_tokens(service: Service, tmp_path: Path) -> None:
    texts = [f"{i:04}" * 10 for i in range(50)] + ["x" * 4000]
    source = corpus(tmp_path / "c.jsonl", texts)
    assert embed(source, tmp_path / "out", "--batch-tokens", 100).exit_code == 0
    assert sorted(len(body["input"]) for body in service.bodies) == [1, *[10] * 5]


def test_finished_texts_are_not_sent_again_and_new_ones_are(
    service: Service, tmp_path: Path
) -> None:
    texts = [f"text {i}" for i in range(40)]
    source, target = corpus(tmp_path / "c.jsonl", texts), tmp_path / "out"
    assert embed(source, target, "--block", 10).exit_code == 0
    before = {path.name: path.stat().st_mtime_ns for path in target.glob("*.parquet")}
    service.bodies.clear()
    assert embed(source, target, "--block", 10).exit_code == 0
    assert service.bodies == []

    texts[25] = "new"
    assert embed(corpus(source, texts), target, "--block", 10).exit_code == 0
    assert [body["input"] for body in service.bodies] == [["new"]]
    after = {path.name: path.stat().st_mtime_ns for path in target.glob("*.parquet")}
    assert len(set(before.items()) & set(after.items())) == 3
    assert [row["id"] for row in rows_in(target)] == list(range(40))  # the old block is away
    assert len(list((target / "_lunos" / "stale").glob("*.parquet"))) == 1


def test_a_poisoned_text_is_found_in_its_batch_and_becomes_a_dead_letter(
    service: Service, tmp_path: Path
) -> None:
    def answer(body: Any) -> Any:
        poison = any("poison" in text for text in body["input"])
        return no(400, "bad text, key sk-bulk-4f9a1c") if poison else vectors(body)

    service.answer = answer
    texts: list[Any] = [f"text {i}" for i in range(30)]
    texts[3], texts[20], texts[21], texts[22] = "poison", "poison two", "  ", 7
    source, target = corpus(tmp_path / "c.jsonl", texts), tmp_path / "out"
    with source.open("a") as file:
        file.write('{"id": "broken\n')
        file.write('{"id": "whole", "text": "whole"}\n')
    result = embed(source, target)
    assert result.exit_code == 3, result.output
    assert "5 dead letters" in result.output
    assert len(rows_in(target)) == 27
    dead = {row["text"]: row["error"] for row in rows_in(target / "_dead")}
    assert dead["poison"].startswith("LunosBadRequestError: bad text, key ****")
    assert "7" in dead
    assert all("sk-bulk" not in error for error in dead.values())
    assert set(service.texts().values()) == {1}, "what is good in a bad batch is paid once"


def test_dead_letters_alone_are_tried_again(service: Service, tmp_path: Path) -> None:
    poison = {"text 3", "text 17"}

    def answer(body: Any) -> Any:
        return no(422) if poison & set(body["input"]) else vectors(body)

    service.answer = answer
    source = corpus(tmp_path / "c.jsonl", [f"text {i}" for i in range(20)])
    target = tmp_path / "out"
    assert embed(source, target, "--block", 10).exit_code == 3
    service.bodies.clear()
    assert embed(source, target, "--block", 10).exit_code == 3
    assert service.bodies == []

    poison.remove("text 3")
    assert embed(source, target, "--block", 10, "--retry-dead").exit_code == 3
    # what may show that a row is to blame is asked beside them, at most once in a run
    asked = [body["input"] for body in service.bodies]
    # two blocks are asked at once, in no order
    assert sorted(texts for texts in asked if texts != ["Hi"]) == [["text 17"], ["text 3"]]
    assert asked.count(["Hi"]) <= 1
    poison.clear()
    assert embed(source, target, "--block", 10, "--retry-dead").exit_code == 0
    assert sorted(row["id"] for row in rows_in(target)) == list(range(20))
    assert list((target / "_dead").glob("*.parquet")) == []
    assert embed(source, target, "--block", 10).exit_code == 0
    assert sorted(row["id"] for row in rows_in(target)) == list(range(20))
    assert {text: n for text, n in service.texts().items() if text != "Hi"} == {
        f"text {i}": 1 for i in range(20)
    }


def test_a_spent_budget_stops_the_job_and_more_money_goes_on(
    service: Service, tmp_path: Path
) -> None:
    source = corpus(tmp_path / "c.jsonl", [f"text {i}" for i in range(60)])
    small = ("--block", 10, "--batch-tokens", 10, "--in-flight", 2)
    result = embed(source, tmp_path / "out", *small, "--budget", "0.02")
    assert result.exit_code == 4, result.output
    assert "stopped: the budget of 0.02 USD" in result.output
    paid = sum(service.texts().values())
    assert 15 <= paid <= 25
    result = embed(source, tmp_path / "out", *small, "--budget", "1")
    assert result.exit_code == 0, result.output
    assert sorted(row["id"] for row in rows_in(tmp_path / "out")) == list(range(60))
    assert set(service.texts().values()) == {1}


@pytest.mark.parametrize("status", [401, 402, 404])
def test_what_no_row_is_to_blame_for_stops_the_job(
    service: Service, tmp_path: Path, status: int
) -> None:
    service.answer = lambda _: no(status, "Not you")
    source = corpus(tmp_path / "c.jsonl", [f"text {i}" for i in range(60)])
    result = embed(source, tmp_path / "out", "--batch-tokens", 10)
    assert result.exit_code == 4
    assert "Not you" in result.output
    assert len(service.bodies) <= 32
    assert rows_in(tmp_path / "out") == rows_in(tmp_path / "out" / "_dead") == []


def test_a_service_that_only_fails_stops_the_job_without_dead_letters(
    service: Service, tmp_path: Path
) -> None:
    service.answer = lambda _: no(400, "unknown field: dimensions")
    source = corpus(tmp_path / "c.jsonl", [f"text {i}" for i in range(500)])
    result = embed(source, tmp_path / "out", "--batch-tokens", 20, "--rpm", 60_000)
    assert result.exit_code == 4
    assert "requests fail, with a harmless text, too: unknown field" in result.output
    assert len(service.bodies) < 100


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_a_few_rows_are_not_to_blame_for_what_fails_with_any_text(
    service: Service, tmp_path: Path, status: int
) -> None:
    service.answer = lambda _: no(status, "unknown field: dimensions")
    source, target = corpus(tmp_path / "c.jsonl", ["a", "b", "c"]), tmp_path / "out"
    assert embed(source, target).exit_code == 4
    assert rows_in(target / "_dead") == []
    assert [body["input"] for body in service.bodies] == [["a", "b", "c"], ["Hi"]]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
@pytest.mark.parametrize("texts", [["bad"], ["bad", "a", "b"], ["a", "b", "bad"]])
def test_a_row_never_ends_the_job_whatever_the_status(
    service: Service, tmp_path: Path, status: int, texts: list[str]
) -> None:
    service.answer = lambda body: no(status) if "bad" in body["input"] else vectors(body)
    source, target = corpus(tmp_path / "c.jsonl", texts), tmp_path / "out"
    result = embed(source, target, "--batch-tokens", 1)
    assert result.exit_code == 3, result.output
    assert [row["text"] for row in rows_in(target / "_dead")] == ["bad"]
    assert len(rows_in(target)) == len(texts) - 1
    assert service.texts()["Hi"] <= 1


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_an_account_that_is_closed_later_stops_the_job(
    service: Service, tmp_path: Path, status: int
) -> None:
    service.answer = lambda body: vectors(body) if len(service.bodies) < 4 else no(status, "Empty")
    source, target = corpus(tmp_path / "c.jsonl", list("abcdefgh")), tmp_path / "out"
    one_by_one = ("--batch-tokens", 1, "--in-flight", 1, "--block", 2)
    result = embed(source, target, *one_by_one)
    assert result.exit_code == 4, result.output
    assert re.search("requests fail, with a harmless text, too: .*Empty", result.output)
    assert rows_in(target / "_dead") == []
    service.answer = vectors
    assert embed(source, target, *one_by_one).exit_code == 0
    assert set(service.texts().values()) == {1}


@pytest.mark.parametrize("rule", ["cut", "refuse"])
def test_long_texts_follow_the_rule(service: Service, tmp_path: Path, rule: str) -> None:
    texts = ["short", "word " * 1000, "\u6d77" * 300]
    source, target = corpus(tmp_path / "c.jsonl", texts), tmp_path / "out"
    result = embed(source, target, "--on-long", rule, "--most-tokens", 100)
    if rule == "cut":
        assert result.exit_code == 0
        assert sorted(map(len, service.texts())) == [5, 100, 400]
    else:
        assert result.exit_code == 3
        assert list(service.texts()) == ["short"]
        assert [row["id"] for row in rows_in(target / "_dead")] == [1, 2]


def test_a_429_holds_all_requests_back_and_nothing_is_lost(
    service: Service, tmp_path: Path
) -> None:
    refused: list[list[str]] = []
    numbers = itertools.count(1)

    def answer(body: Any) -> Any:
        if next(numbers) == 5:
            refused.append(body["input"])
            return no(429, retry_after="1")
        return vectors(body)

    service.answer = answer
    service.seconds = 0.02
    source = corpus(tmp_path / "c.jsonl", [f"text {i}" for i in range(500)])
    result = embed(source, tmp_path / "out", "--batch-tokens", 10, "--in-flight", 4)
    assert result.exit_code == 0, result.output
    sent = [body["input"] for body in service.bodies]
    assert len(sent) == 101
    first, again = (i for i, texts in enumerate(sent) if texts == refused[0])
    # if only the refused one waited, most of the others would overtake it in that second
    assert again - first < 30, "one worker's 429 stops the clock of all requests"
    assert set(service.texts().values()) == {1}


def test_a_dry_run_pays_nothing_and_counts_equal_texts_once(
    service: Service, tmp_path: Path
) -> None:
    service.prices = [{"id": "m", "pricePerMillionTokens": {"input": 1000, "output": 0}}]
    source = corpus(tmp_path / "c.jsonl", ["a" * 40, "a" * 40, "b" * 40, ""])
    result = embed(source, tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "4 rows, 1 of them can't be sent; 2 texts, about 20 tokens" in result.output
    assert service.bodies == []
    assert not (tmp_path / "out").exists()


def test_another_model_may_not_write_into_the_same_folder(service: Service, tmp_path: Path) -> None:
    source = corpus(tmp_path / "c.jsonl", ["a"])
    assert embed(source, tmp_path / "out").exit_code == 0
    result = run("embed", source, tmp_path / "out", "-m", "other")
    assert result.exit_code == 1
    assert "take another folder" in result.output
    assert len(service.bodies) == 1


def test_the_key_is_in_no_file_of_the_job(service: Service, tmp_path: Path) -> None:
    said = "no: {} sk-bulk-4f9a1c"
    service.answer = lambda b: vectors(b) if b["input"] == ["Hi"] else no(400, said.format(b))
    source = corpus(tmp_path / "c.jsonl", [f"text {i}" for i in range(5)])
    assert embed(source, tmp_path / "out").exit_code == 3
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files
    assert all(b"sk-bulk-4f9a1c" not in path.read_bytes() for path in files)


def test_rows_keep_their_other_columns(service: Service, tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "text": f"t{i}", "year": 2000 + i} for i in range(3)]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = embed(tmp_path / "c.jsonl", tmp_path / "out", "--keep", "year")
    assert result.exit_code == 0, result.output
    assert [(row["id"], row["year"]) for row in rows_in(tmp_path / "out")] == [
        ("r0", 2000),
        ("r1", 2001),
        ("r2", 2002),
    ]


async def test_workers_of_a_killed_run_send_nothing_once_another_has_begun(
    service: Service, tmp_path: Path
) -> None:
    job = Job(str(tmp_path / "state"), "m")
    begin(job)
    left_over = Worker(job)
    assert (await left_over.answers([{"text": "a"}]))[0][1] is None
    begin(job)
    worker = Worker(job)
    with pytest.raises(Stopped, match="another run has begun"):
        await left_over.answers([{"text": "b"}])
    assert len(service.bodies) == 1
    answers = await worker.answers([{"text": text} for text in "ab"])
    assert [error for _, error in answers] == [None, None]
    assert [body["input"] for body in service.bodies] == [["a"], ["b"]]
    await left_over.aclose()
    await worker.aclose()


@pytest.mark.parametrize("status", [400, 422])
def test_what_fails_for_the_jobs_sake_stops_a_later_run_too(
    service: Service, tmp_path: Path, status: int
) -> None:
    source, target = corpus(tmp_path / "c.jsonl", ["a", "b"]), tmp_path / "out"
    assert embed(source, target).exit_code == 0
    service.answer = lambda _: no(status, "unknown field: dimensions")
    corpus(source, ["a", "b", "c"])
    result = embed(source, target)
    assert result.exit_code == 4, result.output
    assert "with a harmless text, too: unknown field" in result.output
    assert rows_in(target / "_dead") == []
    service.answer = vectors
    assert embed(source, target).exit_code == 0
    assert [row["id"] for row in rows_in(target)] == [0, 1, 2]
    assert service.texts() == {"a": 1, "b": 1, "c": 1}
