"""OpenAI's wire, and the liberties that compatible servers take with it (`quirks`)."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson

from tests.standins import Heard, StandIn, Turn, serve, vector

CREATED = 1_737_590_400

# What a compatible server may do otherwise.
QUIRKS = (
    "ignores include_usage",
    "usage in every chunk",
    "usage beside the finish",
    "no ids",
    "no role",
    "no index",
    "empty finish reasons",
    "no DONE",
    "comments",
    "CRLF",
    "tool calls whole and without index",
    "arguments as an object",
    "reasoning under its short name",
)


def understand(body: dict[str, Any]) -> Heard:
    """A chat request by its meaning."""
    names: dict[str, str] = {}
    turns = []
    for message in body["messages"]:
        calls = tuple(
            (call["function"]["name"], orjson.loads(call["function"]["arguments"] or "{}"))
            for call in message.get("tool_calls") or ()
        )
        names.update({call["id"]: call["function"]["name"] for call in message.get("tool_calls") or ()})
        content = message.get("content") or ""
        parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        turns.append(
            Turn(
                role="system" if message["role"] == "developer" else message["role"],
                text="\n".join(part["text"] for part in parts if part["type"] == "text"),
                images=tuple(
                    part["image_url"]["url"].partition(",")[2] for part in parts if part["type"] == "image_url"
                ),
                calls=calls,
                tool=names[message["tool_call_id"]] if message["role"] == "tool" else "",
            )
        )
    shape = body.get("response_format") or {}
    options: dict[str, Any] = {name: body[name] for name in ("temperature", "top_p", "seed") if name in body}
    for name in ("max_tokens", "max_completion_tokens"):
        if name in body:
            options["max_tokens"] = body[name]
    if "stop" in body:
        options["stop"] = [body["stop"]] if isinstance(body["stop"], str) else body["stop"]
    return Heard(
        turns=tuple(turns),
        tools=tuple(tool["function"] for tool in body.get("tools") or ()),
        schema=shape.get("json_schema", {}).get("schema"),
        json=shape.get("type") == "json_object",
        options=options,
    )


class Server(StandIn):
    paths = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
    base = "/v1"
    content_type = "text/event-stream"
    after_finish = 1

    def heard(self, body: dict[str, Any]) -> Heard:
        return understand(body)

    def model_list(self) -> tuple[str, dict[str, Any]]:
        models = [{"id": name, "object": "model", "created": CREATED, "owned_by": "us"} for name in ("one", "two")]
        return "/v1/models", {"object": "list", "data": models}

    def streamed(self, body: dict[str, Any]) -> bool:
        return bool(body.get("stream"))

    def error(self, status: int) -> Any:
        kinds = {
            400: ("invalid_request_error", None),
            401: ("invalid_request_error", "invalid_api_key"),
            404: ("invalid_request_error", "model_not_found"),
            429: ("requests", "rate_limit_exceeded"),
        }
        kind, code = kinds.get(status, ("server_error", None))
        return {"message": f"the reason for {status}", "type": kind, "param": None, "code": code}

    def frame(self, event: Any) -> bytes:
        end = b"\r\n" if "CRLF" in self.quirks else b"\n"
        data = b'{"choices": [{"ind' if event is None else event if isinstance(event, bytes) else orjson.dumps(event)
        comment = b": ping" + end + end if "comments" in self.quirks else b""
        return comment + b"data: " + data + end + end

    def whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/embeddings"):
            return self._embeddings(body)
        chat = path.endswith("/chat/completions")
        count = body.get("n") or 1
        answer = {
            **self._head(body, "chat.completion" if chat else "text_completion"),
            "choices": [self._choice(index, chat) for index in range(count)],
        }
        if self.reply.usage is not None:
            answer["usage"] = self._usage(count)
        return answer

    def _head(self, body: dict[str, Any], kind: str) -> dict[str, Any]:
        if "no ids" in self.quirks:
            return {}
        return {"id": "upstream-1", "object": kind, "created": CREATED, "model": body["model"]}

    def _choice(self, index: int, chat: bool) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": self._finish()}
        if "no index" in self.quirks:
            del choice["index"]
        if not chat:
            return {**choice, "text": self.reply.text}
        message: dict[str, Any] = {"role": "assistant", "content": self.reply.text or None, "refusal": None}
        if "no role" in self.quirks:
            del message["role"]
        if self.reply.reasoning:
            message[self._reasoning()] = self.reply.reasoning
        if self.reply.calls:
            message["tool_calls"] = self._calls()
        elif not self.reply.text:
            message["content"] = ""
        return {**choice, "message": message}

    def _calls(self) -> list[dict[str, Any]]:
        given = "arguments as an object" in self.quirks
        return [
            {
                "id": f"call_up{number}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": arguments if given else orjson.dumps(arguments).decode(),
                },
            }
            for number, (name, arguments) in enumerate(self.reply.calls)
        ]

    def _reasoning(self) -> str:
        return "reasoning" if "reasoning under its short name" in self.quirks else "reasoning_content"

    def _finish(self) -> str:
        return "tool_calls" if self.reply.calls else self.reply.finish

    def _usage(self, count: int) -> dict[str, Any]:
        assert self.reply.usage is not None
        prompt, completion = self.reply.usage[0] * count, self.reply.usage[1] * count
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def frames(self, path: str, body: dict[str, Any]) -> list[bytes]:
        chat = path.endswith("/chat/completions")
        count = body.get("n") or 1
        head = self._head(body, "chat.completion.chunk" if chat else "text_completion")
        asked = (body.get("stream_options") or {}).get("include_usage") and self.reply.usage is not None
        asked = asked and "ignores include_usage" not in self.quirks
        nothing = "" if "empty finish reasons" in self.quirks else None
        chunks = []
        steps = self._deltas() if chat else [{"text": piece} for piece in self.reply.pieces()]
        for step in steps:
            for index in range(count):
                choice = {
                    "index": index,
                    **({"delta": step} if chat else step),
                    "logprobs": None,
                    "finish_reason": nothing,
                }
                if "no index" in self.quirks:
                    del choice["index"]
                chunks.append({**head, "choices": [choice]})
        for index in range(count):
            empty: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
            choice = {"index": index, **empty, "logprobs": None, "finish_reason": self._finish()}
            if "no index" in self.quirks:
                del choice["index"]
            chunks.append({**head, "choices": [choice]})
        if asked:
            usage = self._usage(count)
            if "usage in every chunk" in self.quirks:
                chunks = [{**chunk, "usage": usage} for chunk in chunks]
            elif "usage beside the finish" in self.quirks:
                chunks[-1]["usage"] = usage
            else:
                chunks = [{**chunk, "usage": None} for chunk in chunks]
                chunks.append({**head, "choices": [], "usage": usage})
        done = [] if "no DONE" in self.quirks else [self.frame(b"[DONE]")]
        return [self.frame(chunk) for chunk in chunks] + done

    def _deltas(self) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = []
        if "no role" not in self.quirks:
            content = None if self.reply.calls and not self.reply.text else ""
            deltas.append({"role": "assistant", "content": content, "refusal": None})
        if self.reply.reasoning:
            deltas.append({self._reasoning(): self.reply.reasoning})
        deltas += [{"content": piece} for piece in self.reply.pieces()]
        if "tool calls whole and without index" in self.quirks:
            return deltas + [{"tool_calls": [call]} for call in self._calls()]
        for number, call in enumerate(self._calls()):
            arguments = call["function"].pop("arguments")
            if isinstance(arguments, dict):
                deltas.append(
                    {
                        "tool_calls": [
                            {**call, "index": number, "function": {**call["function"], "arguments": arguments}}
                        ]
                    }
                )
                continue
            call["function"]["arguments"] = ""
            deltas.append({"tool_calls": [{"index": number, **call}]})
            for start in range(0, len(arguments), 5):
                part = {"arguments": arguments[start : start + 5]}
                deltas.append({"tool_calls": [{"index": number, "function": part}]})
        return deltas

    def _embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = []
        for index, text in enumerate(texts):
            numbers = vector(text, body.get("dimensions"))
            packed = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
            wanted = packed if body.get("encoding_format") == "base64" else numbers
            data.append({"object": "embedding", "index": index, "embedding": wanted})
        usage = {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}


if __name__ == "__main__":
    serve(Server)
