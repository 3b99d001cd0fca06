"""OpenAI's own wire, which OpenAI and every compatible server speak, each with its small liberties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from mesh.errors import (
    ContentBlocked,
    ContextTooLong,
    GatewayError,
    ModelNotFound,
    ProviderLimited,
    ProviderUnavailable,
)
from workers.providers.adapter import WHOLE, Call, Endpoint, Parameter, Reader
from workers.providers.shapes import (
    CHAT,
    CHUNK,
    COMPLETION,
    DELTA,
    EMBEDDINGS,
    PIECE,
    TEXT,
    USAGE,
    Shape,
    prune,
)
from workers.providers.statuses import error_of
from workers.transports import Request
from workers.transports.faults import Refusal
from workers.transports.framing import Framing, ServerSentEvents
from workers.transports.room import RoomNames

DEFAULT_URL = "https://api.openai.com/v1"
DIRECT: type[Framing] | None = ServerSentEvents
SDK = "workers.providers.sdk.openai:open_transport"
MODELS = Request("/models")
ROOM: RoomNames | None = RoomNames(
    requests="x-ratelimit-remaining-requests",
    tokens="x-ratelimit-remaining-tokens",
    requests_reset="x-ratelimit-reset-requests",
    tokens_reset="x-ratelimit-reset-tokens",
)
TAKES_IMAGE_URLS = True

PATHS: Mapping[Endpoint, str] = {
    "chat.completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}

SHAPES: Mapping[Endpoint, Shape] = {"chat.completions": CHAT, "completions": COMPLETION, "embeddings": EMBEDDINGS}

# It is OpenAI's request already: what we do not know may be a server's own extension, and it goes through as it is.
UNLISTED = Parameter("native")
_STREAM_OPTIONS = Parameter("translated", by="include_usage is always asked for")
PARAMETERS: Mapping[Endpoint, Mapping[str, Parameter]] = {
    "chat.completions": {"stream_options": _STREAM_OPTIONS},
    "completions": {"stream_options": _STREAM_OPTIONS},
    "embeddings": {},
}

# Of compatible servers; OpenAI's own are the values.
FINISH_REASONS = {"model_length": "length", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop"}

# An error inside a stream has no status of its own; its type or code has.
STATUSES = {
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "tokens": 429,
    "requests": 429,
}
CONTEXT_TOO_LONG = {"context_length_exceeded", "exceed_context_size_error"}
CONTENT_BLOCKED = {"content_filter", "content_policy", "content_policy_violation", "moderation_blocked"}


def url(text: str) -> str:
    return text.rstrip("/")


def headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def requests(call: Call, stream: bool) -> Sequence[Request]:
    body = {**call.body, "model": call.model}
    if stream:
        body["stream"] = True
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    else:
        body.pop("stream", None)
        body.pop("stream_options", None)
    return [Request(PATHS[call.endpoint], body)]


def answer(call: Call, bodies: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    body = bodies[0]
    _no_error(body)
    body["object"] = WHOLE[call.endpoint]
    body["model"] = call.public_model
    usage = _usage(body.pop("usage", None), call.endpoint)
    if call.endpoint == "embeddings":
        for index, item in enumerate(body["data"]):
            item.setdefault("index", index)
            item.setdefault("object", "embedding")
    else:
        body["id"] = call.answer_id
        body["created"] = call.created
        if not body["choices"]:
            raise ValueError("an answer without choices")
        for index, choice in enumerate(body["choices"]):
            choice.setdefault("index", index)
            _whole(choice, call.endpoint)
    prune(body, SHAPES[call.endpoint])
    if usage is not None:
        body["usage"] = usage
    return body, usage


def _whole(choice: dict[str, Any], endpoint: Endpoint) -> None:
    """Fill in what compatible servers leave out of a choice."""
    calls = None
    if endpoint == "chat.completions":
        message = choice["message"]
        message["role"] = "assistant"
        message.setdefault("content", None)
        _reasoning(message)
        calls = message.get("tool_calls")
        if calls:
            for call in calls:
                _tool_call(call)
                call.setdefault("type", "function")
        elif calls is not None:
            del message["tool_calls"]
    else:
        choice["text"] = choice.get("text") or ""
    reason = choice.get("finish_reason")
    choice["finish_reason"] = FINISH_REASONS.get(reason, reason) if reason else "tool_calls" if calls else "stop"


def _reasoning(message: dict[str, Any]) -> None:
    """Some servers call it `reasoning`."""
    if "reasoning" in message and not message.get("reasoning_content"):
        text = message.pop("reasoning")
        if text:
            message["reasoning_content"] = text


def _tool_call(call: dict[str, Any]) -> None:
    """Arguments are a JSON string; some servers send an object."""
    function = call.get("function")
    if function is not None:
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            function["arguments"] = orjson.dumps(arguments).decode()


def _usage(reported: Any, endpoint: Endpoint) -> dict[str, Any] | None:
    """A usage with the numbers that OpenAI always gives, and of the others those that it knows."""
    if not reported:
        return None
    prompt = reported.get("prompt_tokens") or 0
    completion = reported.get("completion_tokens") or 0
    total = reported.get("total_tokens") or prompt + completion
    if endpoint == "embeddings":
        return {"prompt_tokens": prompt, "total_tokens": total}
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    # DeepSeek has no details, and this instead.
    cached = reported.get("prompt_cache_hit_tokens")
    details = reported.get("prompt_tokens_details") or ({"cached_tokens": cached} if cached else None)
    for name, parts in (
        ("prompt_tokens_details", details),
        ("completion_tokens_details", reported.get("completion_tokens_details")),
    ):
        told = {part: count for part, count in (parts or {}).items() if count is not None}
        if told:
            usage[name] = told
    prune(usage, USAGE)
    return usage


def _no_error(body: dict[str, Any]) -> None:
    """Some servers say 200 and then that it was none."""
    if body.get("error"):
        raise Refusal(0, body["error"])
    if body.get("object") == "error":
        raise Refusal(0, body)


class _Chunks:
    """The reader. What arrives is a chunk already, so it is corrected in place: this runs once a token."""

    __slots__ = ("_begun", "_chat", "_endpoint", "_finished", "_head", "_shape", "_tools", "usage")

    def __init__(self, call: Call, head: Mapping[str, Any]) -> None:
        self._head = head
        self._endpoint = call.endpoint
        self._chat = call.endpoint == "chat.completions"
        self._shape = CHUNK if self._chat else COMPLETION
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._tools: dict[int, int] = {}
        self.usage: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        return bool(self._begun) and self._begun == self._finished

    def read(self, event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        # Some report it in every chunk, some beside the last choice, OpenAI after it: it leaves in a chunk of its own.
        usage = event.pop("usage", None)
        if usage:
            self.usage = _usage(usage, self._endpoint)
        choices = event.get("choices")
        if not choices or "error" in event:
            _no_error(event)
            if not choices:
                return ()
        for choice in choices:
            index = choice.setdefault("index", 0)
            reason = choice.get("finish_reason")
            if reason:
                choice["finish_reason"] = FINISH_REASONS.get(reason, reason)
                self._finished.add(index)
            else:
                choice["finish_reason"] = None
            if self._chat:
                delta = choice.get("delta")
                if delta is None:
                    delta = choice["delta"] = {}
                if index not in self._begun:
                    self._begun.add(index)
                    delta["role"] = "assistant"
                if "reasoning" in delta:
                    _reasoning(delta)
                if delta.get("tool_calls"):
                    self._number(index, delta["tool_calls"])
                    prune(delta, DELTA)
                elif not delta.keys() <= DELTA.names:
                    prune(delta, DELTA)
                if not choice.keys() <= PIECE.names or choice.get("logprobs"):
                    prune(choice, PIECE)
            else:
                self._begun.add(index)
                choice["text"] = choice.get("text") or ""
                prune(choice, TEXT)
        event.update(self._head)
        if not event.keys() <= self._shape.names:
            prune(event, self._shape)
        return (event,)

    def _number(self, choice: int, calls: list[dict[str, Any]]) -> None:
        """Some servers send each tool call whole and without its index: one with an id begins a new one."""
        for call in calls:
            _tool_call(call)
            if call.get("index") is None:
                count = self._tools.get(choice, 0) + (1 if call.get("id") else 0)
                self._tools[choice] = count
                call["index"] = max(0, count - 1)


def reader(call: Call, index: int, head: Mapping[str, Any]) -> Reader:
    return _Chunks(call, head)


def refused(refusal: Refusal, name: str, model: str) -> GatewayError:
    error = refusal.error if isinstance(refusal.error, dict) else {}
    text = error.get("message") if error else refusal.error
    message = text if isinstance(text, str) else ""
    code = error.get("code")
    kind = error.get("type")
    param = error.get("param") if isinstance(error.get("param"), str) else None
    names = [each for each in (code, kind) if isinstance(each, str)]
    status = refusal.status
    if not status:
        found = code if isinstance(code, int) and 400 <= code < 600 else None
        status = found or next((STATUSES[each] for each in names if each in STATUSES), 500)
    if not CONTEXT_TOO_LONG.isdisjoint(names):
        return ContextTooLong(message or f"the request is too long for {model}", param=param or "messages")
    if not CONTENT_BLOCKED.isdisjoint(names):
        return ContentBlocked(message or f"{name} refuses this content", param=param)
    if "insufficient_quota" in names:
        return ProviderLimited(message, code="insufficient_quota", retry_after_s=refusal.retry_after_s)
    if "model_not_found" in names:
        return ModelNotFound(message or f"{name} has no model {model}", param="model")
    if status == 404 and not message:
        return ProviderUnavailable(f"{name} has nothing at this address (status 404); correct its base_url")
    return error_of(
        status,
        message,
        name=name,
        code=code if isinstance(code, str) else None,
        param=param,
        retry_after_s=refusal.retry_after_s,
    )


def models(body: dict[str, Any]) -> list[str]:
    _no_error(body)
    return [model["id"] for model in body["data"]]
