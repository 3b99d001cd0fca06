"""A conversation as Anthropic holds one: a system apart, and two who take turns, in blocks."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from mesh.errors import RequestError
from workers.providers import parts

IMAGES = {each: each for each in ("image/jpeg", "image/png", "image/gif", "image/webp")} | {"image/jpg": "image/jpeg"}
ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NO_WORDS = "."  # a turn must hold some text that is not white space


def alternating(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The system's blocks, and turns of user and assistant in which no role follows itself and the user comes first.

    Raises:
        RequestError: a message holds what Anthropic does not take, with its place as `param`.
    """
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    called: dict[str, int] = {}  # the tool calls so far, by id, in their order
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        role = message["role"]
        if role in ("system", "developer"):
            system += _texts(message, place)
            continue
        if role == "assistant":
            blocks = _said(message, place, called)
        elif role == "tool":
            blocks = [_result(message, place, called)]
        elif role == "user":
            blocks = _blocks(message, place)
        else:
            raise cannot(f"{place}.role", f"a message of role {role}")
        role = "assistant" if role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns or turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [_text(NO_WORDS)]})
    for turn in turns:
        if turn["role"] == "user" and len(turn["content"]) > 1:
            turn["content"].sort(key=lambda block: called.get(block.get("tool_use_id", ""), len(called)))
    return system, turns


def _said(message: Mapping[str, Any], place: str, called: dict[str, int]) -> list[dict[str, Any]]:
    if message.get("audio") or message.get("function_call"):
        raise cannot(place, "spoken answers or calls of the deprecated kind")
    blocks = _blocks(message, place)
    if message.get("refusal") and not blocks:
        blocks.append(_text(message["refusal"]))
    for number, each in enumerate(message.get("tool_calls") or ()):
        at = f"{place}.tool_calls[{number}]"
        if each.get("type", "function") != "function":
            raise cannot(at, f"a tool call of type {each['type']}")
        function = each["function"]
        name = _id(each["id"])
        called[name] = len(called)
        blocks.append(
            {"type": "tool_use", "id": name, "name": function["name"], "input": parts.arguments(function, at)}
        )
    return blocks


def _result(message: Mapping[str, Any], place: str, called: Mapping[str, int]) -> dict[str, Any]:
    name = _id(message.get("tool_call_id") or "")
    if name not in called:
        raise RequestError(
            f"no message before this one calls a tool with the id {message.get('tool_call_id')!r}",
            param=f"{place}.tool_call_id",
        )
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": name}
    blocks = _blocks(message, place)
    if blocks:
        result["content"] = blocks
        # A point of the cache stands on the result itself.
        if "cache_control" in blocks[-1]:
            result["cache_control"] = blocks[-1].pop("cache_control")
    return result


def _id(text: str) -> str:
    """An id that Anthropic takes: its own as they are, and in place of another's odd one always the same."""
    if ID.fullmatch(text):
        return text
    return f"toolu_{hashlib.blake2s(text.encode(), digest_size=12).hexdigest()}"


def _texts(message: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    blocks = _blocks(message, place)
    for block in blocks:
        if block["type"] != "text":
            raise cannot(f"{place}.content", f"a system message with a part of type {block['type']}")
    return blocks


def _blocks(message: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    """A message's content without texts that hold nothing, which Anthropic refuses."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        blocks = [_text(content)] if content and not content.isspace() else []
    else:
        blocks = [
            _block(part, f"{place}.content[{index}]")
            for index, part in enumerate(content)
            if part.get("type") != "text" or (part["text"] and not part["text"].isspace())
        ]
    if blocks and message.get("cache_control"):
        blocks[-1]["cache_control"] = message["cache_control"]
    return blocks


def _block(part: Mapping[str, Any], place: str) -> dict[str, Any]:
    match part.get("type"):
        case "text":
            block = _text(part["text"])
        case "refusal":
            block = _text(part["refusal"] or NO_WORDS)
        case "image_url":
            block = {"type": "image", "source": _image(part["image_url"]["url"], place)}
        case "file":
            block = _document(part["file"], place)
        case other:
            raise cannot(place, f"content of type {other}")
    if part.get("cache_control"):
        block["cache_control"] = part["cache_control"]
    elif part.get("prompt_cache_breakpoint"):
        # OpenAI's points last half an hour or half a day, Anthropic's five minutes or an hour.
        long = part["prompt_cache_breakpoint"].get("ttl")
        block["cache_control"] = {"type": "ephemeral", **({"ttl": "1h"} if long else {})}
    return block


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(text: str, place: str) -> dict[str, Any]:
    if text[:8].lower() == "https://":
        return {"type": "url", "url": text}
    if text[:5].lower() != "data:":
        raise RequestError(
            "Anthropic takes images from https and data URLs only", param=place, code="unsupported_content"
        )
    media_type, data = parts.data_url(text, place)
    if media_type not in IMAGES:
        raise cannot(place, f"images of type {media_type or 'unknown'}")
    return {"type": "base64", "media_type": IMAGES[media_type], "data": data}


def _document(file: Mapping[str, Any], place: str) -> dict[str, Any]:
    if not file.get("file_data"):
        raise cannot(place, "the id of a file that lies elsewhere; send its file_data")
    media_type, data = parts.data_url(file["file_data"], place)
    if media_type == "application/pdf":
        source = {"type": "base64", "media_type": media_type, "data": data}
    elif media_type.startswith("text/"):
        try:
            text = base64.b64decode(data).decode()
        except UnicodeDecodeError as error:
            raise RequestError("a file of text must be UTF-8", param=place) from error
        source = {"type": "text", "media_type": "text/plain", "data": text}
    else:
        raise cannot(place, f"files of type {media_type or 'unknown'}")
    document: dict[str, Any] = {"type": "document", "source": source}
    if file.get("filename"):
        document["title"] = file["filename"]
    return document


def cannot(param: str, what: str) -> RequestError:
    return RequestError(f"Anthropic does not take {what}", param=param, code="unsupported_content")
