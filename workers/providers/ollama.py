"""Ollama's own API: objects instead of JSON strings, options instead of parameters, lines of JSON instead of events."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from mesh.errors import GatewayError, ModelNotFound, ProviderUnavailable, RequestError
from mesh.pull import Progress
from workers.providers.adapter import WHOLE, Call, Endpoint, Fetching, Parameter, Reader, total_usage
from workers.providers.statuses import error_of
from workers.transports import Request
from workers.transports.faults import Refusal
from workers.transports.framing import Framing, JSONLines
from workers.transports.room import RoomNames

DEFAULT_URL = "http://127.0.0.1:11434"
DEFAULT_PORT = 11434
DIRECT: type[Framing] | None = JSONLines
SDK = "workers.providers.sdk.ollama:open_transport"
MODELS = Request("/api/tags")
ROOM: RoomNames | None = None
TAKES_IMAGE_URLS = False

PATHS: Mapping[Endpoint, str] = {
    "chat.completions": "/api/chat",
    "completions": "/api/generate",
    "embeddings": "/api/embed",
}

# OpenAI's name, or a common extension, of each of Ollama's options.
OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repeat_penalty",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    "stop": "stop",
}

# `none` switches thinking off; Ollama knows three levels of it.
THINK: Mapping[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
}

NO_SUCH_MODEL = "pull model manifest: file does not exist"  # comes inside a stream, so it has no status

UNLISTED = Parameter("refused")
_BOTH = {
    "model": Parameter("native"),
    "stream": Parameter("native"),
    "stream_options": Parameter("unneeded", by="Ollama always reports usage"),
    "n": Parameter("translated", by="repeated calls, each with the next seed"),
    "user": Parameter("unneeded"),
    "metadata": Parameter("unneeded"),
    "safety_identifier": Parameter("unneeded"),
    "logit_bias": Parameter("refused", accepts=({},)),
    **{name: Parameter("translated", by=f"options.{option}") for name, option in OPTIONS.items()},
}
PARAMETERS: Mapping[Endpoint, Mapping[str, Parameter]] = {
    "chat.completions": {
        **_BOTH,
        "messages": Parameter("translated", by="images, tool_name and thinking beside the text"),
        "tools": Parameter("native"),
        "tool_choice": Parameter("refused", accepts=("auto", "none")),
        "parallel_tool_calls": Parameter("refused", accepts=(True,)),
        "functions": Parameter("refused", accepts=([],)),
        "function_call": Parameter("refused", accepts=("auto", "none")),
        "response_format": Parameter("translated", by="format"),
        "reasoning_effort": Parameter("translated", by="think"),
        "think": Parameter("native"),
        "logprobs": Parameter("native"),
        "top_logprobs": Parameter("native"),
        "modalities": Parameter("refused", accepts=(["text"],)),
        "audio": Parameter("refused"),
        "prediction": Parameter("refused"),
        "web_search_options": Parameter("refused"),
        "verbosity": Parameter("refused", accepts=("medium",)),
        "store": Parameter("refused", accepts=(False,)),
        "service_tier": Parameter("refused", accepts=("auto", "default")),
        "prompt_cache_key": Parameter("unneeded"),
        "prompt_cache_retention": Parameter("unneeded"),
    },
    "completions": {
        **_BOTH,
        "prompt": Parameter("translated", by="prompt, raw; one call each where there are several"),
        "suffix": Parameter("native"),
        "echo": Parameter("refused", accepts=(False,)),
        "best_of": Parameter("refused", accepts=(1,)),
        "logprobs": Parameter("refused"),
    },
    "embeddings": {
        "model": Parameter("native"),
        "input": Parameter("native"),
        "dimensions": Parameter("native"),
        "encoding_format": Parameter("translated", by="packed by the gateway"),
        "user": Parameter("unneeded"),
    },
}

FINISH_REASONS = {"length": "length"}  # all others (stop, load, unload) are a stop


def url(text: str) -> str:
    """As people write OLLAMA_HOST: `localhost`, `:11434`, `10.0.0.7:8000`, or a whole URL."""
    if "://" in text:
        return text.rstrip("/")
    parts = urllib.parse.urlsplit(f"http://{text}")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "127.0.0.1"
    return f"http://{host}:{parts.port or DEFAULT_PORT}{parts.path.rstrip('/')}"


def headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def requests(call: Call, stream: bool) -> Sequence[Request]:
    path = PATHS[call.endpoint]
    if call.endpoint == "embeddings":
        return [Request(path, _embed(call))]
    bodies = [_chat(call)] if call.endpoint == "chat.completions" else _generate(call)
    repeated = []
    for body in bodies:
        body["model"] = call.model
        body["stream"] = stream
        for turn in range(call.body.get("n") or 1):
            options = _options(call.body, turn)
            repeated.append(Request(path, {**body, "options": options} if options else body))
    return repeated


def _options(body: Mapping[str, Any], turn: int) -> dict[str, Any]:
    options = {option: body[name] for name, option in OPTIONS.items() if body.get(name) is not None}
    if isinstance(options.get("stop"), str):
        options["stop"] = [options["stop"]]
    # The same seed would give the same choice n times.
    if "seed" in options:
        options["seed"] += turn
    return options


def _chat(call: Call) -> dict[str, Any]:
    body = call.body
    sent: dict[str, Any] = {"messages": _messages(body["messages"])}
    if body.get("tools") and body.get("tool_choice") != "none":
        sent["tools"] = _tools(body["tools"])
    if body.get("response_format"):
        wanted = _format(body["response_format"])
        if wanted is not None:
            sent["format"] = wanted
    if body.get("think") is not None:
        sent["think"] = body["think"]
    elif body.get("reasoning_effort") is not None:
        if body["reasoning_effort"] not in THINK:
            raise RequestError(f"reasoning_effort is one of {', '.join(THINK)}", param="reasoning_effort")
        sent["think"] = THINK[body["reasoning_effort"]]
    for name in ("logprobs", "top_logprobs"):
        if body.get(name):
            sent[name] = body[name]
    return sent


def _tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for index, tool in enumerate(tools):
        if tool.get("type") != "function":
            raise _cannot(f"tools[{index}]", f"a tool of type {tool.get('type')}")
    return tools


def _format(response_format: Mapping[str, Any]) -> str | dict[str, Any] | None:
    match response_format.get("type"):
        case "text" | None:
            return None
        case "json_object":
            return "json"
        case "json_schema":
            schema = (response_format.get("json_schema") or {}).get("schema")
            if not isinstance(schema, dict):
                raise RequestError("json_schema has no schema", param="response_format.json_schema.schema")
            return schema
        case other:
            raise _cannot("response_format", f"a response_format of type {other}")


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}  # of the tools that were called, by the id of the call
    sent = []
    for index, message in enumerate(messages):
        role = message["role"]
        content, images = _content(message.get("content"), f"messages[{index}].content")
        one: dict[str, Any] = {"role": "system" if role == "developer" else role, "content": content}
        if images:
            one["images"] = images
        if role == "assistant":
            if message.get("reasoning_content"):
                one["thinking"] = message["reasoning_content"]
            calls = message.get("tool_calls")
            if calls:
                names.update({each["id"]: each["function"]["name"] for each in calls if each.get("function")})
                one["tool_calls"] = [
                    _tool_call(each, f"messages[{index}].tool_calls[{number}]") for number, each in enumerate(calls)
                ]
            if message.get("refusal") and not content:
                one["content"] = message["refusal"]
        elif role == "tool":
            called = message.get("tool_call_id")
            if called not in names:
                raise RequestError(
                    f"no message before this one calls a tool with the id {called!r}",
                    param=f"messages[{index}].tool_call_id",
                )
            one["tool_name"] = names[called]
        elif role == "function":
            one["role"] = "tool"
            one["tool_name"] = message.get("name", "")
        sent.append(one)
    return sent


def _content(content: Any, place: str) -> tuple[str, list[str]]:
    """A message's text, parts joined by line ends, and its images in base64."""
    if content is None or isinstance(content, str):
        return content or "", []
    texts, images = [], []
    for index, part in enumerate(content):
        match part.get("type"):
            case "text":
                texts.append(part["text"])
            case "refusal":
                texts.append(part["refusal"])
            case "image_url":
                images.append(_image(part["image_url"]["url"], f"{place}[{index}]"))
            case other:
                raise _cannot(f"{place}[{index}]", f"content of type {other}")
    return "\n".join(texts), images


def _image(text: str, place: str) -> str:
    """The base64 of a data URL. It is decoded once, because Ollama says no more than `illegal base64` and not which."""
    head, comma, data = text.partition(",")
    if not (comma and head.startswith("data:")):
        raise RequestError("Ollama takes images as data URLs only", param=place, code="unsupported_content")
    if not head.endswith(";base64"):
        raise RequestError("the data URL of an image must be base64", param=place)
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise RequestError(f"the data URL of an image is not base64: {error}", param=place) from error
    return data


def _tool_call(call: Mapping[str, Any], place: str) -> dict[str, Any]:
    if call.get("type", "function") != "function":
        raise _cannot(place, f"a tool call of type {call['type']}")
    function = call["function"]
    text = function.get("arguments") or "{}"
    try:
        arguments = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"arguments are not JSON: {error}", param=f"{place}.function.arguments") from error
    if not isinstance(arguments, dict):
        raise RequestError("arguments must be a JSON object", param=f"{place}.function.arguments")
    return {"function": {"name": function["name"], "arguments": arguments}}


def _generate(call: Call) -> list[dict[str, Any]]:
    prompt = call.body.get("prompt")
    prompts = [prompt] if isinstance(prompt, str) else prompt or [""]
    if not all(isinstance(each, str) for each in prompts):
        raise _cannot("prompt", "a prompt of token numbers")
    suffix = call.body.get("suffix")
    # The model's own template is what fills a gap; without one the prompt is taken as it stands.
    return [{"prompt": each, "suffix": suffix} if suffix else {"prompt": each, "raw": True} for each in prompts]


def _embed(call: Call) -> dict[str, Any]:
    texts = call.body["input"]
    if not isinstance(texts, str) and not all(isinstance(each, str) for each in texts):
        raise _cannot("input", "an input of token numbers")
    # Ollama cuts a text that is too long in silence unless it is told not to; OpenAI never does.
    sent = {"model": call.model, "input": texts, "truncate": False}
    if call.body.get("dimensions") is not None:
        sent["dimensions"] = call.body["dimensions"]
    return sent


def _cannot(param: str, what: str) -> RequestError:
    return RequestError(f"Ollama does not take {what}", param=param, code="unsupported_content")


def answer(call: Call, bodies: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    for body in bodies:
        _no_error(body)
    if call.endpoint == "embeddings":
        return _embeddings(call, bodies[0])
    chat = call.endpoint == "chat.completions"
    choices = []
    for index, body in enumerate(bodies):
        if not body["done"]:
            raise ValueError("an answer that is not done")
        choices.append(_chat_choice(call, index, body) if chat else _text_choice(index, body))
    usage = total_usage(_usage(body) for body in bodies)
    whole: dict[str, Any] = {
        "id": call.answer_id,
        "object": WHOLE[call.endpoint],
        "created": call.created,
        "model": call.public_model,
        "choices": choices,
    }
    if usage is not None:
        whole["usage"] = usage
    return whole, usage


def _chat_choice(call: Call, index: int, body: Mapping[str, Any]) -> dict[str, Any]:
    said = body["message"]
    calls = said.get("tool_calls")
    message: dict[str, Any] = {"role": "assistant", "content": said.get("content") or (None if calls else "")}
    message["refusal"] = None
    if said.get("thinking"):
        message["reasoning_content"] = said["thinking"]
    if calls:
        message["tool_calls"] = [_called(call, index, number, each) for number, each in enumerate(calls)]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(body),
        "finish_reason": "tool_calls" if calls else _finish_reason(body),
    }


def _text_choice(index: int, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": index, "text": body["response"], "logprobs": None, "finish_reason": _finish_reason(body)}


def _finish_reason(body: Mapping[str, Any]) -> str:
    return FINISH_REASONS.get(body.get("done_reason") or "stop", "stop")


def _called(call: Call, index: int, number: int, tool_call: Mapping[str, Any]) -> dict[str, Any]:
    """Not every Ollama gives its calls ids, so they get ours: the same in a stream, a whole answer and a replay of it,
    and short enough for every provider that the conversation may go on with (OpenAI: 40 characters)."""
    name = hashlib.blake2s(f"{call.answer_id}/{index}/{number}".encode(), digest_size=12).hexdigest()
    function = tool_call["function"]
    return {
        "id": f"call_{name}",
        "type": "function",
        "function": {"name": function["name"], "arguments": orjson.dumps(function.get("arguments") or {}).decode()},
    }


def _logprobs(body: Mapping[str, Any]) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    return {
        "content": [
            {**_token(each), "top_logprobs": [_token(other) for other in each.get("top_logprobs") or ()]}
            for each in body["logprobs"]
        ],
        "refusal": None,
    }


def _token(each: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": each["token"], "logprob": each["logprob"], "bytes": list(each["token"].encode())}


def _usage(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Go leaves a zero out, so one number missing is a zero; both missing is a server that does not count."""
    prompt, completion = body.get("prompt_eval_count"), body.get("eval_count")
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _embeddings(call: Call, body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    texts = call.body["input"]
    vectors = body["embeddings"]
    if len(vectors) != (1 if isinstance(texts, str) else len(texts)):
        raise ValueError("not as many embeddings as texts")
    packed = call.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(vectors)
    ]
    whole: dict[str, Any] = {"object": "list", "model": call.public_model, "data": data}
    tokens = body.get("prompt_eval_count")
    usage = None if tokens is None else {"prompt_tokens": tokens, "total_tokens": tokens}
    if usage is not None:
        whole["usage"] = usage
    return whole, usage


def _packed(vector: Sequence[float]) -> str:
    """OpenAI's base64: 32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _no_error(body: Mapping[str, Any]) -> None:
    if body.get("error"):
        raise Refusal(0, body["error"])


class _Lines:
    """The reader."""

    __slots__ = ("_begun", "_call", "_chat", "_head", "_index", "_tools", "finished", "usage")

    def __init__(self, call: Call, index: int, head: Mapping[str, Any]) -> None:
        self._call = call
        self._index = index
        self._head = head
        self._chat = call.endpoint == "chat.completions"
        self._begun = False
        self._tools = 0
        self.finished = False
        self.usage: dict[str, Any] | None = None

    def read(self, event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        if "error" in event:
            _no_error(event)
        delta = self._delta(event["message"]) if self._chat else None
        text = None if self._chat else event["response"]
        logprobs = _logprobs(event) if "logprobs" in event else None
        if not event["done"]:
            return (self._chunk(delta, text, logprobs, None),) if delta or text or logprobs else ()
        self.finished = True
        self.usage = _usage(event)
        reason = "tool_calls" if self._tools else _finish_reason(event)
        # The last line may hold text too; the finish has a chunk of its own, as OpenAI's has.
        if self._chat and not (self._begun or delta):
            delta = {"content": ""}
        said = self._chunk(delta, text, logprobs, None) if delta or text or logprobs else None
        end = self._chunk({}, "", None, reason)
        return (end,) if said is None else (said, end)

    def _delta(self, message: Mapping[str, Any]) -> dict[str, Any]:
        delta: dict[str, Any] = {}
        if message.get("content"):
            delta["content"] = message["content"]
        if message.get("thinking"):
            delta["reasoning_content"] = message["thinking"]
        calls = message.get("tool_calls")
        if calls:
            delta["tool_calls"] = [
                {"index": number, **_called(self._call, self._index, number, each)}
                for number, each in enumerate(calls, self._tools)
            ]
            self._tools += len(calls)
        return delta

    def _chunk(
        self, delta: dict[str, Any] | None, text: str | None, logprobs: dict[str, Any] | None, reason: str | None
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": self._index}
        if self._chat:
            delta = delta or {}
            choice["delta"] = delta if self._begun else {"role": "assistant", **delta}
            self._begun = True
        else:
            choice["text"] = text or ""
        choice["logprobs"] = logprobs
        choice["finish_reason"] = reason
        return {**self._head, "choices": [choice]}


def reader(call: Call, index: int, head: Mapping[str, Any]) -> Reader:
    return _Lines(call, index, head)


def refused(refusal: Refusal, name: str, model: str) -> GatewayError:
    message = refusal.error if isinstance(refusal.error, str) else ""
    if refusal.status == 404:
        if not message:
            return ProviderUnavailable(f"{name} has nothing at this address (status 404); correct its base_url")
        return ModelNotFound(message, param="model")
    if message.startswith(NO_SUCH_MODEL):
        return ModelNotFound(message, param="model")
    return error_of(refusal.status or 500, message, name=name, retry_after_s=refusal.retry_after_s)


def models(body: dict[str, Any]) -> list[str]:
    _no_error(body)
    return [model.get("model") or model["name"] for model in body["models"]]


def pull(model: str) -> Request:
    return Request("/api/pull", {"model": model, "stream": True})


class _Layers:
    """Sums up the files of a model: each is told of by its digest, the next one when the last is there."""

    __slots__ = ("_completed", "_totals", "finished")

    def __init__(self) -> None:
        self._completed: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self.finished = False

    def read(self, event: dict[str, Any]) -> Progress:
        _no_error(event)
        status = str(event["status"])
        self.finished = status == "success"
        if digest := event.get("digest"):
            self._completed[digest] = int(event.get("completed") or 0)
            self._totals[digest] = int(event.get("total") or 0)
        return Progress(status, sum(self._completed.values()), sum(self._totals.values()) if self._totals else None)


def fetching() -> Fetching:
    return _Layers()
