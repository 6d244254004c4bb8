"""Every parser of the wire gives its result or one of our errors, whatever a server sent.

The same functions are fuzzed: see `fuzz/`. What it found lies in `tests/fuzz_cases/`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fuzz.parsers as fuzzed
import lunos_core
from fuzz.__main__ import NAMES
from fuzz.parsers import PARSERS, seeds
from llama_index_lunos._results import to_images
from tests.core.test_layers import mutated
from tests.core.wire_samples import FOLDER

CASES = sorted((FOLDER.parent / "fuzz_cases").iterdir())
CALM = settings(suppress_health_check=[HealthCheck.too_slow])
every_parser = pytest.mark.parametrize("name", PARSERS)


def test_each_function_that_reads_an_answer_is_among_the_fuzzed_ones() -> None:
    readers = set()
    for module in pkgutil.walk_packages(lunos_core.__path__, "lunos_core."):
        for name, it in vars(importlib.import_module(module.name)).items():
            if getattr(it, "__module__", "") != module.name:
                continue
            if inspect.isfunction(it) and name.startswith("parse_"):
                if next(iter(inspect.signature(it).parameters), None) == "reply":
                    readers.add(name)
            elif inspect.isclass(it) and {"read", "end", "partial"} <= vars(it).keys():
                readers.add(name)
    readers.discard("StreamReader")  # the protocol
    assert readers
    assert readers <= vars(fuzzed).keys()
    assert set(NAMES) == PARSERS.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_what_fuzzing_found_stays_fixed(case: Path) -> None:
    PARSERS[case.name.partition("-")[0]](case.read_bytes())


@every_parser
def test_real_answers_are_read(name: str) -> None:
    real = list(seeds(name))
    assert len(real) >= 3
    for item in real:
        PARSERS[name](item)


@every_parser
@CALM
@given(data=st.data())
def test_real_answers_with_bytes_changed_are_read_or_refused_with_our_errors(
    name: str, data: st.DataObject
) -> None:
    body = bytearray(data.draw(st.sampled_from(list(seeds(name)))))
    for _ in range(data.draw(st.integers(1, 4))):
        i = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(i, min(len(body), i + 20)))
        body[i:end] = data.draw(st.sampled_from([b"", b"null", b'"', b"[", b"}", b"1e999"]))
    PARSERS[name](bytes(body))


# those whose answers are one JSON value, after as many bytes that choose how it is read
OF_JSON = {"chat": 0, "catalog": 0, "images": 0, "embeddings": 1, "audio": 1}


@pytest.mark.parametrize("name", OF_JSON)
@CALM
@given(data=st.data())
def test_real_answers_with_parts_taken_out_or_of_another_type_are_read_or_refused(
    name: str, data: st.DataObject
) -> None:
    body = data.draw(
        st.sampled_from([item for item in seeds(name) if _json(item[OF_JSON[name] :])])
    )
    start, value = body[: OF_JSON[name]], _json(body[OF_JSON[name] :])
    PARSERS[name](start + json.dumps(mutated(data, value)).encode())


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


@every_parser
@CALM
@given(body=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(name: str, body: bytes) -> None:
    parser: Callable[[bytes], None] = PARSERS[name]
    parser(body)


def test_an_image_without_an_address_does_not_lose_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = to_images(["no address", "https://h/a.png", "data:image/png;base64,\ud800"])
    assert [str(item.url) for item in result] == ["https://h/a.png"]
    assert caplog.text.count("left out") == 2
    assert "no address at all" not in caplog.text
