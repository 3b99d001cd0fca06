"""Ollama's requests and answers as types, and how they map to those of llama.cpp's server."""

from __future__ import annotations

import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

CHAT = "smollm2:135m"
EMBED = ("all-minilm-l6-v2", "all-minilm")
DEFAULT_TOKENS = 512  # of an answer for which nobody names a limit: a model this small often finds no end by itself
LIBRARY = "registry.ollama.ai/library/"

Document = dict[str, Any]
Kind = TypeVar("Kind", bound=BaseModel)


class Refused(Exception):
    """The request cannot be done; `status` and the text are Ollama's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Options(BaseModel):
    """Those of Ollama's options that change the answer; the others tune its runner and mean nothing here."""

    model_config = ConfigDict(extra="ignore")

    num_predict: int = DEFAULT_TOKENS  # below zero: until the context is full, which is Ollama's own default
    seed: int | None = None
    stop: list[str] | str | None = None
    temperature: float = Field(default=0.8, ge=0)
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    def sampling(self) -> Document:
        fields = self.model_dump(exclude={"num_predict", "seed", "stop"})
        if self.seed is not None:
            fields["seed"] = self.seed
        if self.stop:
            fields["stop"] = self.stop
        return fields | {"max_tokens": max(self.num_predict, -1)}


class Message(BaseModel):
    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: list[str] | None = None


class Ask(BaseModel):
    """What chat and generate share."""

    model: str = ""
    stream: bool = True
    format: Document | Literal["", "json"] | None = None
    options: Options = Options()
    keep_alive: float | str | None = None
    think: bool | str | None = None
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)

    def needs(self) -> str | None:
        """What the request needs that the local model cannot do."""
        return "thinking" if self.think else None

    def is_load(self) -> bool:
        """Nothing is asked but that the model be loaded, or unloaded."""
        raise NotImplementedError

    def upstream(self) -> tuple[str, Document]:
        """The path and the body for llama.cpp's server."""
        raise NotImplementedError

    def said(self, text: str) -> Document:
        """Where this endpoint's answers carry their text."""
        raise NotImplementedError

    def _shared(self) -> Document:
        body = self.options.sampling() | {"stream": True, "stream_options": {"include_usage": True}}
        if self.format == "json":
            body["response_format"] = {"type": "json_object"}
        elif self.format:
            body["response_format"] = {"type": "json_schema", "json_schema": {"schema": self.format}}
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return body


class Chat(Ask):
    messages: list[Message] = []
    tools: list[Document] | None = None

    def needs(self) -> str | None:
        if self.tools:
            return "tools"
        return "images" if any(message.images for message in self.messages) else super().needs()

    def is_load(self) -> bool:
        return not self.messages

    def upstream(self) -> tuple[str, Document]:
        messages = [message.model_dump(include={"role", "content"}) for message in self.messages]
        return "/v1/chat/completions", self._shared() | {"messages": messages}

    def said(self, text: str) -> Document:
        return {"message": {"role": "assistant", "content": text}}


class Generate(Ask):
    prompt: str = ""
    suffix: str = ""
    system: str = ""
    raw: bool = False
    images: list[str] | None = None

    def needs(self) -> str | None:
        if self.suffix:
            return "insert"
        return "images" if self.images else super().needs()

    def is_load(self) -> bool:
        return not self.prompt

    def upstream(self) -> tuple[str, Document]:
        if self.raw:
            return "/v1/completions", self._shared() | {"prompt": self.prompt}
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": self.prompt})
        return "/v1/chat/completions", self._shared() | {"messages": messages}

    def said(self, text: str) -> Document:
        return {"response": text}


class Embed(BaseModel):
    model: str = ""
    input: list[str] | str = []
    truncate: bool = True
    dimensions: int | None = Field(default=None, ge=1, le=384)


class Embeddings(BaseModel):
    """The older endpoint: one text, one vector."""

    model: str = ""
    prompt: str = ""


class Show(BaseModel):
    model: str = ""
    name: str = ""  # its older spelling


class Pull(BaseModel):
    model: str = ""
    name: str = ""  # its older spelling
    stream: bool = True


def parse(kind: type[Kind], body: bytes) -> Kind:
    """Raises:
    Refused: 400, with the place of the first mistake.
    """
    if not body.strip():
        raise Refused(400, "missing request body")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refused(400, f"{place}: {first['msg']}" if place else first["msg"]) from error


def is_chat_model(name: str) -> bool:
    return name.removeprefix(LIBRARY) == CHAT


def is_embedding_model(name: str) -> bool:
    return name.removeprefix(LIBRARY).removesuffix(":latest") in EMBED


def check_can_answer(ask: Ask) -> None:
    """Raises:
    Refused: the model is not here, or cannot do what the request needs.
    """
    _check_is_here(ask.model)
    verb = "chat" if isinstance(ask, Chat) else "generate"
    if not is_chat_model(ask.model):
        raise Refused(400, f'"{ask.model}" does not support {verb}')
    if need := ask.needs():
        raise Refused(400, f"{LIBRARY}{CHAT} does not support {need}")


def check_can_embed(model: str) -> None:
    """Raises:
    Refused: the model is not here, or makes no embeddings.
    """
    _check_is_here(model)
    if not is_embedding_model(model):
        raise Refused(400, "this model does not support embeddings")


def check_can_pull(model: str) -> None:
    """Raises:
    Refused: the model is not here, and nothing can be fetched.
    """
    try:
        _check_is_here(model)
    except Refused as refused:
        have = f"this server has {CHAT} and {EMBED[0]}, and fetches no others"
        raise Refused(refused.status, f"{refused}; {have}") from None


def _check_is_here(model: str) -> None:
    if not model:
        raise Refused(400, "model is required")
    if not is_chat_model(model) and not is_embedding_model(model):
        raise Refused(404, f"model '{model}' not found")


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")


def piece(ask: Ask, text: str, logprobs: list[Document] | None) -> Document:
    """A line that is not the last."""
    line = {"model": ask.model, "created_at": now(), **ask.said(text), "done": False}
    return line | {"logprobs": logprobs} if logprobs else line


def loaded(ask: Ask) -> Document:
    unload = ask.keep_alive in (0, "0", "0s")
    reason = "unload" if unload else "load"
    return {"model": ask.model, "created_at": now(), **ask.said(""), "done": True, "done_reason": reason}


def ended(ask: Ask, text: str, reason: str, usage: Document, timings: Document, total_ns: int) -> Document:
    """The last line; counts and times (ns) are llama.cpp's own."""
    return {
        "model": ask.model,
        "created_at": now(),
        **ask.said(text),
        "done": True,
        "done_reason": reason,
        "total_duration": total_ns,
        "load_duration": 0,
        "prompt_eval_count": usage["prompt_tokens"],
        "prompt_eval_duration": round(timings["prompt_ms"] * 1e6),
        "eval_count": usage["completion_tokens"],
        "eval_duration": round(timings["predicted_ms"] * 1e6),
    }


def pulled(digest: str, size: int) -> list[Document]:
    """The lines of a pull of what is here already."""
    file = {"digest": f"sha256:{digest}", "total": size, "completed": size}
    return [
        {"status": "pulling manifest"},
        {"status": f"pulling {digest[:12]}", **file},
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]


def refused_by_model(status: int, error: Any) -> Refused:
    """llama.cpp's error in Ollama's words."""
    if not isinstance(error, dict):
        return Refused(status, str(error))
    if error.get("type") == "exceed_context_size_error":
        return Refused(400, "the input length exceeds the context length")
    return Refused(status, str(error.get("message", error)))
