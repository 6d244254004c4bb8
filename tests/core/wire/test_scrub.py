"""No spelling of the key in any text: single encodings, and encodings inside of one another."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import random
import re
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lunos_core import Completion, LunosAPIError
from lunos_core.endpoints.chat.types import Choice, Message
from lunos_core.wire.error_bodies import error_from_response, error_in_answer, error_response
from lunos_core.wire.scrub import STARS, scrub, scrub_body, scrub_error, scrub_value

KEYS = st.text(
    string.ascii_letters + string.digits + "-_.+/=~:'\"\\{}%$&;", min_size=12, max_size=60
).map(lambda text: f"sk-9Z{text}")
KEY = "sk-9Z1234567890abcdef"
HARD = settings(max_examples=20, deadline=None)


def json_escaped(text: str, dice: random.Random) -> str:
    """Each character as JSON may have it."""
    return "".join(
        dice.choice(
            [
                json.dumps(character)[1:-1],
                f"\\u{ord(character):04x}",
                f"\\u{ord(character):04X}",
                "\\/" if character == "/" else json.dumps(character)[1:-1],
            ]
        )
        for character in text
    )


def percent(text: str, dice: random.Random) -> str:
    return "".join(
        dice.choice([f"%{ord(character):02x}", f"%{ord(character):02X}", quote(character, safe="")])
        for character in text
    )


def entities(text: str, dice: random.Random) -> str:
    return "".join(
        dice.choice([f"&#{ord(c)};", f"&#x{ord(c):x};", f"&#X{ord(c):04X};", html.escape(c)])
        for c in text
    )


def code_escaped(text: str, dice: random.Random) -> str:
    return "".join(
        dice.choice([f"\\x{ord(c):02x}", f"\\u{{{ord(c):x}}}", f"\\U{ord(c):08x}"]) for c in text
    )


def in_base64(text: str, dice: random.Random) -> str:
    around = dice.choice(["{}", "Bearer {}", ":{}", "{}:", "user:{}", "xy{}z"]).format(text)
    encode = dice.choice([base64.b64encode, base64.urlsafe_b64encode])
    return encode(around.encode()).decode()


def in_hex(text: str, dice: random.Random) -> str:
    digits = text.encode().hex(dice.choice([" ", ":", "-"]))
    if dice.random() < 0.5:
        digits = text.encode().hex()
    return dice.choice([digits, digits.upper()])


LAYERS: dict[str, Callable[[str, random.Random], str]] = {
    "plain": lambda text, dice: text,
    "JSON": json_escaped,
    "percent": percent,
    "HTML": entities,
    "code": code_escaped,
}
ENDS = {"base64": in_base64, "hex": in_hex, **LAYERS}


def decoded_forms(text: str) -> list[str]:
    """What a reader can make of a text: each encoding taken off, up to four times."""
    forms = [text]
    for _ in range(4):
        text = html.unescape(unquote(text))
        with contextlib.suppress(ValueError):
            text = json.loads(f'"{text}"', strict=False)
        forms.append(text)
    return forms


def shows(key: str, text: str) -> bool:
    forms = decoded_forms(text)
    secrets = [key, key.encode().hex(), base64.b64encode(key.encode()).decode().rstrip("=")[:-1]]
    return any(secret in form or secret.upper() in form for form in forms for secret in secrets)


@pytest.mark.parametrize("end", ENDS)
@HARD
@given(
    key=KEYS,
    layers=st.lists(st.sampled_from(sorted(LAYERS)), max_size=3),
    seed=st.integers(0, 10**6),
    around=st.sampled_from([("", ""), ("bad key ", " given"), ('"', '"'), ("x", "y"), ("=", "&")]),
)
def test_no_spelling_of_the_key_is_left_in_a_text(
    end: str, key: str, layers: list[str], seed: int, around: tuple[str, str]
) -> None:
    dice = random.Random(seed)
    text = ENDS[end](key, dice)
    for layer in layers:
        text = LAYERS[layer](text, dice)
    clean = scrub(around[0] + text + around[1], key)
    assert STARS in clean
    assert text not in clean
    assert not shows(key, clean)


def every_text(error: LunosAPIError) -> str:
    response: Any = error.response
    parts = [str(error), repr(vars(error)), repr(error.args), response.text, repr(error.headers)]
    with contextlib.suppress(ValueError):
        parts.append(repr(response.json()))
    return "\n".join([*parts, repr(error.body), repr(error.facts())])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("status", [200, 401, 500])
@HARD
@given(key=KEYS, seed=st.integers(0, 10**6), nested=st.integers(0, 2))
@example(key="sk-9Z/aaaaaaaaaaaa", seed=1, nested=0)
def test_no_error_answer_brings_the_key_back(
    status: int, layer: str, key: str, seed: int, nested: int
) -> None:
    dice = random.Random(seed)
    said = LAYERS[layer](key, dice)
    for _ in range(nested):  # JSON in a string of JSON
        said = json.dumps({"inner": f"key {said}"})
    quoted = f'"{json_escaped(said, dice)}"'
    body = '{"error": {"message": %s, "code": %s}, %s: [%s]}' % ((quoted,) * 4)
    headers = {"x-request-id": f"r-{said}", "x-echo": said}
    error = (
        error_in_answer(json.loads(body), secret=key)
        if status == 200
        else error_from_response(status, headers, body.encode(), secret=key)
    )
    assert error is not None
    for form in decoded_forms(every_text(error)):
        assert not shows(key, form)


@pytest.mark.parametrize("key", ["k", "key", "a1", "sk-1", "test"])
def test_a_short_key_is_taken_out_as_a_word_and_garbles_no_other(key: str) -> None:
    for text in (f"req-{key}-7", f"{key}7", f"the {key}s", f"a.{key}.b", f"x_{key}", f"{key}-1"):
        assert scrub(text, key) == text
    for text in (key, f"Bearer {key}", f"wrong: {key}.", f'"{key}"', f"key={key}&x", f"({key})"):
        clean = scrub(text, key)
        assert STARS in clean
        assert clean in (text.replace(key, STARS), text.replace(f"={key}", f"={STARS}"))
    for text in (f"a\n{key}", f"a\t{key}\r\nb", f"a\n\n{key}"):
        body = json.dumps({"error": {"message": text}})
        for told in (body, json.dumps(body), repr(text)):
            assert scrub(told, key) == told.replace(key, STARS)
    encoded = base64.b64encode(f"Bearer {key}".encode()).decode()
    assert scrub(f"authorization {encoded}", key).startswith(f"authorization {STARS}")


@pytest.mark.parametrize("key", ["#0123456789", "sk-0123456789", "~0123456789"])
def test_a_body_without_the_key_stays_as_it_is_and_loses_it_otherwise(key: str) -> None:
    odd = b"\xff\xfe not UTF-8 \xe9 " + b"no key"
    assert scrub_body(odd, key) == odd
    assert scrub_body(f'{{"a": "{key}"}}'.encode(), key) == f'{{"a": "{STARS}"}}'.encode()


def test_a_text_without_the_key_is_unchanged() -> None:
    key = "sk-0123456789"
    for text in (
        "",
        "50% of &amp; \\u0041 \\n",
        "sk-012345678",
        base64.b64encode(b"x" * 99).decode(),
    ):
        assert scrub(text, key) == text
    assert scrub("anything", None) == scrub("anything", "") == "anything"


@pytest.mark.parametrize(
    "text",
    [
        *("\\" * 300_000, "s" * 300_000, "sk-" * 100_000, "%25" * 100_000, "&amp;" * 100_000),
        *("\\u0073" * 50_000, "s\\" * 100_000, "73" * 200_000, "&#" + "0" * 200_000),
        *("&#" + "9" * 200_000, "%" + "25" * 200_000, "&#x110000;" * 1000, "\\u{110000}" * 1000),
    ],
    ids=lambda text: f"{text[:6]}…",
)
def test_repetition_by_a_hostile_server_does_no_harm(text: str) -> None:
    assert scrub(text, "sk-0123456789abcdefghijklmnopqrstuvwxyz") in (text, STARS)


def test_values_keep_their_form() -> None:
    key = "sk-0123456789"
    answer = Completion(choices=[Choice(index=0, message=Message(content=f"it is {key}"))])
    clean = scrub_value(answer, key)
    assert isinstance(clean, Completion)
    assert clean.choices[0].message.content == f"it is {STARS}"
    assert scrub_value({key: (key, [1, None, 2.5])}, key) == {STARS: (STARS, [1, None, 2.5])}
    other = Completion(choices=[])
    assert scrub_value(other, key) is other


def test_an_error_is_cleaned_with_its_notes_and_causes() -> None:
    key = "sk-0123456789"
    error = LunosAPIError(f"no: {key}", code=key, partial={"text": key})
    error.add_note(f"after {key}")
    error.__cause__ = OSError(5, f"header {key}")
    error.__cause__.__context__ = error  # a circle
    scrub_error(error, key)
    texts = [str(error), repr(vars(error)), repr(error.__notes__), repr(error.__cause__)]
    assert not any(key in text for text in texts)
    assert error.args == (f"no: {STARS}",)


@pytest.mark.parametrize("zeros", range(7))
def test_a_code_point_in_braces_may_begin_with_zeros(zeros: int) -> None:
    escaped = "".join(f"\\u{{{'0' * zeros}{ord(character):x}}}" for character in KEY)
    assert scrub(f"a {escaped} b", KEY) == f"a {STARS} b"


def test_a_key_in_base64_alone_leaves_no_character() -> None:
    assert scrub(base64.b64encode(KEY.encode()).decode(), KEY) == STARS


@pytest.mark.parametrize("key", ["sk-test-4f9a1c8d7e6b5a4", "abc123"])
def test_a_key_under_six_layers_of_escapes_is_out_of_an_errors_body(key: str) -> None:
    hidden = key
    for _ in range(6):
        hidden = "".join(f"\\u{ord(character):04x}" for character in hidden)
    sent = f'{{"error": {{"message": "bad {hidden}"}}}}'.encode()
    body = error_response(401, {}, sent, secret=key).text
    for _ in range(7):
        assert key not in body
        body = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), body)
