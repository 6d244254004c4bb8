"""Pictures: what is sent, on which of the two paths, and what is read."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncLunos,
    CallRecord,
    GeneratedImage,
    Lunos,
    LunosAPIError,
    LunosNotFoundError,
    LunosResponseError,
    LunosServerError,
    image_request,
)
from tests.core.wire_samples import Answer, Wire, raw, reply

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both

PNG = b"\x89PNG\r\n\x1a\n...."
PNG64 = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{PNG64}"
ANSWER = {
    "created": 1700000000,
    "data": [{"url": "https://x.test/1.png", "revised_prompt": "a very red cat"}],
    "model": "openai/dall-e-3",
    "cost": 0.04,
}
REQUEST = image_request("a red cat", model="openai/dall-e-3")
PLURAL, SINGULAR = "/v1/images/generations", "/v1/image/generations"
NO_ROUTE = raw(b"<html>404 Not Found</html>", 404, content_type="text/html")


class Paths(Wire):
    """Answers by path."""

    def __init__(self, plural: Answer, singular: Answer) -> None:
        super().__init__(plural)
        self._by_path = {PLURAL: plural, SINGULAR: singular}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self._answers = [self._by_path[request.url.path]]
        return super().__call__(request)

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.requests]


def lunos_of(both: Both, wire: Any) -> Any:
    kind = AsyncLunos if both.is_async else Lunos
    return kind("k", base_url="https://lunos.test", http_client=both.http_client(wire))


async def test_all_parameters_of_the_wire_are_sent_and_nothing_else(both: Both) -> None:
    params: dict[str, Any] = {
        "n": 2,
        "size": "1024x1024",
        "quality": "hd",
        "style": "natural",
        "response_format": "b64_json",
        "seed": 7,
        "user": "u",
    }
    wire = Wire(reply(ANSWER))
    lunos = lunos_of(both, wire)
    await both(lunos.images.generate(prompt="a", model="m", app_id="app", style=None))
    await both(lunos.images.generate(prompt="a", model="m", **params, extra_body={"new": [1]}))
    assert wire.bodies == [
        {"model": "m", "prompt": "a"},
        {"model": "m", "prompt": "a", **params, "new": [1]},
    ]
    assert [request.headers.get("x-app-id") for request in wire.requests] == ["app", None]
    assert str(wire.requests[0].url) == "https://lunos.test" + PLURAL


async def test_an_answer_with_a_url_is_read_with_its_cost(both: Both) -> None:
    records: list[CallRecord] = []
    wire = Wire(reply(ANSWER, x_request_id="r1"))
    client = both.client(wire, observers=[records.append])
    answer = await both(client.send(REQUEST))
    assert answer.images == [
        GeneratedImage(url="https://x.test/1.png", revised_prompt="a very red cat")
    ]
    assert (answer.model, answer.cost, answer.created, answer.request_id, answer.attempts) == (
        "openai/dall-e-3",
        0.04,
        1700000000,
        "r1",
        1,
    )
    assert (answer.images[0].data, answer.images[0].mime_type) == (None, None)
    assert records[0].usage is not None
    assert (records[0].usage.cost, records[0].endpoint) == (0.04, "/images/generations")


@pytest.mark.parametrize(
    "entry",
    [
        {"b64_json": PNG64},
        {"url": DATA_URL},
        {"b64_json": DATA_URL},
        {"b64_json": PNG64, "url": ""},
    ],
)
async def test_an_image_in_the_answer_gives_its_bytes_whatever_was_requested(
    both: Both, entry: dict[str, Any]
) -> None:
    wire = Wire(reply({"data": [entry, entry]}))
    answer = await both(both.client(wire).send(REQUEST))
    assert [(image.data, image.mime_type) for image in answer.images] == [(PNG, "image/png")] * 2
    assert (answer.cost, answer.usage, answer.model) == (None, None, None)


async def test_a_cost_inside_usage_counts_and_tokens_are_kept(both: Both) -> None:
    usage = {"input_tokens": 5, "output_tokens": 100, "cost": 0.01}
    wire = Wire(reply({"data": [{"url": "https://x.test"}], "usage": usage, "cost": None}))
    answer = await both(both.client(wire).send(REQUEST))
    assert (answer.cost, answer.usage.input_tokens, answer.usage.cost) == (0.01, 5, 0.01)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": []},
        {"data": None},
        {"data": [7]},
        {"data": [{}]},
        {"data": [{"url": None, "b64_json": 7}]},
        {"data": [{"url": "https://x.test"}, {"b64_json": "?"}]},
        {"data": [{"url": "data:image/png;base64,?"}]},
        [],
    ],
)
async def test_an_answer_without_an_image_is_a_typed_error(both: Both, body: Any) -> None:
    with pytest.raises(LunosResponseError):
        await both(both.client(Wire(reply(body))).send(REQUEST))


async def test_where_the_plural_path_is_missing_the_singular_one_is_asked_and_remembered(
    both: Both,
) -> None:
    wire = Paths(NO_ROUTE, reply(ANSWER))
    lunos = lunos_of(both, wire)
    answer = await both(lunos.images.generate(prompt="a", model="m"))
    await both(lunos.images.generate(prompt="b", model="m"))
    assert wire.paths == [PLURAL, SINGULAR, SINGULAR]
    assert [body["prompt"] for body in wire.bodies] == ["a", "a", "b"]
    assert answer.images[0].url == "https://x.test/1.png"


async def test_each_client_finds_out_for_itself(both: Both) -> None:
    wire = Paths(NO_ROUTE, reply(ANSWER))
    for _ in range(2):
        await both(lunos_of(both, wire).images.generate(prompt="a", model="m"))
    assert wire.paths == [PLURAL, SINGULAR] * 2


async def test_a_path_that_comes_back_is_found_again(both: Both) -> None:
    wire = Paths(NO_ROUTE, reply(ANSWER))
    lunos = lunos_of(both, wire)
    await both(lunos.images.generate(prompt="a", model="m"))
    wire._by_path = {PLURAL: reply(ANSWER), SINGULAR: NO_ROUTE}
    await both(lunos.images.generate(prompt="a", model="m"))
    await both(lunos.images.generate(prompt="a", model="m"))
    assert wire.paths == [PLURAL, SINGULAR, SINGULAR, PLURAL, PLURAL]


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "The model 'x' does not exist", "code": "model_not_found"}},
        {"error": {"message": "not found", "code": "model_not_found"}},
        {"error": {"message": "not found", "param": "model"}},
        {"error": "No endpoints found for openai/dall-e-3."},
        {"message": "dall-e-3: not found"},
    ],
)
async def test_a_404_that_speaks_of_the_model_asks_no_other_path(both: Both, error: Any) -> None:
    wire = Wire(reply(error, 404))
    with pytest.raises(LunosNotFoundError) as caught:
        await both(both.client(wire).send(REQUEST))
    assert wire.sent.url.path == PLURAL
    assert "deployment" not in str(caught.value)


@pytest.mark.parametrize("status", [404, 501])
async def test_a_deployment_with_neither_path_gives_a_clear_error(both: Both, status: int) -> None:
    wire = Wire(reply({"error": "Not Found"}, status))
    with pytest.raises(LunosNotFoundError, match="can't generate images") as caught:
        await both(both.client(wire).send(REQUEST))
    assert [request.url.path for request in wire.requests] == [PLURAL, SINGULAR]
    assert (caught.value.status, caught.value.attempts) == (status, 2)


async def test_the_other_path_has_its_retries_too(both: Both) -> None:
    busy = iter([raw(b"", 503, retry_after="0"), reply(ANSWER)])
    wire = Paths(NO_ROUTE, lambda: next(busy)())
    answer = await both(both.client(wire, max_retries=1).send(REQUEST))
    assert (wire.paths, answer.attempts) == ([PLURAL, SINGULAR, SINGULAR], 3)


async def test_other_errors_ask_no_other_path(both: Both) -> None:
    wire = Wire(raw(b"", 503, retry_after="0"))
    with pytest.raises(LunosServerError):
        await both(both.client(wire, max_retries=1).send(REQUEST))
    assert [request.url.path for request in wire.requests] == [PLURAL, PLURAL]
    hidden = Wire(reply({"error": {"message": "gone", "code": "not_found_error"}}))
    with pytest.raises(LunosAPIError, match="gone"):
        await both(both.client(hidden).send(REQUEST))
    assert len(hidden.requests) == 1


async def test_a_fallback_model_is_asked_where_the_model_fails(both: Both) -> None:
    wire = Wire(reply({"error": {"message": "no such model"}}, 404), reply(ANSWER))
    await both(lunos_of(both, wire).images.generate(prompt="a", model="m", fallback_model="n"))
    assert wire.bodies == [
        {"model": "m", "prompt": "a", "fallback_model": "n"},
        {"model": "n", "prompt": "a"},
    ]


@pytest.mark.parametrize(
    ("prompt", "params", "error"),
    [
        ("", {}, ValueError),
        (" ", {}, ValueError),
        (7, {}, TypeError),
        ("a", {"n": 0}, ValueError),
        ("a", {"n": "2"}, TypeError),
        ("a", {"size": 1024}, TypeError),
        ("a", {"response_format": "png"}, ValueError),
        ("a", {"seed": 1.5}, TypeError),
        ("a", {"model": ""}, ValueError),
    ],
)
def test_what_the_wire_cannot_carry_raises_before_anything_is_sent(
    prompt: Any, params: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        image_request(prompt, **{"model": "m", **params})


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
async def test_the_local_gateway_draws(
    both: Both, gateway: LocalGateway, response_format: str
) -> None:
    kind = AsyncLunos if both.is_async else Lunos
    lunos = both.closing(kind(gateway.api_key, base_url=gateway.base_url))
    answer = await both(
        lunos.images.generate(
            prompt="a red cat", model="lunos/scripted-image", n=2, response_format=response_format
        )
    )
    assert len(answer.images) == 2
    if response_format == "b64_json":
        assert {image.mime_type for image in answer.images} == {"image/png"}
    else:
        assert all(image.url.startswith("http://127.0.0.1") for image in answer.images)


async def test_a_local_deployment_with_the_singular_path_draws_and_is_remembered(
    both: Both, singular_gateway: LocalGateway
) -> None:
    kind = AsyncLunos if both.is_async else Lunos
    gateway = singular_gateway
    lunos = both.closing(kind(gateway.api_key, base_url=gateway.base_url))
    for _ in range(2):
        asked = {"model": "lunos/scripted-image", "response_format": "b64_json"}
        answer = await both(lunos.images.generate(prompt="a cat", **asked))
        assert answer.images[0].mime_type == "image/png"
    assert [item["path"] for item in gateway.requests()] == [PLURAL, SINGULAR, SINGULAR]
