"""The conversations that every provider must be able to have, and what the model says in each."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from tests.standins import Reply

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n and the rest of a picture").decode()

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "floor": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                    },
                    "required": ["city"],
                    "additionalProperties": False,
                }
            },
            "required": ["place"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}

CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"place": {"city": "Łódź", "floor": null}}'},
        },
        {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": ""}},
    ],
}


HELLO = Reply()


@dataclass(frozen=True, eq=False)
class Conversation:
    name: str
    body: dict[str, Any]
    reply: Reply = HELLO
    piece_bytes: int = 0  # how the stream is cut; 0: an event at a time

    def __str__(self) -> str:
        return self.name


def _said(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "public-model", "messages": list(messages), **more}


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


UNICODE = 'Grüße, 世界! 👩‍👩‍👧‍👦 \u2028 "quoted" \\ and a tab\t, data: [DONE]\n\ndata: {}\r\nnull\x7f'

CONVERSATIONS = (
    Conversation("plain", _said(_user("Hello"))),
    Conversation("system and user", _said({"role": "system", "content": "Be brief."}, _user("Hello"))),
    Conversation(
        "system twice and a developer",
        _said(
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be kind."},
            _user("Hello"),
            {"role": "system", "content": "Be brief again."},
            _user("Well?"),
        ),
    ),
    Conversation(
        "several turns",
        _said(_user("One"), {"role": "assistant", "content": "Two"}, _user("Three"), temperature=0, top_p=0.5, seed=7),
    ),
    Conversation("parts of text", _said(_user([{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]))),
    Conversation(
        "a tool",
        _said(_user("Weather in Łódź?"), tools=[WEATHER], tool_choice="auto"),
        Reply(text="", calls=(("weather", {"place": {"city": "Łódź", "floor": None}}),)),
    ),
    Conversation(
        "text before a tool",
        _said(_user("Weather in Łódź?"), tools=[WEATHER]),
        Reply(text="Let me look. ", calls=(("weather", {"place": {"city": "Łódź"}}),)),
    ),
    Conversation(
        "tools in parallel",
        _said(_user("Weather and time?"), tools=[WEATHER, CLOCK], parallel_tool_calls=True),
        Reply(
            text="", calls=(("weather", {"place": {"city": "a"}}), ("clock", {}), ("weather", {"place": {"city": "b"}}))
        ),
    ),
    Conversation("empty arguments", _said(_user("Time?"), tools=[CLOCK]), Reply(text="", calls=(("clock", {}),))),
    Conversation(
        "results of tools",
        _said(
            _user("Weather and time?"),
            CALLED,
            {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": '{"sky": "blue"}'}]},
            tools=[WEATHER, CLOCK],
        ),
    ),
    Conversation(
        "an image",
        _said(
            _user(
                [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
                ]
            )
        ),
    ),
    Conversation(
        "a JSON schema",
        _said(
            _user("Who?"),
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "person", "strict": True, "schema": PERSON},
            },
        ),
        Reply(text='{"name": "Ada"}'),
    ),
    Conversation(
        "a JSON object", _said(_user("JSON?"), response_format={"type": "json_object"}), Reply(text='{"a":1}')
    ),
    Conversation("a stop text", _said(_user("Count"), stop="4"), Reply(text="1 2 3 ")),
    Conversation("several stop texts", _said(_user("Count"), stop=["4", "5"]), Reply(text="1 2 3 ")),
    Conversation("the length reached", _said(_user("Count"), max_tokens=3), Reply(text="1 2", finish="length")),
    Conversation("max_completion_tokens", _said(_user("Count"), max_completion_tokens=3), Reply(finish="length")),
    Conversation("reasoning", _said(_user("Why?")), Reply(text="Because.", reasoning="The user asks why.")),
    Conversation("nothing said", _said(_user("Say nothing")), Reply(text="", usage=(5, 0))),
    Conversation("no usage", _said(_user("Hello")), Reply(usage=None)),
    Conversation("two choices", _said(_user("Hello"), n=2)),
    Conversation(
        "two choices with tools", _said(_user("Time?"), n=2, tools=[CLOCK]), Reply(text="", calls=(("clock", {}),))
    ),
    *(
        Conversation(f"unicode in pieces of {size}", _said(_user(UNICODE)), Reply(text=UNICODE), size)
        for size in (1, 2, 3, 7, 1000)
    ),
    Conversation("200 kB of prompt", _said(_user("prompt " * 30_000))),
    Conversation("50 kB of answer", _said(_user("Go on")), Reply(text="answer é " * 5_500), 4096),
)
