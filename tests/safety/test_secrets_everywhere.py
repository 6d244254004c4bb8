"""Any key, thrown at every public constructor, is in none of the texts that come out."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import pickle
import string
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.load import dumpd, dumps

import lunos_core
from lunos_core import Catalog, Client, Config, LunosError, UsageLedger, chat_request
from tests.core.raw_server import CLOSE, Got, RawServer, Step, chunk, head, http, sse_head
from tests.core.wire_samples import delta, lines
from tests.safety.answering_server import AnsweringServer
from tests.safety.every_class import CORE, EVERY
from tests.safety.models import KINDS, Kind, close, opened

# Every character that a key may have; long, and with a start that no other text has: hypothesis
# also tries the words of the source.
KEYS = st.text(
    string.ascii_letters + string.digits + "-_.+/=~:'\"\\{}%$", min_size=12, max_size=60
).map(lambda text: f"sk-9Z{text}")
# LangChain's own `dict()`, and one that makes a key as other types of pydantic's
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
HARD = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PACKAGES = Path(lunos_core.__file__).parent.parent
OURS = tuple(
    str(PACKAGES / name) for name in ("lunos_core", "langchain_lunos", "llama_index_lunos")
)

# what frameworks and users call to print, trace, cache or store an object
DUMPS: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "format": lambda it: f"{it}",
    "vars": lambda it: repr(vars(it)) if hasattr(it, "__dict__") else "",
    "private": lambda it: repr(getattr(it, "__pydantic_private__", None)),
    "rich": lambda it: repr(list(it.__rich_repr__())) if hasattr(it, "__rich_repr__") else "",
    "pretty": lambda it: repr(it.__pretty__) if hasattr(it, "__pretty__") else "",
    "LangChain's dumps": dumps,
    "LangChain's dumpd": lambda it: repr(dumpd(it)),
}
METHODS = (
    "model_dump", "model_dump_json", "dict", "json", "to_dict", "to_json", "to_payload",
    "get_name", "get_lc_namespace", "lc_id", "_get_llm_string", "_get_ls_params",
)  # fmt: skip
PROPERTIES = (
    "_identifying_params", "lc_attributes", "lc_secrets", "_default_params", "metadata",
    "model_fields_set", "model_extra", "profile", "_llm_type", "config_specs", "__dict__",
)  # fmt: skip


def texts_of(it: Any) -> Iterator[tuple[str, str]]:
    """Every text that an object gives of itself, by how it was asked."""
    for name, dump in DUMPS.items():
        yield name, _said(dump, it)
    for name in METHODS:
        if callable(getattr(it, name, None)):
            yield name, _said(lambda asked, name=name: repr(getattr(asked, name)()), it)
    for name in PROPERTIES:
        yield name, repr(getattr(it, name, None))


def _said(dump: Callable[..., Any], it: Any) -> str:
    """What a dump says, or the error that it raises: that is shown, too."""
    try:
        return str(dump(it))
    except Exception as error:
        return f"{error!r} {error}"


def no_key_in(key: str, texts: Iterator[tuple[str, str]]) -> None:
    # repr() doubles backslashes, JSON escapes quotes: each way to write the key is looked for
    written = {key, repr(key)[1:-1], json.dumps(key)[1:-1], repr(key.encode())[2:-1]}
    for name, text in texts:
        for item in written:
            assert item not in text, f"the key is in {name}"


@pytest.mark.parametrize("name", EVERY)
@HARD
@given(key=KEYS)
def test_no_object_shows_its_key(name: str, key: str) -> None:
    for given_key in (key, f" {key}\n"):
        no_key_in(key, texts_of(EVERY[name](api_key=given_key)))


# an object's insides as they are, which nothing prints by itself: the key is wrapped there, too,
# but headers are what the user gave
RAW = ("vars", "__dict__", "private")


@pytest.mark.parametrize("name", [name for name in EVERY if name not in CORE])
@HARD
@given(key=KEYS)
def test_no_object_of_an_adapter_shows_headers(name: str, key: str) -> None:
    made = EVERY[name](api_key="other", default_headers={"x-token": key})
    shown = ((how, text) for how, text in texts_of(made) if how not in RAW)
    no_key_in(key, shown)


@pytest.mark.parametrize("name", EVERY)
@HARD
@given(key=KEYS, bad=st.sampled_from(["base_url", "max_retries", "timeout", "nonsense", "app_id"]))
def test_no_error_of_a_constructor_shows_the_key(name: str, key: str, bad: str) -> None:
    with pytest.raises((TypeError, ValueError, LunosError)) as caught:
        EVERY[name](**{"api_key": key, bad: "\0"})
    no_key_in(key, iter([("str", str(caught.value)), ("repr", repr(caught.value))]))


class Echoes(AnsweringServer):
    """Sends the key back wherever a server can, in one fault after the other."""

    def __init__(self, key: str, *, streamed: bool) -> None:
        super().__init__()
        quoted = json.dumps(key).encode()
        error = b'{"error": {"message": %s, "code": %s, "param": %s, "type": %s}}' % ((quoted,) * 4)
        words = {"x_request_id": f"r-{key}", "x_echo": f"Bearer {key}"}
        self._faults: list[list[Step]] = [
            [http(401, error, **words)],
            [http(503, error, retry_after_ms="0", **words)],
            [http(429, b'{"error": %s}' % quoted, retry_after_ms="0", **words)],
            [http(200, error, **words)],
            [http(502, f"<html>{key}</html>".encode(), "text/html", retry_after_ms="0")],
            [http(200, f"<html>{key}</html>".encode(), "text/html", **words)],
            [http(200, b'{"choices": [{"message": %s}]}' % quoted, **words)],
            [http(200, b'{"data": [%s]}' % quoted, **words)],
            [head(200, content_length="999", **words) + key.encode(), CLOSE],
            [http(200, key.encode(), content_encoding="gzip", **words)],
            [http(302, b"", location=f"http://nowhere.invalid/?{quoted.hex()}", **words)],
        ]
        if streamed:
            begun = sse_head(**words) + chunk(lines([delta("Hello")]))
            events = (error.decode(), f"garbage {key}", '{"choices": ' + quoted.decode() + "}")
            self._faults += [[begun + chunk(lines([item])), chunk(b"")] for item in events]
            self._faults += [[begun, CLOSE], [begun, chunk(b"")]]

    @property
    def count(self) -> int:
        return len(self._faults)

    def fault(self, number: int) -> None:
        self._at = number

    def _answer(self, got: Got) -> list[Step]:
        return self._faults[self._at]


async def fails(kind: Kind, model: Any, *, streamed: bool, is_async: bool) -> LunosError:
    with pytest.raises(LunosError) as caught:
        await _ask(kind, model, streamed=streamed, is_async=is_async)
    error: LunosError = caught.value
    return error


async def _ask(kind: Kind, model: Any, *, streamed: bool, is_async: bool) -> None:
    if not streamed:
        await kind.aask(model) if is_async else kind.ask(model)
    elif is_async:
        assert kind.astream is not None
        async for _ in await opened(kind.astream(model)):
            pass
    else:
        assert kind.stream is not None
        list(kind.stream(model))


def texts_of_error(error: BaseException) -> Iterator[tuple[str, str]]:
    """Everything that a log, a tracer or a worker process would carry of an error."""
    yield "str", str(error)
    yield "repr", repr(error)
    yield "vars", repr(vars(error))
    yield "args", repr(error.args)
    yield "notes", repr(getattr(error, "__notes__", ()))
    yield "traceback", "".join(traceback.format_exception(error))
    yield "pickle", repr(pickle.dumps(error))
    response = getattr(error, "response", None)
    if response is not None:
        yield "response", repr((response, response.text, dict(response.headers)))


def locals_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """The values of variables in our frames, as debuggers and some trackers show them."""
    for item in chain(error):
        for frame in our_frames(item.__traceback__):
            yield f"the locals in {frame.f_code.co_filename}", repr(frame.f_locals)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def our_frames(trace: TracebackType | None) -> Iterator[Any]:
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(OURS):
            yield trace.tb_frame
        trace = trace.tb_next


WAYS = [
    pytest.param(name, streamed, is_async, id=f"{name}-{'stream' if streamed else 'whole'}-{way}")
    for name, kind in KINDS.items()
    for streamed in (False, True)
    if kind.stream or not streamed
    for is_async, way in ((False, "sync"), (True, "async"))
]


@pytest.mark.parametrize(("name", "streamed", "is_async"), WAYS)
@settings(HARD, max_examples=2)
@given(key=KEYS)
def test_no_error_log_line_or_ledger_shows_a_key_that_the_server_echoes(
    name: str, streamed: bool, is_async: bool, key: str
) -> None:
    kind = KINDS[name]
    log: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.append(record)

    async def every_fault(server: Echoes) -> None:
        for number in range(server.count):
            server.fault(number)
            model = kind.make(api_key=key, base_url=server.url, max_retries=1)
            error = await fails(kind, model, streamed=streamed, is_async=is_async)
            no_key_in(key, texts_of_error(error))
            await close(model)

    root = logging.getLogger()
    handler, level = Keep(), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(record=True) as warned,
            Echoes(key, streamed=streamed) as server,
            UsageLedger() as ledger,
        ):
            warnings.simplefilter("always")
            asyncio.run(every_fault(server))
            gc.collect()
            ledger.write_csv(Path(folder, "ledger.csv"))
            ledger.write_json(Path(folder, "ledger.json"))
            files = "".join(file.read_text() for file in Path(folder).iterdir())
            assert "app_id" in files
            no_key_in(key, iter([("ledger", f"{files}{ledger.table()}{ledger!r}{ledger.rows()}")]))
            no_key_in(key, iter([("warnings", repr([str(item.message) for item in warned]))]))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    # httpcore logs the headers of answers, which are the server's words: see SECURITY.md
    said = [item for item in log if "receive_response_headers.complete" not in item.getMessage()]
    assert {"httpcore.http11", "httpx", "lunos_core"} <= {item.name for item in said}
    no_key_in(key, iter([(f"the log of {item.name}", item.getMessage()) for item in said]))


PLAIN_FAULTS: dict[str, list[Step]] = {
    "401": [http(401, b'{"error": "Invalid secret key"}')],
    "503": [http(503, b"", retry_after_ms="0")],
    "garbage": [http(200, b"garbage")],
    "closed": [CLOSE],
    "stream cut": [sse_head() + chunk(lines([delta("Hello")])), CLOSE],
}


@pytest.mark.parametrize("fault", PLAIN_FAULTS)
@pytest.mark.parametrize(("name", "streamed", "is_async"), WAYS)
def test_no_variable_of_ours_in_a_traceback_shows_the_key(
    name: str, streamed: bool, is_async: bool, fault: str
) -> None:
    key = "sk-hush-0123456789"
    kind = KINDS[name]

    async def main(url: str) -> LunosError:
        model = kind.make(api_key=key, base_url=url, max_retries=1)
        error = await fails(kind, model, streamed=streamed, is_async=is_async)
        await close(model)
        return error

    with RawServer(PLAIN_FAULTS[fault]) as server:
        error = asyncio.run(main(server.url))
    result = list(locals_of(error))
    assert result
    no_key_in(key, iter(result))


@HARD
@given(key=KEYS)
def test_no_cache_file_of_the_catalog_and_no_cache_key_has_the_key(key: str) -> None:
    listed = http(body=json.dumps([{"id": "m", "name": "M"}]).encode())
    with tempfile.TemporaryDirectory() as folder, RawServer(listed) as server:
        with Client(Config(api_key=key, base_url=server.url)) as client:
            assert Catalog(client, cache_dir=folder).list()
        (file,) = [file for file in Path(folder).rglob("*") if file.is_file()]
        no_key_in(key, iter([("the cache", file.read_text()), ("its name", file.name)]))
        # the catalog is public: it is asked for without the key
        assert "authorization" not in server.requests[0].headers


@HARD
@given(key=KEYS)
def test_the_key_travels_in_one_header_and_nowhere_else(key: str) -> None:
    with AnsweringServer() as server:
        with Client(Config(api_key=key, base_url=server.url)) as client:
            client.send(chat_request([{"role": "user", "content": "Hello"}], model="m"))
        (got,) = server.requests
        assert got.headers.pop("authorization") == f"Bearer {key}"
        no_key_in(key, iter([("the request", repr((got.line, got.headers, got.body)))]))


# -- what the user gives cannot add a header or a request --------------------------------------

SMUGGLED = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\x0b",
    "\x85",
    "\u2028",
    "\r\nx-evil: 1",
    "\n\nGET / HTTP/1.1",
]
TEXT = st.text(string.ascii_letters + string.digits + " -_:", max_size=8)
BROKEN = st.builds(
    lambda before, evil, after: f"a{before}{evil}{after}a", TEXT, st.sampled_from(SMUGGLED), TEXT
)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("where", ["api_key", "app_id", "header value", "header name"])
@HARD
@given(text=BROKEN)
def test_no_setting_smuggles_a_line_break(name: str, where: str, text: str) -> None:
    given_: dict[str, Any] = {"api_key": "k"}
    if where.startswith("header"):
        pair = ("x-a", text) if where == "header value" else (text, "a")
        given_["default_headers"] = dict([pair])
    else:
        given_[where] = text
    with pytest.raises((ValueError, TypeError)):
        EVERY[name](**given_)


@HARD
@given(text=BROKEN)
def test_no_option_of_a_call_smuggles_a_line_break(text: str) -> None:
    hello = [{"role": "user", "content": "Hello"}]
    for option in (
        {"app_id": text},
        {"extra_headers": {"x-a": text}},
        {"extra_headers": {text: "a"}},
    ):
        with pytest.raises((ValueError, TypeError)):
            chat_request(hello, model="m", **option)
    with pytest.raises((ValueError, TypeError)), lunos_core.app(text):
        pass
    key = Config(api_key=lambda: text)  # a key function is asked for each call
    with pytest.raises(ValueError, match="api_key"):
        _ = key.key


@HARD
@given(value=st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF), max_size=12))
def test_a_value_that_is_taken_arrives_as_it_is_and_brings_nothing_along(value: str) -> None:
    hello = [{"role": "user", "content": "Hello"}]
    try:
        request = chat_request(hello, model="m", extra_headers={"x-a": value})
    except ValueError:
        return
    with AnsweringServer() as server:
        with Client(Config(api_key="k", base_url=server.url)) as client:
            client.send(request)
        (got,) = server.requests
    ours = {"host", "accept", "accept-encoding", "connection", "user-agent"}
    ours |= {"content-type", "content-length", "authorization"}
    assert got.headers.keys() == ours | {"x-a"}
    assert got.headers["x-a"] == value.strip()
