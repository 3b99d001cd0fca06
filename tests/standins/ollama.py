"""Ollama's wire: JSON by lines, durations in nanoseconds, errors as bare strings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pydantic
from ollama._types import ChatRequest, EmbedRequest, GenerateRequest, PullRequest

from tests.standins import Heard, StandIn, Turn, serve, vector

CREATED_AT = "2026-01-23T00:00:00.000000000Z"

REQUESTS: dict[str, type[pydantic.BaseModel]] = {
    "/api/chat": ChatRequest,
    "/api/generate": GenerateRequest,
    "/api/embed": EmbedRequest,
    "/api/pull": PullRequest,
}
# A model's files, as a pull tells of them: name, bytes.
FILES = (("74701a8c35f6", 4_000), ("966de95ca8a6", 1_000))


class Server(StandIn):
    paths = ("/api/chat", "/api/generate", "/api/embed", "/api/pull")
    content_type = "application/x-ndjson"
    names_calls = False

    def heard(self, body: dict[str, Any]) -> Heard:
        """A chat request by its meaning; the SDK's own types say whether Ollama would take it."""
        ChatRequest.model_validate(body)
        turns = tuple(
            Turn(
                role=message["role"],
                text=message["content"],
                images=tuple(message.get("images") or ()),
                calls=tuple(
                    (call["function"]["name"], call["function"]["arguments"])
                    for call in message.get("tool_calls") or ()
                ),
                tool=message.get("tool_name", ""),
            )
            for message in body["messages"]
        )
        shape = body.get("format")
        options = dict(body.get("options") or {})
        if "num_predict" in options:
            options["max_tokens"] = options.pop("num_predict")
        return Heard(
            turns=turns,
            tools=tuple(tool["function"] for tool in body.get("tools") or ()),
            schema=shape if isinstance(shape, dict) else None,
            json=shape == "json",
            options=options,
        )

    def model_list(self) -> tuple[str, dict[str, Any]]:
        models = [{"name": name, "model": name, "modified_at": CREATED_AT, "size": 1} for name in ("one", "two")]
        return "/api/tags", {"models": models}

    def streamed(self, body: dict[str, Any]) -> bool:
        return "input" not in body and body.get("stream", True) is not False

    def error(self, status: int) -> Any:
        return f"the reason for {status}"

    def frame(self, event: Any) -> bytes:
        if event is None:
            return b'{"message": {"ro\n'
        # Go escapes these two; the SDK takes them for ends of lines.
        return orjson.dumps(event).replace("\u2028".encode(), b"\\u2028").replace("\u2029".encode(), b"\\u2029") + b"\n"

    def whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        REQUESTS[path].model_validate(body)
        if path == "/api/embed":
            texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
            vectors = [vector(text, body.get("dimensions")) for text in texts]
            return {"model": body["model"], "embeddings": vectors, "prompt_eval_count": 3 * len(texts)}
        if path == "/api/generate":
            return {**self._head(body), "response": self.reply.text, **self._end()}
        message: dict[str, Any] = {"role": "assistant", "content": self.reply.text}
        if self.reply.reasoning:
            message["thinking"] = self.reply.reasoning
        if self.reply.calls:
            message["tool_calls"] = self._calls()
        return {**self._head(body), "message": message, **self._end()}

    def frames(self, path: str, body: dict[str, Any]) -> list[bytes]:
        REQUESTS[path].model_validate(body)
        head = self._head(body)
        if path == "/api/pull":
            return [self.frame(line) for line in _pulled()]
        if path == "/api/generate":
            lines = [{**head, "response": piece, "done": False} for piece in self.reply.pieces()]
            return [self.frame(line) for line in [*lines, {**head, "response": "", **self._end()}]]
        said: list[dict[str, Any]] = []
        if self.reply.reasoning:
            said.append({"content": "", "thinking": self.reply.reasoning})
        said += [{"content": piece} for piece in self.reply.pieces()]
        # Tool calls come whole, one line each.
        said += [{"content": "", "tool_calls": [call]} for call in self._calls()]
        lines = [{**head, "message": {"role": "assistant", **each}, "done": False} for each in said]
        return [
            self.frame(line)
            for line in [*lines, {**head, "message": {"role": "assistant", "content": ""}, **self._end()}]
        ]

    def _head(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"model": body["model"], "created_at": CREATED_AT}

    def _calls(self) -> list[dict[str, Any]]:
        return [{"function": {"name": name, "arguments": arguments}} for name, arguments in self.reply.calls]

    def _end(self) -> dict[str, Any]:
        end: dict[str, Any] = {"done": True, "done_reason": self.reply.finish, "total_duration": 5, "load_duration": 1}
        if self.reply.usage is not None:
            # Go leaves zeros out.
            counts = {"prompt_eval_count": self.reply.usage[0], "eval_count": self.reply.usage[1]}
            end |= {name: count for name, count in counts.items() if count}
        return end


def _pulled() -> Iterator[dict[str, Any]]:
    yield {"status": "pulling manifest"}
    for digest, size in FILES:
        for completed in (0, size // 2, size):
            yield {
                "status": f"pulling {digest}", "digest": f"sha256:{digest}", "total": size,
                **({"completed": completed} if completed else {}),  # Go leaves zeros out
            }  # fmt: skip
    for status in ("verifying sha256 digest", "writing manifest", "success"):
        yield {"status": status}


if __name__ == "__main__":
    serve(Server)
