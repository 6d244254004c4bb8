"""`lunos bulk extract`: an answer for each row, valid, or a dead letter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lunos_bulk.job import Job
from lunos_core import LunosConfigError
from tests.bulk.conftest import Service, corpus, no, rows_in, run, says

pytestmark = pytest.mark.socket

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
}


def extract(source: Path, target: Path, *more: object) -> Any:
    prompt = ("--prompt", "How many? {text}")
    # no waiting for the pace that a job begins with, unless the test is about it
    return run("extract", source, target, "-m", "m", "--rpm", 60_000, *prompt, *more)


def asked(body: Any) -> str:
    return str(body["messages"][0]["content"])


def test_each_row_has_an_answer_that_fits_the_schema(service: Service, tmp_path: Path) -> None:
    service.answer = lambda body: says(json.dumps({"n": int(asked(body)[-1])}))
    source = corpus(tmp_path / "c.jsonl", ["a 1", "b 2", "a 1"])
    result = extract(source, tmp_path / "out", "--schema", json.dumps(SCHEMA))
    assert result.exit_code == 0, result.output
    assert [json.loads(row["answer"])["n"] for row in rows_in(tmp_path / "out")] == [1, 2, 1]
    assert sorted(map(asked, service.bodies)) == ["How many? a 1", "How many? b 2"]
    sent = service.bodies[0]["response_format"]["json_schema"]
    assert sent["schema"] == SCHEMA


def test_an_invalid_answer_is_asked_once_more_with_what_is_wrong(
    service: Service, tmp_path: Path
) -> None:
    def answer(body: Any) -> Any:
        if "never" in asked(body):
            return says("nothing")
        return says('{"n": 1}' if len(body["messages"]) == 3 else '{"n": "many"}')

    service.answer = answer
    source = corpus(tmp_path / "c.jsonl", ["mended", "never"])
    result = extract(source, tmp_path / "out", "--schema", json.dumps(SCHEMA))
    assert result.exit_code == 3
    assert [row["answer"] for row in rows_in(tmp_path / "out")] == ['{"n": 1}']
    (dead,) = rows_in(tmp_path / "out" / "_dead")
    assert dead["error"].startswith("ValueError: an invalid answer, twice: Expecting value")
    # both rows are asked at once, in any order
    (again,) = [
        body for body in service.bodies if len(body["messages"]) == 3 and "mended" in asked(body)
    ]
    assert again["messages"][1] == {"role": "assistant", "content": '{"n": "many"}'}
    assert '"many" is not of type "integer"' in again["messages"][2]["content"]
    assert len(service.bodies) == 4


@pytest.mark.parametrize(
    "said",
    [
        '```json\n{"n": 1}\n```',
        'Here it is: {"n": 1}. Anything else?',
        '<think>{"n": "many"}?</think>{"n": 1}',
        'First {"n": "one"}, no: {"n": 1}',
    ],
)
def test_a_valid_object_in_other_words_is_not_paid_again(
    service: Service, tmp_path: Path, said: str
) -> None:
    service.answer = lambda _: says(said)
    source = corpus(tmp_path / "c.jsonl", ["a"])
    result = extract(source, tmp_path / "out", "--schema", json.dumps(SCHEMA))
    assert result.exit_code == 0, result.output
    assert [json.loads(row["answer"]) for row in rows_in(tmp_path / "out")] == [{"n": 1}]
    assert len(service.bodies) == 1


def test_a_pydantic_model_is_a_schema(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import pydantic\nclass Person(pydantic.BaseModel):\n    name: str\n"
    (tmp_path / "people_for_bulk.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    service.answer = lambda _: says('{"name": "Ada"}')
    source = corpus(tmp_path / "c.jsonl", ["Ada wrote"])
    result = extract(source, tmp_path / "out", "--schema", "people_for_bulk:Person")
    assert result.exit_code == 0, result.output
    properties = service.bodies[0]["response_format"]["json_schema"]["schema"]["properties"]
    assert list(properties) == ["name"]


def test_without_a_schema_the_text_is_the_answer(service: Service, tmp_path: Path) -> None:
    service.answer = lambda body: says(asked(body).upper())
    source = corpus(tmp_path / "c.jsonl", ["{braces}"])
    assert extract(source, tmp_path / "out", "--max-tokens", 7).exit_code == 0
    assert rows_in(tmp_path / "out")[0]["answer"] == "HOW MANY? {BRACES}"
    assert service.bodies[0]["max_tokens"] == 7


def test_a_refusal_is_a_dead_letter(service: Service, tmp_path: Path) -> None:
    def answer(body: Any) -> Any:
        reply = says("")
        reply[1]["choices"][0]["message"]["refusal"] = "I won't"
        return reply

    service.answer = answer
    assert extract(corpus(tmp_path / "c.jsonl", ["a"]), tmp_path / "out").exit_code == 3
    assert rows_in(tmp_path / "out" / "_dead")[0]["error"] == "ValueError: refused: I won't"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--prompt", "no place"), "names no column"),
        (("--prompt", "{title}: {text}"), "there is no column 'title'"),
        (("--schema", '{"type": "nothing"}'), "can't be used"),
        (("--schema", '{"$ref": "#/nothing"}'), "can't be used: "),
        (("--schema", '{"pattern": "("}'), "can't be used: "),
        (("--schema", '{"items": {"$ref": "http://x.invalid/y"}}'), "http://x.invalid/y"),
        (("--schema", "[1]"), "no such file"),
        (("--schema", "no_such_module:Model"), "no_such_module"),
        (("--keep", "year"), "there is no column 'year'"),
        (("--budget", "-1"), "0 USD or more"),
        (("--rpm", "0"), "above 0"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_paid(
    service: Service, tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    source = corpus(tmp_path / "c.jsonl", ["a"])
    result = extract(source, tmp_path / "out", *more)
    assert result.exit_code in (1, 2)
    assert said in result.output.replace("No such", "no such")
    assert len(result.output.strip().splitlines()) == 1
    assert service.bodies == []


def test_a_missing_key_is_reported_first(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LUNOS_API_KEY")
    result = extract(corpus(tmp_path / "c.jsonl", ["a"]), tmp_path / "out")
    assert result.exit_code == 1
    assert "LUNOS_API_KEY" in result.output


@pytest.mark.parametrize("schema", ['{"type": "object"}', True, [], 7])
def test_a_schema_that_is_no_object_is_refused(schema: Any) -> None:
    with pytest.raises(LunosConfigError, match="a JSON schema must be an object"):
        Job("s", "m", prompt="{text}", schema=schema)


@pytest.mark.parametrize(
    ("said", "valid"),
    [
        ('{"n": 1, "seen": "2026-11-26"}', True),
        ('{"n": 12345678901234567890123}', True),
        ('{"n": NaN}', False),
        ('{"n": 1e400}', False),
        ('{"n": "\\ud800"}', False),
        ("[" * 400 + "]" * 400, False),
        ("[" * 100_000, False),
        ('{"inner": {"n": "x"}}', False),
        ('{"inner": {"n": 1}}', False),
        ('{"inner": {"n": 1}, "n": 2}', True),
    ],
)
def test_an_answer_is_valid_if_it_fits_the_whole_schema(said: str, valid: bool) -> None:
    inner = {"type": "object", "properties": {"n": {"$ref": "#/$defs/number"}}}
    schema = {**SCHEMA, "$defs": {"number": {"type": "integer"}}}
    properties = {**SCHEMA["properties"], "inner": inner}
    job = Job("s", "m", prompt="{text}", schema={**schema, "properties": properties})
    _, validate = job.checked()
    if valid:
        validate(said)
    else:
        with pytest.raises((ValueError, RecursionError)):
            validate(said)


def test_doubled_braces_are_braces() -> None:
    job = Job("s", "m", prompt='{{"a": "{text}"}} {text}')
    assert job.text_of({"text": "{x}"}) == '{"a": "{x}"} {x}'
    with pytest.raises(LunosConfigError, match="names no column"):
        Job("s", "m", prompt="{{text}}")


def test_a_service_that_is_down_stops_the_job_and_leaves_no_dead_letters(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lunos_bulk.worker._MAX_RETRIES", 0)
    service.answer = lambda _: no(503)
    source = corpus(tmp_path / "c.jsonl", [f"text {i}" for i in range(60)])
    assert extract(source, tmp_path / "out", "--rpm", 60_000).exit_code == 4
    assert len(service.bodies) < 60

    service.answer = lambda _: says("yes")
    assert extract(source, tmp_path / "out", "--rpm", 60_000).exit_code == 0
    assert len(rows_in(tmp_path / "out")) == 60


def test_poisoned_rows_at_the_beginning_are_dead_letters_and_the_others_are_asked(
    service: Service, tmp_path: Path
) -> None:
    service.answer = lambda body: no(400) if "poison" in asked(body) else says("fine")
    texts = [f"poison {i}" for i in range(90)] + [f"text {i}" for i in range(30)]
    source, target = corpus(tmp_path / "c.jsonl", texts), tmp_path / "out"
    result = extract(source, target, "--rpm", 60_000, "--block", 40)
    assert result.exit_code == 3, result.output
    assert len(rows_in(target)) == 30
    assert len(rows_in(target / "_dead")) == 90
    harmless = [body for body in service.bodies if asked(body) == "How many? Hi"]
    assert len(harmless) == 1, "what shows that the rows are to blame is asked once"


def test_rows_that_break_the_service_do_not_end_the_job(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lunos_bulk.worker._MAX_RETRIES", 0)
    service.answer = lambda body: no(500) if "poison" in asked(body) else says("fine")
    texts = ["first", *(f"poison {i}" for i in range(60)), "last"]
    source, target = corpus(tmp_path / "c.jsonl", texts), tmp_path / "out"
    assert extract(source, target, "--rpm", 60_000).exit_code == 3
    assert [row["id"] for row in rows_in(target)] == [0, 61]


@pytest.mark.parametrize(
    "status", [400, *(pytest.param(status, marks=pytest.mark.slow) for status in (403, 422))]
)
def test_a_job_that_no_row_can_do_ends_early_and_its_rows_are_not_dead(
    service: Service, tmp_path: Path, status: int
) -> None:
    service.answer = lambda _: no(status, "this model takes no schema")
    source = corpus(tmp_path / "c.jsonl", [f"text {i}" for i in range(300)])
    target, fast = tmp_path / "out", ("--rpm", 60_000, "--block", 20)
    result = extract(source, target, *fast)
    assert result.exit_code == 4
    assert "requests fail, with a harmless text, too: this model takes no schema" in result.output
    assert len(service.bodies) < 100

    service.answer = lambda _: says("yes")
    assert extract(source, target, *fast).exit_code == 0
    assert len(rows_in(target)) == 300
