"""Record a test's conversations with Lunos, and replay them offline.

The pytest plugin's `lunos_cassette` and this repository's own recordings use it. By itself, vcrpy
would record all headers, every service that a test talks to, the application under test too, and
half of a conversation if the test fails.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from vcr import matchers
from vcr.cassette import Cassette
from vcr.errors import UnhandledHTTPRequestError
from vcr.filters import decode_response
from vcr.patch import CassettePatcherBuilder
from vcr.record_mode import RecordMode
from vcr.request import Request
from vcr.serialize import deserialize, serialize

from lunos_core.config import DEFAULT_BASE_URL
from lunos_core.wire.scrub import STARS, scrub, scrub_body

STAND_IN_ROOT = "http://local-gateway.invalid"
"""The address that replaces that of a gateway on this machine, whose port changes."""

SCRUBBED = "SCRUBBED"
"""The placeholder of the key."""

# informative headers that stay the same when nothing has changed
_KEPT_OF_REQUEST = ("accept", "authorization", "content-type", "x-app-id")
_KEPT_OF_RESPONSE = (
    "content-encoding",
    "content-type",
    "retry-after",
    "retry-after-ms",
    "x-request-id",
)
_SECRET = re.compile(r"auth|key|token|secret|cookie|password|session", re.IGNORECASE)
_LOCAL = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?(?=/|$)")
_USER_AGENT = "lunos-integrations/"
_SHOWN_LINES = 20


class LunosCassetteError(Exception):
    """A request isn't in the cassette, or it can't be used; the message says what to do."""


class Redactor:
    """Removes from requests and responses what must not be stored or changes between runs."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def request(self, request: Request) -> Request:
        """Return a request without secrets, cookies and this machine's ports."""
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        for name, value in headers.items():
            if _SECRET.search(name):
                self._secrets.add(value.removeprefix("Bearer ").strip())
        kept = {name: value for name, value in headers.items() if name in _KEPT_OF_REQUEST}
        if "authorization" in kept:
            kept["authorization"] = f"Bearer {SCRUBBED}"
        request.headers = kept
        # a password in the address is a secret too
        uri = re.sub(r"(?<=://)[^/@]*@", "", _LOCAL.sub(STAND_IN_ROOT, request.uri))
        request.uri = self._clean(uri)
        body: Any = request.body
        if body:
            request.body = self._clean_body(body)
        return request

    def response(self, response: Mapping[str, Any]) -> dict[str, Any]:
        """Return vcrpy's form of a response without secrets and this machine's ports."""
        response = _decoded(response)
        headers = {
            name.lower(): list(map(self._clean, [value] if isinstance(value, str) else value))
            for name, value in response["headers"].items()
            if name.lower() in _KEPT_OF_RESPONSE
        }
        body = response["body"].get("string", b"")
        if b"://" in body and _is_text(body):  # such as the address of an image
            body = _LOCAL.sub(STAND_IN_ROOT, body.decode()).encode()
        return {**response, "headers": headers, "body": {"string": self._clean_body(body)}}

    def _clean(self, text: str) -> str:
        for secret in self._secrets - {SCRUBBED}:
            text = scrub(text, secret).replace(STARS, SCRUBBED)
        return text

    def _clean_body(self, body: bytes) -> bytes:
        for secret in self._secrets - {SCRUBBED}:
            clean = scrub_body(body, secret)
            body = body if clean == body else clean.replace(STARS.encode(), SCRUBBED.encode())
        return body


def _decoded(response: Any) -> Any:
    """Return a response with its body decompressed, so that the key is found in it."""
    decoded: Any = decode_response(response)
    for name, value in decoded["headers"].items():
        if name.lower() == "content-encoding" and list(value) == ["zstd"]:  # unknown to vcrpy
            import zstandard  # installed, since httpx asks for zstd only then

            with zstandard.ZstdDecompressor().stream_reader(decoded["body"]["string"]) as reader:
                decoded["body"] = {"string": reader.read()}
            decoded["headers"] = {k: v for k, v in decoded["headers"].items() if k != name}
            break
    return decoded


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


class ReadableYaml:
    """A serializer for vcrpy: YAML with the original bodies as blocks of text."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        """Return the text of a cassette."""
        text: str = yaml.dump(
            cassette, Dumper=_BlockDumper, allow_unicode=True, sort_keys=False, width=100_000
        )
        return text

    @staticmethod
    def deserialize(text: str) -> Any:
        """Return the cassette of a text from `serialize`."""
        return yaml.safe_load(text)


class _BlockDumper(yaml.SafeDumper):
    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_BlockDumper.add_representer(str, _BlockDumper.represent_str)


def _is_for_lunos(request: Request) -> bool:
    """Return whether a request comes from this package's clients, or goes to their address."""
    if _text(request.headers.get("user-agent", "")).startswith(_USER_AGENT):
        return True
    own = {DEFAULT_BASE_URL, os.environ.get("LUNOS_BASE_URL") or DEFAULT_BASE_URL}
    return urlsplit(request.uri).netloc in {urlsplit(url).netloc for url in own}


class _Redacted(Request):  # type: ignore[misc]  # vcrpy brings no types
    """A request to Lunos in its stored form."""


def _app_id(sent: Request, recorded: Request) -> None:
    ids = [request.headers.get("x-app-id") for request in (sent, recorded)]
    if ids[0] != ids[1]:
        raise AssertionError(f"the app id is {ids[0]!r}, not {ids[1]!r}")


# not the host: recordings of a gateway here are replayed without it
_MATCHERS: tuple[Callable[[Request, Request], Any], ...] = (
    matchers.method,
    matchers.path,
    matchers.query,
    matchers.body,
    _app_id,
)


class LunosCassette(Cassette):  # type: ignore[misc]  # vcrpy brings no types
    """vcrpy's cassette with one test's requests to Lunos.

    Args:
        path: the file.
        remedy: how to record it again, for errors.
        replay_only: whether nothing is recorded.

    Attributes:
        made: the requests so far, each with its response.
        missing: the errors of requests that aren't in the cassette.
    """

    def __init__(self, path: Path, *, remedy: str, replay_only: bool) -> None:
        redactor = Redactor()

        def of_lunos(request: Request) -> Request | None:
            if isinstance(request, _Redacted):  # vcrpy asks more than once
                return request
            if not _is_for_lunos(request):
                return None
            # a copy: the original, which is sent, keeps its key
            copy = _Redacted(request.method, request.uri, request.body, dict(request.headers))
            return redactor.request(copy)

        super().__init__(
            path=path,
            serializer=ReadableYaml,
            match_on=_MATCHERS,
            record_mode=RecordMode.NONE if replay_only else RecordMode.ONCE,
            before_record_request=of_lunos,
            before_record_response=redactor.response,
        )
        self.remedy = remedy
        self.made: list[tuple[Request, dict[str, Any]]] = []
        self.missing: list[str] = []
        self._lock = threading.Lock()

    @property
    def requests(self) -> list[Request]:
        """The requests so far: each has `method`, `uri`, `headers` and `body`."""
        return [request for request, _ in self.made]

    @property
    def responses(self) -> list[dict[str, Any]]:
        """The responses so far: each has `status`, `headers` and `body`."""
        return [response for _, response in self.made]

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self._path)

    @property
    def is_replay(self) -> bool:
        """Whether nothing is sent to Lunos."""
        return bool(self.write_protected)

    def read(self) -> None:
        """Read the file.

        Raises:
            LunosCassetteError: it isn't a cassette, for example after a merge with conflicts.
        """
        try:
            requests, responses = deserialize(self.path.read_text("utf-8"), ReadableYaml)
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as failure:
            reason = str(failure).partition("\n")[0]
            raise LunosCassetteError(
                f"{self.path} isn't a cassette that can be read ({reason}). {self.remedy}"
            ) from failure
        self.data = list(zip(requests, responses, strict=True))
        self.rewound = True

    def can_play_response_for(self, request: Request) -> bool:
        """Return whether the cassette has an answer.

        Raises:
            LunosCassetteError: in a replay, there is no answer for this request to Lunos.
        """
        if super().can_play_response_for(request):
            return True
        sent = self.filter_request(request)
        if sent is not None and self.is_replay:
            raise self._not_there(sent)
        return False

    def play_response(self, request: Request) -> Any:
        """Return the recorded answer, once."""
        with self._lock:  # two threads with the same request get two answers
            sent = self.filter_request(request)
            try:
                response = super().play_response(request)
            except UnhandledHTTPRequestError:
                raise self._not_there(sent) from None
            self.made.append((sent, response))
            return response

    def append(self, request: Request, response: dict[str, Any]) -> None:
        """Record a request and its answer."""
        with self._lock:
            before = len(self.data)
            super().append(request, response)
            self.made += self.data[before:]

    def unplayed(self) -> list[str]:
        """Return the recorded calls that weren't made, except lists of models, which are cached."""
        return [
            _name(request)
            for i, (request, _) in enumerate(self.data)
            if not self.play_counts[i] and request.method != "GET"
        ]

    def save(self) -> None:
        """Write the recording in one step, so that no partial file is left."""
        if not self.dirty:
            return
        requests, responses = zip(*self.data, strict=True)
        everything = {"requests": requests, "responses": responses}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        unfinished.write_text(serialize(everything, ReadableYaml), "utf-8", newline="\n")
        unfinished.replace(self.path)

    def _not_there(self, sent: Request) -> LunosCassetteError:
        text = f"{_name(sent)} isn't in the cassette {self.path}: {self._difference(sent)}"
        self.missing.append(text)
        return LunosCassetteError(f"{text}\n{self.remedy}")

    def _difference(self, sent: Request) -> str:
        if not self.data:
            return "nothing was recorded."
        alike = self.find_requests_with_most_matches(sent)
        same = [recorded for recorded, _, failed in alike if not failed]
        if same:
            return f"it was recorded {len(same)} time(s), and is made more often now."
        alike = [near for near in alike if _name(near[0]) == _name(sent)]
        if not alike:
            names = dict.fromkeys(_name(request) for request, _ in self.data)
            return f"there are {', '.join(names)}."
        # prefer a recording that hasn't been played yet
        waiting = [request for i, (request, _) in enumerate(self.data) if not self.play_counts[i]]
        recorded, _, failed = next((near for near in alike if near[0] in waiting), alike[0])
        reasons = [str(reason).partition("\n")[0] for _, reason in failed if reason]
        if any(name == "body" for name, _ in failed):
            reasons.append("the request body differs.\n" + _diff(recorded, sent))
        return "; ".join(reasons)


def _name(request: Request) -> str:
    query = urlsplit(request.uri).query
    return f"{request.method} {request.path}" + (f"?{query}" if query else "")


def _diff(recorded: Any, sent: Any) -> str:
    texts = []
    for request in (recorded, sent):
        try:
            body = json.dumps(json.loads(request.body), indent=1, ensure_ascii=False)
        except (ValueError, TypeError):
            body = (request.body or b"").decode("utf-8", "replace")
        texts.append(body.splitlines())
    old, new = texts
    lines = list(difflib.unified_diff(old, new, "recorded", "sent", lineterm="", n=0))
    more = len(lines) - _SHOWN_LINES
    return "\n".join(lines[:_SHOWN_LINES] + ([f"… and {more} lines more"] if more > 0 else []))


@contextmanager
def playing(
    path: Path, *, record: bool = False, replay_only: bool = False, remedy: str = ""
) -> Iterator[LunosCassette]:
    """Replay a cassette, or record one if there is none, within a `with` block.

    The caller keeps a recording with `save()`.

    Args:
        path: the file.
        record: record again, even if there is a file.
        replay_only: record nothing: requests without a recording fail.
        remedy: how to record it again, for errors.

    Raises:
        LunosCassetteError: the file isn't a cassette, or a request in the block isn't in it.
    """
    cassette = LunosCassette(path, remedy=remedy, replay_only=replay_only)
    if path.exists() and not record:
        cassette.read()
    with ExitStack() as patches:
        patchers: Any = CassettePatcherBuilder(cassette).build()
        for patcher in patchers:
            patches.enter_context(patcher)
        yield cassette
