"""The part of LlamaIndex' contract that is about objects instead of text."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.types import Model, PydanticProgramMode
from llama_index_instrumentation import get_dispatcher

from llama_index_lunos._structured_output import (
    Attempt,
    PartialObjects,
    StructuredOutput,
    attempt,
    read_object,
    way_after,
)
from llama_index_lunos._tool_calling import ToolCalling
from lunos_core.errors import LunosBadRequestError

if TYPE_CHECKING:
    from llama_index.core.prompts import BasePromptTemplate

_dispatcher = get_dispatcher(__name__)

_BY_PROGRAM_MODE: dict[PydanticProgramMode, StructuredOutput] = {
    PydanticProgramMode.FUNCTION: "function_calling",
    PydanticProgramMode.OPENAI: "function_calling",
    PydanticProgramMode.LLM: "prompt",
}


class StructuredPrediction(ToolCalling):
    """Objects from any model: by its schema where it can, by a forced tool or the prompt else.

    LlamaIndex' own programs are not used: they drop the system prompt when awaited and do not force
    the tool in streams.
    """

    structured_output: StructuredOutput | None = Field(
        default=None,
        description=(
            "How objects are asked for. Left open: by JSON schema, and by the next way where the "
            "model refuses that."
        ),
    )

    # by model: what refusals have taught
    _learned: dict[str, StructuredOutput] = PrivateAttr(default_factory=dict)

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """An object of a class.

        Args:
            output_cls: the pydantic class.
            prompt: the prompt's template.
            llm_kwargs: parameters of `chat`.
            **prompt_args: what the template's variables stand for.

        Raises:
            LunosStructuredOutputError: the model gave none; the text says why.
        """
        _tell_start(output_cls, prompt, prompt_args)
        ask = self._asking(output_cls, prompt, llm_kwargs, prompt_args)
        asked = ask(self._way())
        while True:
            try:
                response = self.chat(asked.messages, **asked.params)
                break
            except LunosBadRequestError as error:
                asked = ask(self._way_after(error, asked.way))
        return _tell_end(read_object(output_cls, response))

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """`structured_predict`, awaited."""
        _tell_start(output_cls, prompt, prompt_args)
        ask = self._asking(output_cls, prompt, llm_kwargs, prompt_args)
        asked = ask(self._way())
        while True:
            try:
                response = await self.achat(asked.messages, **asked.params)
                break
            except LunosBadRequestError as error:
                asked = ask(self._way_after(error, asked.way))
        return _tell_end(read_object(output_cls, response))

    def _structured_stream_call(
        self,
        output_cls: type[Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        """The object as it grows; the last one is whole, or an error says why it is not."""
        ask = self._asking(output_cls, prompt, llm_kwargs, prompt_args)
        asked = ask(self._way())
        while True:
            try:
                responses = self.stream_chat(asked.messages, **asked.params)
                break
            except LunosBadRequestError as error:
                asked = ask(self._way_after(error, asked.way))
        growing = PartialObjects(output_cls)

        def objects() -> Generator[Any, None, None]:
            for response in responses:
                found = growing.add(response)
                if found is not None:
                    yield found
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
        """`_structured_stream_call`, awaited."""
        ask = self._asking(output_cls, prompt, llm_kwargs, prompt_args)
        asked = ask(self._way())
        while True:
            try:
                responses = await self.astream_chat(asked.messages, **asked.params)
                break
            except LunosBadRequestError as error:
                asked = ask(self._way_after(error, asked.way))
        growing = PartialObjects(output_cls)

        async def objects() -> AsyncGenerator[Any, None]:
            async for response in responses:
                found = growing.add(response)
                if found is not None:
                    yield found
            whole = growing.end()
            if whole is not None:
                yield whole

        return objects()

    def _knows_json_schema(self) -> bool:
        """Whether the model keeps to a JSON schema, as far as is known."""
        return self.metadata.is_chat_model

    def _asking(
        self,
        output_cls: type[BaseModel],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> Callable[[StructuredOutput], Attempt]:
        """What makes the question, for a way of asking."""
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        return lambda way: attempt(way, output_cls, messages, llm_kwargs)

    def _way_after(self, error: LunosBadRequestError, way: StructuredOutput) -> StructuredOutput:
        """The next way to ask; raises the error where there is none, or where one way was set."""
        metadata = self.metadata
        following = way_after(error, way, tools=metadata.is_function_calling_model)
        if following is None or self.structured_output is not None:
            raise error
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


def _tell_start(output_cls: Any, prompt: Any, prompt_args: dict[str, Any]) -> None:
    _dispatcher.event(
        LLMStructuredPredictStartEvent(
            output_cls=output_cls, template=prompt, template_args=prompt_args
        )
    )


def _tell_end(found: Model) -> Model:
    _dispatcher.event(LLMStructuredPredictEndEvent(output=found))
    return found
