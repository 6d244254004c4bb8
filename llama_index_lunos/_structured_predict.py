"""The methods of LlamaIndex's LLM class that return objects instead of text."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, TypeVar

from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.types import Model, PydanticProgramMode
from llama_index_instrumentation import get_dispatcher

from llama_index_lunos._structured_output import (
    Attempt,
    PartialObjects,
    StructuredOutput,
    attempt,
    next_way,
    read_object,
)
from llama_index_lunos._tool_calling import ToolCalling
from lunos_core.errors import LunosAPIError

R = TypeVar("R")
_Ask = Callable[[StructuredOutput], Attempt]

_dispatcher = get_dispatcher(__name__)

_BY_PROGRAM_MODE: dict[PydanticProgramMode, StructuredOutput] = {
    PydanticProgramMode.FUNCTION: "function_calling",
    PydanticProgramMode.OPENAI: "function_calling",
    PydanticProgramMode.LLM: "prompt",
}


class StructuredPrediction(ToolCalling):
    """Objects from any model: by JSON schema, else by a forced tool, else by the prompt.

    LlamaIndex's own programs aren't used: they drop the system prompt when awaited and don't force
    the tool in streams.
    """

    structured_output: StructuredOutput | None = Field(
        default=None,
        description=(
            '"json_schema", "function_calling" or "prompt". If not set: by JSON schema, and by the '
            "next way if the model refuses."
        ),
    )

    # by model: the way that worked after refusals
    _learned: dict[str, StructuredOutput] = PrivateAttr(default_factory=dict)

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Answer a prompt with an object of a class.

        Args:
            output_cls: the pydantic class.
            prompt: the prompt's template.
            llm_kwargs: parameters of `chat`.
            **prompt_args: values of the template's variables.

        Raises:
            LunosStructuredOutputError: the model returned no such object; the message says why.
        """
        _report_start(output_cls, prompt, prompt_args)
        ask = self._asking(output_cls, prompt, llm_kwargs, prompt_args)
        response = self._asked(self.chat, ask)
        return _report_end(read_object(output_cls, response))

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """`structured_predict`, awaited."""
        _report_start(output_cls, prompt, prompt_args)
        ask = self._asking(output_cls, prompt, llm_kwargs, prompt_args)
        response = await self._aasked(self.achat, ask)
        return _report_end(read_object(output_cls, response))

    def _structured_stream_call(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        """Stream the object as it grows; the last one is whole, or an error says why it isn't."""
        ask = self._asking(output_cls, prompt, llm_kwargs, prompt_args)
        responses = self._asked(self.stream_chat, ask)
        growing = PartialObjects(output_cls)

        def objects() -> Generator[Any, None, None]:
            for response in responses:
                value = growing.add(response)
                if value is not None:
                    yield value
            whole = growing.end()
            if whole is not None:
                yield whole

        return objects()

    async def _structured_astream_call(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        ask = self._asking(output_cls, prompt, llm_kwargs, prompt_args)
        responses = await self._aasked(self.astream_chat, ask)
        growing = PartialObjects(output_cls)

        async def objects() -> AsyncGenerator[Any, None]:
            async for response in responses:
                value = growing.add(response)
                if value is not None:
                    yield value
            whole = growing.end()
            if whole is not None:
                yield whole

        return objects()

    def _knows_json_schema(self) -> bool:
        """Return whether the model takes a JSON schema, as far as is known."""
        return self.metadata.is_chat_model

    def _asking(
        self,
        output_cls: type[BaseModel],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> _Ask:
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        return lambda way: attempt(way, output_cls, messages, llm_kwargs, self.strict)

    def _asked(self, chat: Callable[..., R], ask: _Ask) -> R:
        """Return what `chat` returns, in the first way that the model doesn't refuse."""
        asked = ask(self._way())
        while True:
            try:
                return chat(asked.messages, **asked.params)
            except LunosAPIError as error:
                asked = ask(self._next_way(error, asked.way))

    async def _aasked(self, chat: Callable[..., Awaitable[R]], ask: _Ask) -> R:
        asked = ask(self._way())
        while True:
            try:
                return await chat(asked.messages, **asked.params)
            except LunosAPIError as error:
                asked = ask(self._next_way(error, asked.way))

    def _next_way(self, error: LunosAPIError, way: StructuredOutput) -> StructuredOutput:
        """Return the way to try next; raise the error if there is none, or if the user set one."""
        metadata = self.metadata
        following = next_way(error, way, tools=metadata.is_function_calling_model)
        if following is None or self.structured_output is not None:
            raise error
        if "invalid schema" not in error.message.lower():  # that is said of this class alone
            self._learned[metadata.model_name] = following
        return following

    def _way(self) -> StructuredOutput:
        metadata = self.metadata
        known = (
            self.structured_output
            or self._learned.get(metadata.model_name)
            or _BY_PROGRAM_MODE.get(self.pydantic_program_mode)
        )
        if known is not None:
            return known
        if self._knows_json_schema():
            return "json_schema"
        return "function_calling" if metadata.is_function_calling_model else "prompt"


def _report_start(output_cls: Any, prompt: Any, prompt_args: dict[str, Any]) -> None:
    _dispatcher.event(
        LLMStructuredPredictStartEvent(
            output_cls=output_cls, template=prompt, template_args=prompt_args
        )
    )


def _report_end(value: Model) -> Model:
    _dispatcher.event(LLMStructuredPredictEndEvent(output=value))
    return value
