"""What OpenAI demands beyond types, and what would only fail later at a provider: one function a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mesh.errors import RequestError

Body = Mapping[str, Any]
Rule = Callable[[Body], None]


def stream_options_need_stream(body: Body) -> None:
    if "stream_options" in body and not body.get("stream"):
        raise RequestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )


def top_logprobs_need_logprobs(body: Body) -> None:
    if "top_logprobs" in body and not body.get("logprobs"):
        raise RequestError(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", param="top_logprobs"
        )


def one_limit_of_tokens(body: Body) -> None:
    if "max_tokens" in body and "max_completion_tokens" in body:
        raise RequestError(
            "'max_tokens' and 'max_completion_tokens' cannot both be set. Use 'max_completion_tokens'.",
            param="max_tokens",
        )


def a_forced_tool_is_there(body: Body) -> None:
    choice = body.get("tool_choice")
    if choice is None or choice in ("none", "auto"):
        return
    tools = body.get("tools")
    if not tools:
        raise RequestError(
            "The 'tool_choice' parameter is only allowed when 'tools' are specified.", param="tool_choice"
        )
    kind = choice["type"] if type(choice) is dict else ""
    if kind in ("function", "custom"):
        name = choice[kind]["name"]
        if all(tool["type"] != kind or tool[kind]["name"] != name for tool in tools):
            raise RequestError(f"Tool choice '{name}' not found in the 'tools' parameter.", param="tool_choice")


def assistants_say_something(body: Body) -> None:
    for index, message in enumerate(body["messages"]):
        if message["role"] != "assistant" or message.get("content") is not None:
            continue
        if not any(message.get(key) for key in ("tool_calls", "function_call", "refusal", "audio")):
            raise RequestError(
                "An assistant message needs 'content', unless it has 'tool_calls', a 'refusal' or 'audio'.",
                param=f"messages[{index}].content",
            )


def tool_calls_have_answers(body: Body) -> None:
    asked: dict[str, int] = {}  # call id: place of its message; those that the messages at hand may answer
    answered: set[str] = set()
    for index, message in enumerate(body["messages"]):
        if message["role"] == "tool":
            if message["tool_call_id"] not in asked:
                raise RequestError(
                    "A message with role 'tool' must answer a tool call of the assistant message before it.",
                    param=f"messages[{index}].tool_call_id",
                )
            answered.add(message["tool_call_id"])
            continue
        _all_answered(asked, answered)
        asked = {call["id"]: index for call in message["tool_calls"]} if "tool_calls" in message else {}
        answered = set()
    _all_answered(asked, answered)


def _all_answered(asked: Mapping[str, int], answered: set[str]) -> None:
    for call, index in asked.items():
        if call not in answered:
            raise RequestError(
                f"An assistant message with 'tool_calls' must be followed by tool messages that answer each of them. "
                f"There is none for '{call[:64]}'.",
                param=f"messages[{index}].tool_calls",
            )


def best_of_is_enough(body: Body) -> None:
    if "best_of" in body and body["best_of"] < body.get("n", 1):
        raise RequestError("'best_of' must be at least 'n'.", param="best_of")


def best_of_is_not_streamed(body: Body) -> None:
    if body.get("best_of", 1) > 1 and body.get("stream"):
        raise RequestError("'best_of' above 1 cannot be streamed.", param="best_of")


CHAT: tuple[Rule, ...] = (
    stream_options_need_stream,
    top_logprobs_need_logprobs,
    one_limit_of_tokens,
    a_forced_tool_is_there,
    assistants_say_something,
    tool_calls_have_answers,
)
COMPLETIONS: tuple[Rule, ...] = (stream_options_need_stream, best_of_is_enough, best_of_is_not_streamed)
EMBEDDINGS: tuple[Rule, ...] = ()
