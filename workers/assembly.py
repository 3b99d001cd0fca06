"""A stream's chunks put together again as the one answer that a blocking request would have had."""

from __future__ import annotations

from typing import Any


def _only_delta(choice: dict[str, Any]) -> bool:
    return not (choice.get("finish_reason") or choice.get("logprobs") or "text" in choice)


class Assembly:
    """Feed it chunks; `answer` is the whole so far."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self.usage: dict[str, Any] | None = None

    def feed(self, chunk: dict[str, Any]) -> None:
        if not self._head:
            self._head = {name: value for name, value in chunk.items() if name not in ("choices", "usage", "object")}
            self._head["object"] = (
                "chat.completion" if chunk.get("object") == "chat.completion.chunk" else chunk.get("object")
            )
        if chunk.get("usage"):
            self.usage = chunk["usage"]
        for choice in chunk.get("choices", ()):
            self._add(
                self._choices.setdefault(choice["index"], {"text": [], "message": {}, "finish_reason": None}), choice
            )

    def _add(self, seen: dict[str, Any], choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        content = seen["message"].get("content")
        # Nearly every chunk is this: one more piece of text, and nothing else.
        if delta and len(delta) == 1 and type(content) is list and delta.get("content") and _only_delta(choice):
            content.append(delta["content"])
            return
        if choice.get("finish_reason"):
            seen["finish_reason"] = choice["finish_reason"]
        if "text" in choice:
            seen["text"].append(choice["text"])
        if choice.get("logprobs"):
            logprobs = seen.setdefault("logprobs", {})
            for name, values in choice["logprobs"].items():
                logprobs[name] = [*(logprobs.get(name) or []), *values] if values is not None else logprobs.get(name)
        message = seen["message"]
        for name, value in (choice.get("delta") or {}).items():
            if value is None:
                message.setdefault(name, None)
            elif name == "tool_calls":
                for call in value:
                    self._add_call(message.setdefault("tool_calls", {}), call)
            elif name in ("content", "refusal", "reasoning_content"):
                if isinstance(message.get(name), list):
                    message[name].append(value)
                else:
                    message[name] = [value]
            else:
                message[name] = value

    @staticmethod
    def _add_call(calls: dict[int, dict[str, Any]], delta: dict[str, Any]) -> None:
        call = calls.setdefault(
            delta["index"], {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        if delta.get("id"):
            call["id"] = delta["id"]
        for name, value in (delta.get("function") or {}).items():
            call["function"][name] += value or ""

    def answer(self) -> dict[str, Any]:
        """The whole so far, in the shape of a blocking answer; empty when nothing came."""
        if not self._head:
            return {}
        whole = {**self._head, "choices": [self._choice(index) for index in sorted(self._choices)]}
        if self.usage is not None:
            whole["usage"] = self.usage
        return whole

    def _choice(self, index: int) -> dict[str, Any]:
        seen = self._choices[index]
        choice: dict[str, Any] = {
            "index": index,
            "finish_reason": seen["finish_reason"],
            "logprobs": seen.get("logprobs"),
        }
        if self._head["object"] == "text_completion":
            return {**choice, "text": "".join(seen["text"])}
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        for name, value in seen["message"].items():
            if name == "tool_calls":
                message[name] = [value[at] for at in sorted(value)]
            else:
                message[name] = "".join(value) if isinstance(value, list) else value
        return {**choice, "message": message}
