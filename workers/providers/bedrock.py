"""AWS Bedrock: any chat model by Converse, in blocks instead of strings; embeddings by InvokeModel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from mesh.errors import (
    ContextTooLong,
    GatewayError,
    ModelNotFound,
    ProviderKeyRefused,
)
from workers.providers import converse, vectors
from workers.providers.adapter import WHOLE, Call, Endpoint, Parameter, Reader, total_usage
from workers.providers.statuses import error_of
from workers.transports import Request
from workers.transports.faults import Refusal
from workers.transports.framing import Framing
from workers.transports.room import RoomNames

DEFAULT_URL = ""  # the region's own, which boto3 knows
DIRECT: type[Framing] | None = None
SDK = "workers.providers.sdk.bedrock:open_transport"
MODELS = Request("/foundation-models")
ROOM: RoomNames | None = None
TAKES_IMAGE_URLS = False

CONVERSE = "/model/{modelId}/converse"
CONVERSE_STREAM = "/model/{modelId}/converse-stream"
INVOKE = "/model/{modelId}/invoke"

UNLISTED = Parameter("refused")
_CLAUDE = (converse.CLAUDE,)
_BOTH = {
    "model": Parameter("translated", by="modelId in the path"),
    "stream": Parameter("translated", by="ConverseStream"),
    "stream_options": Parameter("unneeded", by="Bedrock always reports usage"),
    "n": Parameter("translated", by="repeated calls"),
    "max_tokens": Parameter("translated", by="inferenceConfig.maxTokens"),
    "max_completion_tokens": Parameter("translated", by="inferenceConfig.maxTokens"),
    "temperature": Parameter("translated", by="inferenceConfig.temperature", most=1),
    "top_p": Parameter("translated", by="inferenceConfig.topP"),
    "top_k": Parameter("translated", by="additionalModelRequestFields", models=tuple(converse.TOP_K)),
    "stop": Parameter("translated", by="inferenceConfig.stopSequences"),
    "seed": Parameter("refused"),
    "presence_penalty": Parameter("refused", accepts=(0,)),
    "frequency_penalty": Parameter("refused", accepts=(0,)),
    "logit_bias": Parameter("refused", accepts=({},)),
    "user": Parameter("unneeded"),
    "safety_identifier": Parameter("unneeded"),
    "metadata": Parameter("translated", by="requestMetadata"),
    "service_tier": Parameter("translated", by="serviceTier", only=("auto", *converse.TIERS)),
    "performanceConfig": Parameter("native"),
    "guardrailConfig": Parameter("native"),
}
PARAMETERS: Mapping[Endpoint, Mapping[str, Parameter]] = {
    "chat.completions": {
        **_BOTH,
        "messages": Parameter("translated", by="system, and messages in blocks whose roles take turns"),
        "tools": Parameter("translated", by="toolConfig.tools"),
        "tool_choice": Parameter("translated", by="toolConfig.toolChoice"),
        "parallel_tool_calls": Parameter(
            "translated", by="additionalModelRequestFields.tool_choice", models=_CLAUDE, accepts=(True,)
        ),
        "functions": Parameter("refused", accepts=([],)),
        "function_call": Parameter("refused", accepts=("auto", "none")),
        "response_format": Parameter("translated", by="outputConfig.textFormat, or a tool that must be called"),
        "reasoning_effort": Parameter(
            "translated",
            by="thinking or effort, as the model's maker has it",
            models=converse.THINKERS,
            accepts=("none",),
        ),
        "thinking": Parameter("native", by="additionalModelRequestFields", models=_CLAUDE),
        "logprobs": Parameter("refused", accepts=(False,)),
        "top_logprobs": Parameter("refused"),
        "modalities": Parameter("refused", accepts=(["text"],)),
        "audio": Parameter("refused"),
        "prediction": Parameter("refused"),
        "web_search_options": Parameter("refused"),
        "verbosity": Parameter("refused", accepts=("medium",)),
        "store": Parameter("refused", accepts=(False,)),
        "prompt_cache_key": Parameter("unneeded"),
        "prompt_cache_retention": Parameter("unneeded"),
    },
    "completions": {
        **_BOTH,
        "prompt": Parameter("translated", by="a conversation of one message; one call each where there are several"),
        "suffix": Parameter("refused"),
        "echo": Parameter("refused", accepts=(False,)),
        "best_of": Parameter("refused", accepts=(1,)),
        "logprobs": Parameter("refused"),
    },
    "embeddings": {
        "model": Parameter("translated", by="modelId in the path"),
        "input": Parameter("translated", by="inputText, one call each (Titan), or texts, up to 96 a call (Cohere)"),
        "dimensions": Parameter("translated", by="dimensions (Titan) or output_dimension (Cohere)"),
        "encoding_format": Parameter("translated", by="packed by the gateway"),
        "normalize": Parameter("native", models=("titan-embed",)),
        "input_type": Parameter("native", models=("cohere.",)),
        "user": Parameter("unneeded"),
    },
}

FINISH_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "refusal": "content_filter",
}  # all others (end_turn, stop_sequence) are a stop
MALFORMED = {"malformed_model_output", "malformed_tool_use"}

# What each type of error is, by the status that it has or, inside a stream, would have. Those that AWS gives another
# status than it means, and those of AWS's own front that no service lists.
STATUSES = {
    "validation": 400,
    "servicequotaexceeded": 429,
    "throttling": 429,
    "throttled": 429,
    "toomanyrequests": 429,
    "requestlimitexceeded": 429,
    "modelnotready": 503,
    "modelerror": 503,
    "modelstreamerror": 503,
    "modeltimeout": 504,
    "internalserver": 500,
    "internalfailure": 500,
    "serviceunavailable": 503,
    "resourcenotfound": 404,
    "accessdenied": 403,
    "unrecognizedclient": 403,
    "expiredtoken": 403,
    "requestexpired": 403,
    "invalidsignature": 403,
    "signaturedoesnotmatch": 403,
    "incompletesignature": 403,
    "invalidclienttokenid": 403,
    "missingauthenticationtoken": 403,
    "invalididentitytoken": 403,
    "idprejectedclaim": 403,
    "optinrequired": 403,
    "notauthorized": 403,
}
KEY_REFUSED = {
    "accessdenied": "allow its role bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream, and ask for access"
    " to the model in its region",
    "expiredtoken": "its temporary credentials have ended; renew them",
    "requestexpired": "its clock is wrong, or its temporary credentials have ended",
}
KEY_REFUSED_OTHERWISE = "check its role (Pod Identity, IRSA), its profile, or AWS_ACCESS_KEY_ID and its siblings"

# A ValidationException is everything from a bad field to a model that is not there: only its documented words tell.
SAID: tuple[tuple[str, type[ContextTooLong | ModelNotFound]], ...] = (
    ("input is too long", ContextTooLong),
    ("prompt is too long", ContextTooLong),
    ("too many input tokens", ContextTooLong),
    ("too many total text bytes", ContextTooLong),
    ("exceeds the maximum number of tokens", ContextTooLong),
    ("exceeds the model's maximum context length", ContextTooLong),
    ("model identifier is invalid", ModelNotFound),
    ("with on-demand throughput isn", ModelNotFound),  # … supported: this model needs an inference profile
)


def url(text: str) -> str:
    return text.rstrip("/")


def headers(key: str) -> dict[str, str]:
    """A Bedrock API key. Without one the request is signed with what boto3's own chain of credentials finds."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def requests(call: Call, stream: bool) -> Sequence[Request]:
    if call.endpoint == "embeddings":
        return [Request(INVOKE, {"modelId": call.model, "body": body}) for body in vectors.bodies(call)]
    if call.endpoint == "chat.completions":
        bodies = [converse.request(call)]
    else:
        bodies = [converse.prompted(call, prompt) for prompt in _prompts(call.body.get("prompt"))]
    path = CONVERSE_STREAM if stream else CONVERSE
    return [Request(path, {"modelId": call.model, **body}) for body in bodies for _ in range(call.body.get("n") or 1)]


def _prompts(prompt: Any) -> list[str]:
    prompts = [prompt] if isinstance(prompt, str) else prompt or [""]
    if not all(isinstance(each, str) for each in prompts):
        raise converse.cannot("prompt", "a prompt of token numbers")
    return list(prompts)


def answer(call: Call, bodies: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    if call.endpoint == "embeddings":
        return vectors.answer(call, bodies)
    choose = _chat_choice if call.endpoint == "chat.completions" else _text_choice
    whole: dict[str, Any] = {
        "id": call.answer_id,
        "object": WHOLE[call.endpoint],
        "created": call.created,
        "model": call.public_model,
        "choices": [choose(call, index, body) for index, body in enumerate(bodies)],
    }
    usage = total_usage(_usage(body.get("usage")) for body in bodies)
    if usage is not None:
        whole["usage"] = usage
    return whole, usage


def _chat_choice(call: Call, index: int, body: Mapping[str, Any]) -> dict[str, Any]:
    json_tool = converse.json_tool(call)
    texts, thoughts, calls, answers = [], [], [], []
    for block in body["output"]["message"]["content"]:
        used = block.get("toolUse")
        if used is not None and used["name"] == json_tool:
            answers.append(_dumped(used["input"]))
        elif used is not None:
            if used.get("type") != "server_tool_use":
                function = {"name": used["name"], "arguments": _dumped(used.get("input") or {})}
                calls.append({"id": used["toolUseId"], "type": "function", "function": function})
        elif "reasoningContent" in block:
            thoughts.append((block["reasoningContent"].get("reasoningText") or {}).get("text", ""))
        else:
            texts.append(_text(block))
    # What is said around an answer in JSON is no part of it, and the same answer twice would be no JSON.
    text, thought = answers[0] if answers else "".join(texts), "".join(thoughts)
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    reason = _finish_reason(body["stopReason"], bool(calls))
    return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}


def _text_choice(call: Call, index: int, body: Mapping[str, Any]) -> dict[str, Any]:
    text = "".join(_text(block) for block in body["output"]["message"]["content"])
    return {"index": index, "text": text, "logprobs": None, "finish_reason": _finish_reason(body["stopReason"], False)}


def _text(block: Mapping[str, Any]) -> str:
    if "citationsContent" in block:
        return "".join(each.get("text", "") for each in block["citationsContent"].get("content") or ())
    text = block.get("text", "")
    return text if isinstance(text, str) else ""


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


def _finish_reason(stop_reason: str, called: bool) -> str:
    if stop_reason in MALFORMED:
        raise Refusal(0, {"type": "ModelErrorException", "message": f"the model's answer was broken ({stop_reason})"})
    return FINISH_REASONS.get(stop_reason) or ("tool_calls" if called else "stop")


def _usage(reported: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Bedrock counts what it read from or wrote to its cache beside `inputTokens`; OpenAI's prompt_tokens are all."""
    if not reported:
        return None
    read, written = reported.get("cacheReadInputTokens"), reported.get("cacheWriteInputTokens")
    prompt = reported["inputTokens"] + (read or 0) + (written or 0)
    completion = reported["outputTokens"]
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if read or written:
        usage["prompt_tokens_details"] = {"cached_tokens": read or 0, "cache_write_tokens": written or 0}
    kept = sum(each["inputTokens"] for each in reported.get("cacheDetails") or () if each["ttl"] == "1h")
    if kept and written:
        usage["prompt_tokens_details"]["cache_write_1h_tokens"] = kept  # a part of those written, at a price of its own
    return usage


class _Blocks:
    """The reader. Blocks have numbers among all, tool calls among themselves."""

    __slots__ = (
        "_begun",
        "_chat",
        "_head",
        "_held",
        "_index",
        "_json",
        "_json_tool",
        "_said",
        "_tools",
        "_unsaid",
        "finished",
        "usage",
    )

    def __init__(self, call: Call, index: int, head: Mapping[str, Any]) -> None:
        self._index = index
        self._head = head
        self._chat = call.endpoint == "chat.completions"
        self._json_tool = converse.json_tool(call) if self._chat else None
        self._json: int | None = None  # the block that is the answer in JSON
        self._held: list[str] = []  # texts around it, told only if it does not come
        self._tools: dict[int, int] = {}  # tool calls by the numbers of their blocks
        self._unsaid: set[int] = set()  # the blocks of calls that have no arguments yet
        self._begun = False
        self._said = False
        self.finished = False
        self.usage: dict[str, Any] | None = None

    def read(self, event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        if "contentBlockDelta" in event:
            said = event["contentBlockDelta"]
            delta = self._delta(said["delta"], said["contentBlockIndex"])
            return (self._chunk(delta),) if delta else ()
        if "contentBlockStart" in event:
            delta = self._start(event["contentBlockStart"])
            return (self._chunk(delta),) if delta else ()
        if "contentBlockStop" in event:
            number = event["contentBlockStop"]["contentBlockIndex"]
            if number not in self._unsaid:
                return ()
            self._unsaid.remove(number)
            return (self._chunk(self._arguments(number, "{}")),)
        if "messageStop" in event:
            reason = _finish_reason(event["messageStop"]["stopReason"], bool(self._tools))
            self.finished = True
            rest = "".join(self._held) if self._json is None else ""
            more = rest or not (self._said or self._tools)
            return (*((self._chunk({"content": rest}),) if more else ()), self._chunk({}, reason))
        if "metadata" in event:
            self.usage = _usage(event["metadata"].get("usage"))
        return ()

    def _start(self, started: Mapping[str, Any]) -> dict[str, Any]:
        number, used = started["contentBlockIndex"], started["start"].get("toolUse")
        if not self._chat or used is None or used.get("type") == "server_tool_use":
            return {}
        if used["name"] == self._json_tool:
            self._json = number if self._json is None else self._json
            return {}
        index = self._tools[number] = len(self._tools)
        self._unsaid.add(number)
        function = {"name": used["name"], "arguments": ""}
        return {"tool_calls": [{"index": index, "id": used["toolUseId"], "type": "function", "function": function}]}

    def _delta(self, delta: Mapping[str, Any], number: int) -> dict[str, Any]:
        if "text" in delta:
            if self._json_tool is None:
                return self._content(delta["text"])
            self._held.append(delta["text"])
        elif "toolUse" in delta:
            piece = delta["toolUse"]["input"]
            if number == self._json:
                return self._content(piece)
            if piece and number in self._tools:
                self._unsaid.discard(number)
                return self._arguments(number, piece)
        elif "reasoningContent" in delta and self._chat:
            thought = delta["reasoningContent"].get("text")
            return {"reasoning_content": thought} if thought else {}
        return {}

    def _content(self, piece: str) -> dict[str, Any]:
        if not piece:
            return {}
        self._said = True
        return {"content": piece}

    def _arguments(self, number: int, piece: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": self._tools[number], "function": {"arguments": piece}}]}

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": self._index}
        if self._chat:
            choice["delta"] = delta if self._begun else {"role": "assistant", **delta}
        else:
            choice["text"] = delta.get("content", "")
        self._begun = True
        choice["logprobs"] = None
        choice["finish_reason"] = reason
        return {**self._head, "choices": [choice]}


def reader(call: Call, index: int, head: Mapping[str, Any]) -> Reader:
    return _Blocks(call, index, head)


def refused(refusal: Refusal, name: str, model: str) -> GatewayError:
    """refusal.error: `type` as in x-amzn-errortype, or in a stream's :exception-type, and `message`."""
    error = refusal.error if isinstance(refusal.error, dict) else {}
    kind = _kind(error.get("type"))
    text = error.get("message")
    message = text if isinstance(text, str) else ""
    status = STATUSES.get(kind) or refusal.status or 500
    if status in (401, 403):
        what = KEY_REFUSED.get(kind, KEY_REFUSED_OTHERWISE)
        # AWS's own words name the account and the role.
        return ProviderKeyRefused(f"{name} refuses what the gateway presents ({error.get('type') or status}): {what}")
    if status == 400:
        lowered = message.lower()
        for words, of_ours in SAID:
            if words in lowered:
                return of_ours(message, param="messages" if of_ours is ContextTooLong else "model")
    if status == 404 and not kind:
        return error_of(
            503, f"{name} has nothing at this address (status 404); correct its base_url or region", name=name
        )
    return error_of(status, message, name=name, retry_after_s=refusal.retry_after_s)


def _kind(given: Any) -> str:
    """`ThrottlingException:http://…`, `com.amazonaws…#throttlingException` and `Throttling` are one kind."""
    text = given if isinstance(given, str) else ""
    return re.sub(r"(exception|error)$", "", text.partition(":")[0].rpartition("#")[2].lower())


def models(body: dict[str, Any]) -> list[str]:
    """Those that can be called by their own name, and the inference profiles, by which all others are called."""
    own = [
        model["modelId"]
        for model in body["modelSummaries"]
        if "ON_DEMAND" in (model.get("inferenceTypesSupported") or ("ON_DEMAND",))
    ]
    return own + [profile["inferenceProfileId"] for profile in body.get("inferenceProfileSummaries") or ()]
