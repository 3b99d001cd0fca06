"""Anthropic's wire: messages of blocks, events with names, and the rules that the API holds a conversation to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from anthropic.types.message_create_params import MessageCreateParams
from pydantic import TypeAdapter

from tests.standins import Heard, StandIn, Turn, serve

REQUEST: TypeAdapter[Any] = TypeAdapter(MessageCreateParams)
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}
DEFAULT_MAX_TOKENS = 4096  # config's, where the caller names none

ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# What the API may do as well, or did once, or will do.
QUIRKS = (
    "thoughts that are redacted",
    "citations",
    "no pings",
    "empty deltas",
    "input at the start of its block",
    "all usage in the end",
    "nulls in the end's usage",
    "events of tomorrow",
    "comments",
    "CRLF",
)


def understand(body: dict[str, Any]) -> Heard:
    """A request by its meaning; it fails where the API would refuse the conversation."""
    _exhaust(REQUEST.validate_python(body))
    assert body["messages"] and body["messages"][0]["role"] == "user", "the first message is the user's"
    names: dict[str, str] = {}
    turns: list[Turn] = []
    if body.get("system"):
        turns.append(Turn("system", _joined(body["system"])))
    before = "assistant"
    for message in body["messages"]:
        assert message["role"] != before, "roles alternate"
        before = message["role"]
        blocks = message["content"]
        assert blocks, "a message holds something"
        results = [block for block in blocks if block["type"] == "tool_result"]
        assert results == blocks[: len(results)], "results of tools come first"
        if results or any(name for name in _open(turns)):
            assert [names[block["tool_use_id"]] for block in results] == _open(turns), (
                "each call has its result, in order"
            )
        turns += [
            Turn(
                "tool",
                _joined(block.get("content", [])),
                _images(block.get("content", [])),
                (),
                names[block["tool_use_id"]],
            )
            for block in results
        ]
        rest = blocks[len(results) :]
        calls = [block for block in rest if block["type"] == "tool_use"]
        names.update({block["id"]: block["name"] for block in calls})
        if rest:
            called = tuple((block["name"], block["input"]) for block in calls)
            turns.append(Turn(message["role"], _joined(rest), _images(rest), called))
    answering = _answering(body)
    options: dict[str, Any] = {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body}
    if body["max_tokens"] != DEFAULT_MAX_TOKENS:
        options["max_tokens"] = body["max_tokens"]
    if "stop_sequences" in body:
        options["stop"] = body["stop_sequences"]
    shape = (body.get("output_config") or {}).get("format") or {}
    return Heard(
        turns=tuple(turns),
        tools=tuple(_function(tool) for tool in body.get("tools") or () if tool is not answering),
        schema=shape.get("schema"),
        json=answering is not None,
        options=options,
    )


def _exhaust(value: Any) -> None:
    """The types of the SDK are checked as they are walked through."""
    if isinstance(value, Mapping):
        value = value.values()
    elif isinstance(value, str) or not isinstance(value, Iterable):
        return
    for each in value:
        _exhaust(each)


def _open(turns: list[Turn]) -> list[str]:
    return [name for name, _ in turns[-1].calls] if turns else []


def _joined(blocks: list[dict[str, Any]]) -> str:
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    assert all(text.strip() for text in texts), "text holds more than white space"
    return "\n".join(texts)


def _images(blocks: list[dict[str, Any]]) -> tuple[str, ...]:
    sources = [block["source"] for block in blocks if block["type"] == "image"]
    return tuple(source.get("data") or source["url"] for source in sources)


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = {name: value for name, value in tool.items() if name != "input_schema"}
    return {**function, "parameters": tool["input_schema"]}


def _answering(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tool that a model must call, and that no caller meant."""
    forced = body.get("tool_choice") or {}
    for tool in body.get("tools") or ():
        if forced.get("type") in ("any", "tool") and tool["name"] == forced.get("name", "answer") == "answer":
            return tool  # type: ignore[no-any-return]
    return None


class Server(StandIn):
    paths = ("/v1/messages",)
    content_type = "text/event-stream"
    alternates = True

    def __init__(self) -> None:
        super().__init__()
        self.more_usage: dict[str, Any] = {}
        self.stopped: dict[str, Any] = {}  # instead of the reply's: stop_reason, stop_details

    def heard(self, body: dict[str, Any]) -> Heard:
        return understand(body)

    def key(self, headers: Mapping[str, str]) -> str | None:
        assert headers["anthropic-version"] == "2023-06-01"
        assert "Authorization" not in headers
        return headers.get("x-api-key")

    def model_list(self) -> tuple[str, dict[str, Any]]:
        models = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
            for name in ("one", "two")
        ]
        return "/v1/models", {"data": models, "has_more": False, "first_id": "one", "last_id": "two"}

    def streamed(self, body: dict[str, Any]) -> bool:
        return bool(body.get("stream"))

    def error(self, status: int) -> Any:
        return {"type": ERRORS.get(status, "api_error"), "message": f"the reason for {status}"}

    def refusal(self, error: Any) -> Any:
        return {"type": "error", "error": error, "request_id": "req_1"}

    def frame(self, event: Any) -> bytes:
        end = b"\r\n" if "CRLF" in self.quirks else b"\n"
        if event is None:
            name, data = "content_block_delta", b'{"type": "content_block_de'
        else:
            event = self.refusal(event["error"]) if "error" in event else event
            name, data = event["type"], orjson.dumps(event)
        comment = b": here" + end + end if "comments" in self.quirks else b""
        return comment + b"event: " + name.encode() + end + b"data: " + data + end + end

    def whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = {**self._head(body), "content": self._blocks(body), **self._stop(body)}
        if self.reply.usage is not None:
            answer["usage"] = self._usage()
        return answer

    def _head(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"id": "msg_01", "type": "message", "role": "assistant", "model": body["model"]}

    def _stop(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.stopped:
            return {"stop_sequence": None, **self.stopped}
        reason = STOP_REASONS[self.reply.finish]
        if self.reply.calls or _answering(body):
            reason = "tool_use"
        elif reason == "end_turn" and body.get("stop_sequences"):
            return {"stop_reason": "stop_sequence", "stop_sequence": body["stop_sequences"][0]}
        return {"stop_reason": reason, "stop_sequence": None}

    def _usage(self) -> dict[str, Any]:
        assert self.reply.usage is not None
        counts = {"input_tokens": self.reply.usage[0], "output_tokens": self.reply.usage[1]}
        cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        return {**counts, **cache, "service_tier": "standard", **self.more_usage}

    def _blocks(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        if "thoughts that are redacted" in self.quirks:
            blocks.append({"type": "redacted_thinking", "data": "RW5jcnlwdGVk"})
        if self.reply.reasoning:
            blocks.append({"type": "thinking", "thinking": self.reply.reasoning, "signature": "c2lnbmVk"})
        answering = _answering(body)
        calls = list(self.reply.calls)
        if answering is not None and not calls:
            calls = [(answering["name"], orjson.loads(self.reply.text))]
        elif self.reply.text:
            blocks.append({"type": "text", "text": self.reply.text})
            if "citations" in self.quirks:
                blocks[-1]["citations"] = [_citation()]
        blocks += [
            {"type": "tool_use", "id": f"toolu_{number:024d}", "name": name, "input": given}
            for number, (name, given) in enumerate(calls)
        ]
        return blocks

    def frames(self, path: str, body: dict[str, Any]) -> list[bytes]:
        return [self.frame(event) for event in self._events(body)]

    def _events(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        start = {**self._head(body), "content": [], "stop_reason": None, "stop_sequence": None}
        end: dict[str, Any] = {"type": "message_delta", "delta": self._stop(body)}
        if self.reply.usage is not None:
            usage = self._usage()
            last = usage if "all usage in the end" in self.quirks else {"output_tokens": usage["output_tokens"]}
            if "nulls in the end's usage" in self.quirks:
                last = {"input_tokens": None, "cache_read_input_tokens": None, **last}
            if "output_tokens_details" in usage:
                last["output_tokens_details"] = usage.pop("output_tokens_details")
            start["usage"] = (
                {"output_tokens": 1} if "all usage in the end" in self.quirks else {**usage, "output_tokens": 1}
            )
            end["usage"] = last
        yield {"type": "message_start", "message": start}
        if "no pings" not in self.quirks:
            yield {"type": "ping"}
        for index, block in enumerate(self._blocks(body)):
            if "events of tomorrow" in self.quirks:
                yield {"type": "content_block_announced", "index": index, "delta": 7}
            first, deltas = self._taken_apart(block)
            yield {"type": "content_block_start", "index": index, "content_block": first}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        yield end
        yield {"type": "message_stop"}

    def _taken_apart(self, block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A block's start and its deltas."""
        empty = "empty deltas" in self.quirks
        match block["type"]:
            case "text":
                pieces = [{"type": "text_delta", "text": piece} for piece in self.reply.pieces()]
                cited = [{"type": "citations_delta", "citation": each} for each in block.get("citations") or ()]
                nothing = [{"type": "text_delta", "text": ""}] if empty else []
                return {"type": "text", "text": ""}, [*nothing, *pieces, *cited]
            case "thinking":
                nothing = [{"type": "thinking_delta", "thinking": ""}] if empty else []
                thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in _cut(block["thinking"])]
                signed = {"type": "signature_delta", "signature": block["signature"]}
                return {"type": "thinking", "thinking": "", "signature": ""}, [*nothing, *thoughts, signed]
            case "tool_use" if "input at the start of its block" in self.quirks:
                return block, []
            case "tool_use":
                text = orjson.dumps(block["input"]).decode() if block["input"] else ""
                pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *_cut(text)]]
                return {**block, "input": {}}, pieces
            case _:
                return block, []


def _citation() -> dict[str, Any]:
    place = {"document_index": 0, "document_title": None, "start_char_index": 0, "end_char_index": 5}
    return {"type": "char_location", "cited_text": "Hello", **place}


def _cut(text: str) -> list[str]:
    return [text[start : start + 5] for start in range(0, len(text), 5)]


if __name__ == "__main__":
    serve(Server)
