"""`Lunos`: every model behind the gateway as a LlamaIndex LLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import Field, field_serializer
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback

from llama_index_lunos._messages import to_wire
from llama_index_lunos._metadata import (
    DEFAULT_CONTEXT_WINDOW,
    ModelFacts,
    encode_with,
    facts_of,
    tokens_left,
)
from llama_index_lunos._parameters import Parameters
from llama_index_lunos._results import ChatAccumulator, to_completion, to_response
from llama_index_lunos._settings import Connection
from llama_index_lunos._structured_predict import StructuredPrediction
from llama_index_lunos.errors import LLAMA_INDEX_ERRORS
from lunos_core.adapters import refuse_impossible
from lunos_core.endpoints.chat.requests import (
    chat_request,
    chat_stream_request,
    completion_request,
    completion_stream_request,
)
from lunos_core.endpoints.chat.types import Chunk, Completion
from lunos_core.request import Request, StreamRequest
from lunos_core.transport.streams import AsyncStream, Stream


class Question(NamedTuple):
    """The content and parameters of one call, streamed or not."""

    chat: bool
    content: Any
    model: str
    params: dict[str, Any]

    def request(self) -> Request[Completion]:
        """Return the request for a whole answer."""
        make = chat_request if self.chat else completion_request
        return make(self.content, model=self.model, **self.params)

    def stream_request(self) -> StreamRequest[Chunk]:
        """Return the request for a streamed answer."""
        make = chat_stream_request if self.chat else completion_stream_request
        return make(self.content, model=self.model, **self.params)


class Lunos(Connection, Parameters, StructuredPrediction):
    """A model behind the Lunos gateway: chats, streams, tools, objects, images, reasoning.

    Every parameter of the wire is a setting here and an argument of each call. Only what was set is
    sent; `None` means "not set".

    Args:
        model: the model's id, such as "openai/gpt-4o" (`model_name` is accepted too).
        **settings: the fields below. `base_url` is accepted for `api_base`; `http_client` and
            `async_http_client` are an `httpx.Client` and `httpx.AsyncClient` of your own.

    Raises:
        LunosConfigError: there is no key, or a base URL, timeout or number of retries is invalid.
        ValueError: a value is out of range.
        TypeError: a setting doesn't exist, or a value has the wrong type.

    Example:
        >>> from llama_index_lunos import Lunos
        >>> llm = Lunos("lunos/scripted", app_id="docs")
        >>> print(llm.complete("Say hello"))
        Scripted answer to: Say hello
        >>> llm.close()
    """

    model: str = Field(description="The model's id.")
    context_window: int | None = Field(
        default=None,
        gt=0,
        description="Tokens of prompt and answer; by default the catalog's, else 128,000.",
    )
    is_chat_model: bool | None = Field(
        default=None,
        description="False sends to /completions; by default the catalog's value, else True.",
    )
    is_function_calling_model: bool | None = Field(
        default=None,
        description="Whether it calls tools; by default the catalog's value, else is_chat_model.",
    )

    tokenizer: Any = Field(
        default=None,
        repr=False,
        description=(
            "A function, an object with `encode` or a name on Hugging Face: text completions "
            "then get the rest of the context window as max_tokens."
        ),
    )
    preflight: bool = Field(
        default=True,
        description="With a catalog: refuse before sending what the model doesn't support.",
    )

    _spellings: ClassVar[Mapping[str, str]] = {"base_url": "api_base", "model_name": "model"}

    def __init__(self, model: str | None = None, **settings: Any) -> None:
        super().__init__(model=model, **settings)
        self.check_parameters()
        if not isinstance(self.tokenizer, str | None):
            encode_with(self.tokenizer)

    @field_serializer("tokenizer")
    def _tokenizer_as_json(self, tokenizer: Any) -> str | None:
        return tokenizer if isinstance(tokenizer, str) else None  # an object has no JSON

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "LunosLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The known facts about the model, without I/O: LlamaIndex asks on every call."""
        return self._metadata_of(self.model)

    def _metadata_of(self, model: str) -> LLMMetadata:
        facts = facts_of(model, self.catalog)
        chat = self._chats(facts)
        return LLMMetadata(
            context_window=self.context_window or facts.context_window or DEFAULT_CONTEXT_WINDOW,
            # not the catalog's longest answer, which would leave too little for the prompt
            num_output=self.max_tokens or -1,
            is_chat_model=chat,
            is_function_calling_model=_first(self.is_function_calling_model, facts.tools, chat),
            model_name=model,
        )

    def _chats(self, facts: ModelFacts) -> bool:
        return _first(self.is_chat_model, facts.is_chat_model, True)

    def to_payload(self) -> dict[str, Any]:
        """Return what tracers see of this model: never the key, never headers."""
        return {
            **super().to_payload(),
            "model": self.model,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation.

        Args:
            messages: the conversation so far; it is not changed.
            **kwargs: the wire's parameters for this call, and `app_id`, `timeout`,
                `extra_headers`, `extra_body`, `model`.

        Raises:
            LunosError: the call failed.
        """
        question = self._messages_question(messages, kwargs)
        return to_response(self.client.send(question.request()))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat`, awaited."""
        question = self._messages_question(messages, kwargs)
        return to_response(await self.async_client.send(question.request()))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Stream an answer. Each response has what is new (`delta`) and the message so far.

        The stream is open when this returns, so errors of opening it are raised here. The last
        response has the usage in `raw["usage"]` and `additional_kwargs`.

        Raises:
            LunosError: the call failed. If the stream breaks off, the iteration raises it, and
                `error.partial` has the message so far.
        """
        question = self._messages_question(messages, kwargs)
        return _responses(self.client.stream(question.stream_request()))

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """`stream_chat`, awaited."""
        question = self._messages_question(messages, kwargs)
        return _aresponses(await self.async_client.stream(question.stream_request()))

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Continue a prompt; a chat model answers it as a user's message.

        Args:
            prompt: the text.
            formatted: whether `completion_to_prompt` has already been applied to it.
            **kwargs: as in `chat`.

        Raises:
            LunosError: the call failed.
        """
        question = self._prompt_question(prompt, formatted, kwargs)
        return to_completion(to_response(self.client.send(question.request())))

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """`complete`, awaited."""
        question = self._prompt_question(prompt, formatted, kwargs)
        return to_completion(to_response(await self.async_client.send(question.request())))

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Stream the answer of `complete`, as `stream_chat` does."""
        question = self._prompt_question(prompt, formatted, kwargs)
        responses = _responses(self.client.stream(question.stream_request()))
        return (to_completion(response) for response in responses)

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """`stream_complete`, awaited."""
        question = self._prompt_question(prompt, formatted, kwargs)
        responses = _aresponses(await self.async_client.stream(question.stream_request()))
        return (to_completion(response) async for response in responses)

    def _messages_question(self, messages: Sequence[ChatMessage], call: dict[str, Any]) -> Question:
        model = call.get("model") or self.model
        if self._chats(facts_of(model, self.catalog)):
            return self._question(True, to_wire(messages), model, self.chat_params(call))
        to_prompt: Any = self.messages_to_prompt
        return self._text_question(to_prompt(messages), model, call)

    def _prompt_question(self, prompt: str, formatted: bool, call: dict[str, Any]) -> Question:
        to_prompt: Any = self.completion_to_prompt
        text = prompt if formatted else to_prompt(prompt)
        if not isinstance(text, str):  # LlamaIndex's message would drop it
            raise TypeError(f"prompt must be a str, not {type(text).__name__}")
        model = call.get("model") or self.model
        if self._chats(facts_of(model, self.catalog)):
            wire = to_wire([ChatMessage(role=MessageRole.USER, content=text)])
            return self._question(True, wire, model, self.chat_params(call))
        return self._text_question(text, model, call)

    def _text_question(self, prompt: str, model: str, call: dict[str, Any]) -> Question:
        params = self.completion_params(call)
        if self.tokenizer is not None and params.get("max_tokens") is None:
            window = self._metadata_of(model).context_window
            params["max_tokens"] = tokens_left(prompt, self.tokenizer, window)
        return self._question(False, prompt, model, params)

    def _question(self, chat: bool, content: Any, model: str, params: dict[str, Any]) -> Question:
        """Return the question, unless the catalog knows that the model can't answer it."""
        if self.preflight:
            errors = LLAMA_INDEX_ERRORS
            refuse_impossible(self.catalog, content, params, model=model, errors=errors)
        return Question(chat, content, model, params)

    def _standing_tools(self) -> Sequence[Any]:
        tools: Sequence[Any] = self.additional_kwargs.get("tools", ())
        return tools

    def _knows_json_schema(self) -> bool:
        return (
            self.metadata.is_chat_model
            and facts_of(self.model, self.catalog).json_schema is not False
        )


def _responses(stream: Stream[Chunk]) -> ChatResponseGen:
    accumulator = ChatAccumulator()
    with stream:
        for chunk in stream:
            response = accumulator.add(chunk)
            if response is not None:
                yield response


async def _aresponses(stream: AsyncStream[Chunk]) -> ChatResponseAsyncGen:
    accumulator = ChatAccumulator()
    async with stream:
        async for chunk in stream:
            response = accumulator.add(chunk)
            if response is not None:
                yield response


def _first(*values: bool | None) -> bool:
    return next((value for value in values if value is not None), False)


def _register() -> None:
    try:
        from llama_index.core.llms.loading import RECOGNIZED_LLMS
    except ImportError:  # another integration's import failed there
        return
    RECOGNIZED_LLMS.setdefault(Lunos.class_name(), Lunos)


_register()
