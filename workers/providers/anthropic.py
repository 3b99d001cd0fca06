"""Anthropic's Messages: one system text, turns that alternate, blocks of content, and a limit in every request."""

from __future__ import annotations

import re
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
    RequestError,
)
from workers.providers import schemas, turns
from workers.providers.adapter import WHOLE, Call, Endpoint, Parameter, Reader, total_usage
from workers.providers.statuses import error_of
from workers.transports import Request
from workers.transports.faults import Refusal
from workers.transports.framing import Framing, MessageEvents
from workers.transports.room import RoomNames

DEFAULT_URL = "https://api.anthropic.com"
DIRECT: type[Framing] | None = MessageEvents
SDK = "workers.providers.sdk.anthropic:open_transport"
MODELS = Request("/v1/models?limit=1000")
ROOM: RoomNames | None = RoomNames(
    requests="anthropic-ratelimit-requests-remaining",
    tokens="anthropic-ratelimit-tokens-remaining",
    requests_reset="anthropic-ratelimit-requests-reset",
    tokens_reset="anthropic-ratelimit-tokens-reset",
)
TAKES_IMAGE_URLS = True
MESSAGES = "/v1/messages"
VERSION = "2023-06-01"  # of the wire; every request names it

UNLISTED = Parameter("refused")
PARAMETERS: Mapping[Endpoint, Mapping[str, Parameter]] = {
    "chat.completions": {
        "model": Parameter("native"),
        "stream": Parameter("native"),
        "stream_options": Parameter("unneeded", by="Anthropic always reports usage"),
        "messages": Parameter("translated", by="system, and turns of blocks that alternate"),
        "max_tokens": Parameter("native", by="config's default_max_tokens where a request has none"),
        "max_completion_tokens": Parameter("translated", by="max_tokens"),
        "stop": Parameter("translated", by="stop_sequences"),
        "temperature": Parameter("native", most=1),
        "top_p": Parameter("native"),
        "top_k": Parameter("native"),
        "n": Parameter("translated", by="repeated calls"),
        "tools": Parameter("translated", by="tools with input_schema"),
        "tool_choice": Parameter("translated", by="tool_choice: auto, none, any, tool"),
        "parallel_tool_calls": Parameter("translated", by="tool_choice.disable_parallel_tool_use"),
        "response_format": Parameter("translated", by="output_config.format, or a forced tool"),
        "reasoning_effort": Parameter("translated", by="thinking and output_config.effort, or a budget"),
        "thinking": Parameter("native"),
        "cache_control": Parameter("native"),
        "prompt_cache_options": Parameter("translated", by="cache_control"),
        "prompt_cache_key": Parameter("unneeded"),
        "prompt_cache_retention": Parameter("unneeded"),
        "service_tier": Parameter("translated", by="service_tier: auto, standard_only", only=("auto", "default")),
        "user": Parameter("translated", by="metadata.user_id"),
        "safety_identifier": Parameter("translated", by="metadata.user_id, before user"),
        "metadata": Parameter("unneeded", by="labels for a store that Anthropic does not have"),
        "seed": Parameter("refused"),
        "min_p": Parameter("refused", accepts=(0,)),
        "repetition_penalty": Parameter("refused", accepts=(1,)),
        "frequency_penalty": Parameter("refused", accepts=(0,)),
        "presence_penalty": Parameter("refused", accepts=(0,)),
        "logit_bias": Parameter("refused", accepts=({},)),
        "logprobs": Parameter("refused", accepts=(False,)),
        "top_logprobs": Parameter("refused", accepts=(0,)),
        "functions": Parameter("refused", accepts=([],)),
        "function_call": Parameter("refused", accepts=("auto", "none")),
        "modalities": Parameter("refused", accepts=(["text"],)),
        "audio": Parameter("refused"),
        "moderation": Parameter("refused"),
        "prediction": Parameter("refused"),
        "web_search_options": Parameter("refused"),
        "verbosity": Parameter("refused", accepts=("medium",)),
        "store": Parameter("refused", accepts=(False,)),
    },
}

NATIVE = ("temperature", "top_p", "thinking", "cache_control")
SERVICE_TIERS = {"default": "standard_only"}  # auto is what happens anyway
TOOL_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}

# Models up to the 4.5 family think within a budget that the request names; later ones set it themselves. With config's
# default_max_tokens on top even the largest stays below 32,000 tokens, the most that some of these models write.
BUDGETED = re.compile(r"claude-(?:\d.*|[a-z]+-4(?:-[0-5])?(?:-20\d{6})?)")
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 24_576}
LEAST_BUDGET = 1024

DECLINED = "The model declined to answer."

# end_turn, stop_sequence and pause_turn are a stop.
FINISH_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

# An error inside a stream has no status of its own: these are those that Anthropic documents for each type.
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
# Plain invalid_request_errors, without a code or a field that tells more: only how their messages begin tells them.
# The words are those that the API sends ("prompt is too long: 208310 tokens > 200000 maximum").
CONTEXT_TOO_LONG = ("prompt is too long", "input length and `max_tokens` exceed context limit")
LLAMA_CONTEXT_TOO_LONG = (
    "exceed_context_size_error"  # llama.cpp's server, which speaks this wire too, has a type for it
)
CONTENT_BLOCKED = ("output blocked by content filtering policy",)


def url(text: str) -> str:
    """Anthropic's SDKs take the host alone; some people write it with the version behind."""
    return text.rstrip("/").removesuffix("/v1")


def headers(key: str) -> dict[str, str]:
    return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}


def requests(call: Call, stream: bool) -> Sequence[Request]:
    body = _chat(call)
    if stream:
        body["stream"] = True
    return [Request(MESSAGES, body)] * (call.body.get("n") or 1)


def _chat(call: Call) -> dict[str, Any]:
    body = call.body
    system, messages = turns.alternating(body["messages"])
    sent: dict[str, Any] = {"model": call.model, "max_tokens": _max_tokens(call), "messages": messages}
    if system:
        sent["system"] = system
    for name in NATIVE:
        if body.get(name) is not None:
            sent[name] = body[name]
    if (body.get("top_k") or 0) > 0:
        sent["top_k"] = body["top_k"]
    if body.get("stop"):
        sent["stop_sequences"] = [body["stop"]] if isinstance(body["stop"], str) else body["stop"]
    if body.get("service_tier") in SERVICE_TIERS:
        sent["service_tier"] = SERVICE_TIERS[body["service_tier"]]
    if (body.get("prompt_cache_options") or {}).get("mode") == "implicit":
        sent.setdefault("cache_control", {"type": "ephemeral"})
    user = body.get("safety_identifier") or body.get("user")
    if user:
        sent["metadata"] = {"user_id": user}
    _add_tools(body, sent)
    _add_thinking(call, sent)
    _add_format(body, sent)
    return sent


def _max_tokens(call: Call) -> int:
    return _own_max_tokens(call.body) or call.default_max_tokens


def _own_max_tokens(body: Mapping[str, Any]) -> int | None:
    return body.get("max_completion_tokens") or body.get("max_tokens")


def _add_tools(body: Mapping[str, Any], sent: dict[str, Any]) -> None:
    tools = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(body.get("tools") or ())]
    choice = _tool_choice(body.get("tool_choice"))
    if isinstance(body.get("tool_choice"), dict) and body["tool_choice"].get("type") == "allowed_tools":
        allowed = {(tool.get("function") or {}).get("name") for tool in body["tool_choice"]["allowed_tools"]["tools"]}
        tools = [tool for tool in tools if tool["name"] in allowed]
    if tools and body.get("parallel_tool_calls") is False and choice != {"type": "none"}:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    answers = _answering_tool(body)
    if answers:
        if not tools or choice == {"type": "none"}:
            choice = {"type": "tool", "name": answers["name"], "disable_parallel_tool_use": True}
        else:
            choice = {**(choice or {}), "type": "any"}
        tools.append(answers)
    if tools:
        sent["tools"] = tools
        if choice is not None:
            sent["tool_choice"] = choice


def _tool(tool: Mapping[str, Any], place: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise turns.cannot(place, f"a tool of type {tool.get('type')}")
    function = tool["function"]
    sent: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        sent["description"] = function["description"]
    sent["input_schema"] = {"type": "object", **(function.get("parameters") or {"properties": {}})}
    if function.get("strict"):
        sent["strict"] = True
    if tool.get("cache_control"):
        sent["cache_control"] = tool["cache_control"]
    return sent


def _tool_choice(choice: Any) -> dict[str, Any] | None:
    match choice:
        case None:
            return None
        case str() if choice in TOOL_CHOICES:
            return {"type": TOOL_CHOICES[choice]}
        case {"type": "function", "function": {"name": name}}:
            return {"type": "tool", "name": name}
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode}} if mode in TOOL_CHOICES:
            return {"type": TOOL_CHOICES[mode]}
    raise turns.cannot("tool_choice", "this choice of a tool")


def _schema(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema that the text must have; an empty one for any JSON object."""
    form = body.get("response_format") or {}
    match form.get("type"):
        case "text" | None:
            return None
        case "json_object":
            return {}
        case "json_schema":
            schema = (form.get("json_schema") or {}).get("schema")
            if not isinstance(schema, dict):
                raise RequestError("json_schema has no schema", param="response_format.json_schema.schema")
            return schema
        case other:
            raise turns.cannot("response_format", f"a response_format of type {other}")


def _add_format(body: Mapping[str, Any], sent: dict[str, Any]) -> None:
    schema = _schema(body)
    if schema is None or not schemas.closed(schema):
        return
    sent.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schemas.strict(schema)}


def _answering_tool(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tool that takes the answer where it must be JSON whose keys no schema names: Anthropic holds a text only to a
    schema that names them all. None too where the model must call a tool of the caller's: then there is no text."""
    schema = _schema(body)
    if schema is None or schemas.closed(schema):
        return None
    choice = _tool_choice(body.get("tool_choice"))
    tools = body.get("tools") or ()
    if tools and choice is not None and choice["type"] in ("any", "tool"):
        return None
    taken = {(tool.get("function") or {}).get("name") for tool in tools}
    name = "answer"
    while name in taken:
        name += "_"
    return {
        "name": name,
        "description": "Gives the answer to the user; its input is the answer itself, a JSON object.",
        "input_schema": {"type": "object", **schema},
    }


def _add_thinking(call: Call, sent: dict[str, Any]) -> None:
    effort = call.body.get("reasoning_effort")
    if effort is not None and "thinking" not in sent:
        if effort == "none":
            sent["thinking"] = {"type": "disabled"}
        elif effort not in EFFORTS:
            raise RequestError(f"reasoning_effort is one of none, {', '.join(EFFORTS)}", param="reasoning_effort")
        elif not BUDGETED.fullmatch(call.model):
            sent["thinking"] = {"type": "adaptive", "display": "summarized"}
            sent["output_config"] = {"effort": EFFORTS[effort]}
        # In the middle of a turn these models want their earlier thoughts back, signed; OpenAI's has no such place.
        elif call.body["messages"][-1]["role"] != "tool":
            sent["thinking"] = {"type": "enabled", "budget_tokens": _budget(call, effort)}
            if _own_max_tokens(call.body) is None:
                sent["max_tokens"] += sent["thinking"]["budget_tokens"]
    if sent.get("thinking", {}).get("type", "disabled") != "disabled" and _answering_tool(call.body):
        raise RequestError(
            "Anthropic cannot think before an answer of free JSON; use a json_schema that names every key",
            param="response_format",
            code="unsupported_content",
        )


def _budget(call: Call, effort: str) -> int:
    most = _own_max_tokens(call.body)
    if most is None:
        return BUDGETS[effort]
    if most <= LEAST_BUDGET:
        raise RequestError(
            f"{call.public_model} thinks with at least {LEAST_BUDGET} tokens, and max_tokens must be above that",
            param="max_completion_tokens" if call.body.get("max_completion_tokens") else "max_tokens",
        )
    return max(LEAST_BUDGET, min(BUDGETS[effort], most * 3 // 4))


def answer(call: Call, bodies: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    answering = (_answering_tool(call.body) or {}).get("name")
    for body in bodies:
        _no_error(body)
    choices = [_choice(index, body, answering) for index, body in enumerate(bodies)]
    usage = total_usage(_usage(body.get("usage")) for body in bodies)
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


def _choice(index: int, body: Mapping[str, Any], answering: str | None) -> dict[str, Any]:
    texts, thoughts, calls = [], [], []
    for block in body["content"]:
        match block["type"]:
            case "text":
                texts.append(block["text"])
            case "thinking":
                thoughts.append(block["thinking"])
            case "tool_use" if block["name"] == answering:
                texts.append(orjson.dumps(block["input"]).decode())
            case "tool_use":
                calls.append(_tool_call(block, orjson.dumps(block.get("input") or {}).decode()))
            # Whatever else there is (redacted_thinking, what Anthropic's own tools did) has no place in an answer.
    reason = body["stop_reason"]
    if reason is None:
        raise ValueError("an answer that is not done")
    refusal = _refusal(body) if reason == "refusal" else None
    text = "".join(texts)
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls or refusal else "")}
    message["refusal"] = refusal
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return {"index": index, "message": message, "logprobs": None, "finish_reason": _finish_reason(reason, bool(calls))}


def _tool_call(block: Mapping[str, Any], arguments: str) -> dict[str, Any]:
    return {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": arguments}}


def _finish_reason(reason: str, calls: bool) -> str:
    found = FINISH_REASONS.get(reason, "stop")
    # The tool that takes the answer is none of the caller's.
    return "stop" if found == "tool_calls" and not calls else found


def _refusal(stopped: Mapping[str, Any]) -> str:
    return (stopped.get("stop_details") or {}).get("explanation") or DECLINED


def _usage(reported: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Anthropic counts what comes from its cache and what goes there beside the input, OpenAI as parts of it."""
    if not reported or reported.get("output_tokens") is None:
        return None
    read = reported.get("cache_read_input_tokens") or 0
    written = reported.get("cache_creation_input_tokens") or 0
    thought = (reported.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    prompt = (reported.get("input_tokens") or 0) + read + written
    completion = reported["output_tokens"]
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if read or written:
        usage["prompt_tokens_details"] = {"cached_tokens": read, "cache_write_tokens": written}
    kept = (reported.get("cache_creation") or {}).get("ephemeral_1h_input_tokens")
    if kept and written:
        usage["prompt_tokens_details"]["cache_write_1h_tokens"] = kept  # a part of those written, at a price of its own
    if thought:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    return usage


def _no_error(body: Mapping[str, Any]) -> None:
    if body.get("error"):
        raise Refusal(0, body["error"])


class _Events:
    """The reader. Blocks come one after another, so only the one that is open is kept."""

    __slots__ = ("_answering", "_begun", "_block", "_given", "_head", "_index", "_input", "_said", "_tools", "finished",
                 "foretold", "usage")  # fmt: skip

    def __init__(self, call: Call, index: int, head: Mapping[str, Any]) -> None:
        self._head = head
        self._index = index
        self._answering = (_answering_tool(call.body) or {}).get("name")
        self._begun = False
        self._said = False  # any text
        self._tools = 0
        self._block: dict[str, Any] = {}
        self._given = False  # any of the open tool's input
        self._input: dict[str, Any] = {}  # what the beginning reported of usage
        self.foretold: dict[str, Any] | None = None  # the same, as the prompt's part of a usage
        self.finished = False
        self.usage: dict[str, Any] | None = None

    def read(self, event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        match event.get("type"):
            case "content_block_delta":
                return self._delta(event["delta"])
            case "content_block_start":
                return self._start(event["content_block"])
            case "content_block_stop":
                return self._stop()
            case "message_delta":
                return self._end(event)
            case "message_start":
                self._input = event["message"].get("usage") or {}
                if self._input.get("input_tokens") is not None:
                    self.foretold = _usage({**self._input, "output_tokens": 0})
                return ()
        # `error` among them; ping, message_stop and what is yet to be invented say nothing.
        _no_error(event)
        return ()

    def _delta(self, delta: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        match delta["type"]:
            case "text_delta":
                return self._text(delta["text"])
            case "thinking_delta":
                return self._chunk({"reasoning_content": delta["thinking"]}) if delta["thinking"] else ()
            case "input_json_delta" if delta["partial_json"]:
                self._given = True
                return self._piece(delta["partial_json"])
        return ()  # signatures and citations have no place in OpenAI's chunks

    def _start(self, block: dict[str, Any]) -> Iterable[dict[str, Any]]:
        self._block = block
        self._given = False
        match block["type"]:
            case "text":
                return self._text(block.get("text") or "")
            case "tool_use" if block["name"] != self._answering:
                self._tools += 1
                return self._chunk({"tool_calls": [{"index": self._tools - 1, **_tool_call(block, "")}]})
        return ()

    def _stop(self) -> Iterable[dict[str, Any]]:
        # A tool without arguments sends none at all; some servers send them with the block's start.
        if self._given or self._block["type"] != "tool_use":
            return ()
        return self._piece(orjson.dumps(self._block.get("input") or {}).decode())

    def _piece(self, text: str) -> Iterable[dict[str, Any]]:
        """A piece of a tool's input."""
        if self._block["type"] != "tool_use":
            return ()  # of one of Anthropic's own tools
        if self._block["name"] == self._answering:
            return self._text(text)
        return self._chunk({"tool_calls": [{"index": self._tools - 1, "function": {"arguments": text}}]})

    def _text(self, text: str) -> Iterable[dict[str, Any]]:
        if not text:
            return ()
        self._said = True
        return self._chunk({"content": text})

    def _end(self, event: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        usage = event.get("usage") or {}
        if usage:
            # Its numbers are sums, and those that it leaves out stand as they were.
            self.usage = _usage(
                {**self._input, "output_tokens": None, **{k: v for k, v in usage.items() if v is not None}}
            )
        reason = event["delta"].get("stop_reason")
        if reason is None or self.finished:
            return ()
        self.finished = True
        last: dict[str, Any] = {}
        if reason == "refusal":
            last["refusal"] = _refusal(event["delta"])
        elif not (self._said or self._tools):
            last["content"] = ""
        said = self._chunk(last) if last else ()
        return (*said, *self._chunk({}, _finish_reason(reason, self._tools > 0)))

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> tuple[dict[str, Any]]:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", **delta}
        choice = {"index": self._index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return ({**self._head, "choices": [choice]},)


def reader(call: Call, index: int, head: Mapping[str, Any]) -> Reader:
    return _Events(call, index, head)


def refused(refusal: Refusal, name: str, model: str) -> GatewayError:
    error = refusal.error if isinstance(refusal.error, dict) else {}
    text = error.get("message") if error else refusal.error
    message = text if isinstance(text, str) else ""
    kind = str(error.get("type"))
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    status = refusal.status or STATUSES.get(kind, 500)
    if kind == LLAMA_CONTEXT_TOO_LONG or (status == 400 and message.lower().startswith(CONTEXT_TOO_LONG)):
        return ContextTooLong(message or f"the request is too long for {model}", param="messages")
    if status == 400 and message.lower().startswith(CONTENT_BLOCKED):
        return ContentBlocked(message)
    if kind == "billing_error" or str(code).endswith("spend_limit_reached"):
        return ProviderLimited(message, code="insufficient_quota", retry_after_s=refusal.retry_after_s)
    if status == 404:
        if not message:
            return ProviderUnavailable(f"{name} has nothing at this address (status 404); correct its base_url")
        return ModelNotFound(message, param="model")
    if status == 413:
        code = "request_too_large"
    return error_of(
        status,
        message,
        name=name,
        code=code if isinstance(code, str) else None,
        retry_after_s=refusal.retry_after_s,
    )


def models(body: dict[str, Any]) -> list[str]:
    _no_error(body)
    return [model["id"] for model in body["data"]]
