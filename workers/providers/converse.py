"""A chat request in the words of Bedrock's Converse, and in those of the model's maker where Converse has none."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson

from mesh.errors import RequestError
from workers.providers import parts, schemas
from workers.providers.adapter import Call

CLAUDE = "anthropic.claude"
GPT_OSS = "openai.gpt-oss"
NOVA_2 = "amazon.nova-2"
THINKERS = (CLAUDE, GPT_OSS, NOVA_2)

# Where each maker's models look for top_k in additionalModelRequestFields.
TOP_K: Mapping[str, tuple[str, ...]] = {
    CLAUDE: ("top_k",),
    "amazon.nova": ("inferenceConfig", "topK"),
    "mistral.": ("top_k",),
    "cohere.command": ("k",),
}

# Claude before 4.6 thinks for a number of tokens; later ones decide for themselves, more or less by their effort.
BUDGETED = (
    "claude-3-7",
    "claude-sonnet-4-2",
    "claude-opus-4-2",
    "claude-opus-4-1-",
    "claude-sonnet-4-5",
    "claude-opus-4-5",
    "claude-haiku-4-5",
)
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768}
LEAST_BUDGET = 1024
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh"}
THREE_EFFORTS = {**EFFORTS, "xhigh": "high"}

# These know no outputConfig.textFormat and no strict tools, but can be made to call a tool: the schema is its input.
WITHOUT_STRUCTURE = (
    "amazon.nova",
    "claude-3",
    "claude-sonnet-4-2",
    "claude-opus-4-2",
    "claude-opus-4-1-",
    "mistral.mistral-large-2",
    "mistral.mistral-small-2",
    "mistral.pixtral",
)

TIERS = ("default", "flex", "priority")

IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}

# Converse wants the user to begin. A conversation that does not is one all the same: this stands for what was not said.
NO_WORDS = "."

_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")


def is_of(model: str, marks: tuple[str, ...]) -> bool:
    """Whether the name of a model, an inference profile or an ARN has one of these in it."""
    return any(mark in model for mark in marks)


def cannot(param: str, what: str) -> RequestError:
    return RequestError(f"Bedrock does not take {what}", param=param, code="unsupported_content")


def json_tool(call: Call) -> str | None:
    """The tool whose input is the answer, where JSON is wanted and there is no other way to insist on it."""
    shape = call.body.get("response_format") or {}
    if shape.get("type") not in ("json_object", "json_schema"):
        return None
    schema = (shape.get("json_schema") or {}).get("schema") or {}
    # A text is held only to a schema that names every key; that of any JSON object names none.
    if schemas.closed(schema) and not is_of(call.model, WITHOUT_STRUCTURE):
        return None
    taken = {(tool.get("function") or {}).get("name") for tool in call.body.get("tools") or ()}
    name = "answer"
    while name in taken:
        name += "_"
    return name


def prompted(call: Call, prompt: str) -> dict[str, Any]:
    """A plain completion: what the model says to a conversation of this one message."""
    return _with_settings(call, {"messages": [{"role": "user", "content": [{"text": prompt}]}]}, {})


def request(call: Call) -> dict[str, Any]:
    body = call.body
    system, turns, called = _turns(body["messages"])
    sent: dict[str, Any] = {"messages": turns}
    if system:
        sent["system"] = system
    fields: dict[str, Any] = {}
    _format(call, sent)
    _tools(call, called, sent, fields)
    _think(call, turns, sent, fields)
    return _with_settings(call, sent, fields)


def _with_settings(call: Call, sent: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """What is the same for every kind of conversation. `fields` are the model's own."""
    body = call.body
    settings = sent.setdefault("inferenceConfig", {})
    for name, ours in (("temperature", "temperature"), ("top_p", "topP")):
        if body.get(name) is not None:
            settings[ours] = body[name]
    stop = body.get("stop")
    if stop:
        settings["stopSequences"] = [stop] if isinstance(stop, str) else stop
    limit = _limit(body)
    if limit is not None:
        settings["maxTokens"] = limit
    if not settings:
        del sent["inferenceConfig"]
    if body.get("top_k") is not None:
        *above, last = next(path for mark, path in TOP_K.items() if mark in call.model)
        place = fields
        for name in above:
            place = place.setdefault(name, {})
        place[last] = body["top_k"]
    if fields:
        sent["additionalModelRequestFields"] = fields
    if body.get("metadata"):
        sent["requestMetadata"] = _metadata(body["metadata"])
    tier = body.get("service_tier")
    if tier in TIERS:
        sent["serviceTier"] = {"type": tier}
    for name in ("performanceConfig", "guardrailConfig"):
        if body.get(name) is not None:
            sent[name] = body[name]
    return sent


def _limit(body: Mapping[str, Any]) -> int | None:
    limit: int | None = body.get("max_completion_tokens") or body.get("max_tokens")
    return limit


def _metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    for name, value in metadata.items():
        if not (name and isinstance(value, str) and _METADATA.fullmatch(name) and _METADATA.fullmatch(value)):
            raise RequestError(
                "Bedrock's metadata is of at most 256 letters, digits, spaces and :_@$#=/+,.-", param=f"metadata.{name}"
            )
    return dict(metadata)


def _format(call: Call, sent: dict[str, Any]) -> None:
    shape = call.body.get("response_format") or {}
    match shape.get("type"):
        case None | "text" | "json_object":
            return
        case "json_schema":
            wanted = shape.get("json_schema") or {}
            if not isinstance(wanted.get("schema"), dict):
                raise RequestError("json_schema has no schema", param="response_format.json_schema.schema")
            if json_tool(call):
                return
            said = {name: wanted[name] for name in ("name", "description") if wanted.get(name)}
            schema = {"schema": orjson.dumps(schemas.strict(wanted["schema"])).decode(), **said}
            sent["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
        case other:
            raise cannot("response_format", f"a response_format of type {other}")


def _tools(call: Call, called: Mapping[str, str], sent: dict[str, Any], fields: dict[str, Any]) -> None:
    """`called`: the tools of the conversation so far. Where there are any Converse insists on a toolConfig."""
    body, claude = call.body, CLAUDE in call.model
    specs: list[dict[str, Any]] = []
    for index, tool in enumerate(body.get("tools") or ()):
        specs += _tool(call.model, tool, f"tools[{index}]")
    choice = _choice(body.get("tool_choice")) if specs else {"none": {}}
    answer = json_tool(call)
    if "none" in choice:
        if answer is None and not called:
            return
        if answer is None and not claude:
            raise RequestError(
                "once tools stand in the conversation this model cannot be kept from calling them: "
                "send tools, and a tool_choice other than none",
                param="tool_choice",
            )
        names = {spec["toolSpec"]["name"] for spec in specs if "toolSpec" in spec}
        specs += [_spec(name) for name in dict.fromkeys(called.values()) if name not in names]
    if answer is not None:
        specs.append(_spec(answer, **_answer_schema(body["response_format"])))
        if "none" in choice or len(specs) == 1:
            choice = {"tool": {"name": answer}}
        elif "tool" not in choice:
            choice = {"any": {}}
    config: dict[str, Any] = {"tools": specs}
    if claude and ("none" in choice or body.get("parallel_tool_calls") is False):
        # Only its own words have these two.
        ((kind, more),) = (choice or {"auto": {}}).items()
        fields["tool_choice"] = {"type": kind, **more}
        if kind != "none":
            fields["tool_choice"]["disable_parallel_tool_use"] = True
    elif choice:
        config["toolChoice"] = choice
    sent["toolConfig"] = config


def _tool(model: str, tool: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    if tool.get("type") != "function":
        raise cannot(place, f"a tool of type {tool.get('type')}")
    function = tool["function"]
    spec = _spec(function["name"], function.get("description"), function.get("parameters"))
    if function.get("strict") and not is_of(model, WITHOUT_STRUCTURE):
        spec["toolSpec"]["strict"] = True
    return [spec, *_cache_point(tool)]


def _spec(name: str, description: str | None = None, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": name, "inputSchema": {"json": schema or {"type": "object", "properties": {}}}}
    if description:
        spec["description"] = description
    return {"toolSpec": spec}


def _answer_schema(response_format: Mapping[str, Any]) -> dict[str, Any]:
    wanted = response_format.get("json_schema") or {}
    said = wanted.get("description") or wanted.get("name")
    description = f"Give the whole answer by calling this{f': {said}' if said else ''}."
    return {"description": description, "schema": wanted.get("schema") or {"type": "object"}}


def _choice(choice: Any) -> dict[str, Any]:
    """Converse's toolChoice; empty where nothing was said, and with the key `none`, which it has not."""
    match choice:
        case None:
            return {}
        case "auto" | "none":
            return {choice: {}}
        case "required":
            return {"any": {}}
        case {"type": "function", "function": {"name": str(name)}}:
            return {"tool": {"name": name}}
        case _:
            raise cannot("tool_choice", "this tool_choice: it is auto, none, required or a function by its name")


def _think(call: Call, turns: list[dict[str, Any]], sent: dict[str, Any], fields: dict[str, Any]) -> None:
    body, model = call.body, call.model
    if body.get("thinking") is not None:
        fields["thinking"] = body["thinking"]
        return
    effort = body.get("reasoning_effort")
    if effort is None:
        return
    if effort != "none" and effort not in EFFORTS:
        raise RequestError(f"reasoning_effort is one of none, {', '.join(EFFORTS)}", param="reasoning_effort")
    if GPT_OSS in model:
        # It always reasons.
        fields["reasoning_effort"] = THREE_EFFORTS.get(effort, "low")
    elif NOVA_2 in model:
        on = {"type": "enabled", "maxReasoningEffort": THREE_EFFORTS.get(effort)}
        fields["reasoningConfig"] = {"type": "disabled"} if effort == "none" else on
    elif CLAUDE not in model or effort == "none" or _goes_on(turns):
        return
    elif is_of(model, BUDGETED):
        limit = _limit(body)
        if limit is not None and limit <= LEAST_BUDGET:
            raise RequestError(
                f"to think, this model needs more than {LEAST_BUDGET} tokens", param="max_completion_tokens"
            )
        budget = BUDGETS[effort] if limit is None else min(BUDGETS[effort], max(LEAST_BUDGET, limit // 2))
        fields["thinking"] = {"type": "enabled", "budget_tokens": budget}
        if limit is None:
            sent["inferenceConfig"] = {"maxTokens": budget + call.default_max_tokens}
    else:
        fields["thinking"] = {"type": "adaptive", "display": "summarized"}
        sent.setdefault("outputConfig", {})["effort"] = EFFORTS[effort]


def _goes_on(turns: list[dict[str, Any]]) -> bool:
    """Whether the model is between a tool call and its answer. There Claude wants its thoughts from before the call
    back with their signature, which OpenAI's API has no place for, so it goes on without thinking."""
    return any("toolResult" in block for block in turns[-1]["content"])


def _turns(
    messages: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, str]]:
    """The system blocks, the turns, and the tools' names by the ids of their calls."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    titles: set[str] = set()
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        role = message["role"]
        blocks = _content(message.get("content"), f"{place}.content", titles)
        blocks += _cache_point(message)
        if role in ("system", "developer"):
            for number, block in enumerate(blocks):
                if "text" not in block and "cachePoint" not in block:
                    raise cannot(f"{place}.content[{number}]", f"anything but text in a message of the role {role}")
            system += blocks
            continue
        if role == "assistant":
            if message.get("refusal") and not blocks:
                blocks.append({"text": message["refusal"]})
            for number, each in enumerate(message.get("tool_calls") or ()):
                blocks.append(_tool_use(each, f"{place}.tool_calls[{number}]", called))
        elif role == "tool":
            given = message.get("tool_call_id")
            if given not in called:
                raise RequestError(
                    f"no message before this one calls a tool with the id {given!r}", param=f"{place}.tool_call_id"
                )
            points = [block for block in blocks if "cachePoint" in block]
            content = [block for block in blocks if "cachePoint" not in block]
            blocks = [{"toolResult": {"toolUseId": _tool_id(given), "content": content}}, *points]
        elif role != "user":
            raise cannot(f"{place}.role", f"a message of the role {role}")
        turn = "assistant" if role == "assistant" else "user"
        if turns and turns[-1]["role"] == turn:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": turn, "content": blocks})
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [{"text": NO_WORDS}]})
    order = {_tool_id(each): place for place, each in enumerate(called)}
    for one in turns:
        if one["role"] == "user" and len(one["content"]) > 1:
            # Claude wants the results first; in the order of their calls they read best to any model.
            one["content"].sort(key=lambda block: order.get(block.get("toolResult", {}).get("toolUseId"), len(order)))
    return system, turns, called


def _content(content: Any, place: str, titles: set[str]) -> list[dict[str, Any]]:
    """Blocks; a text of nothing but white space is none, because Converse refuses it."""
    if content is None or isinstance(content, str):
        return [{"text": content}] if content and not content.isspace() else []
    blocks: list[dict[str, Any]] = []
    for index, part in enumerate(content):
        here = f"{place}[{index}]"
        match part.get("type"):
            case "text" | "refusal" as kind:
                if part[kind] and not part[kind].isspace():
                    blocks.append({"text": part[kind]})
            case "image_url":
                blocks.append({"image": _image(part["image_url"]["url"], here)})
            case "file":
                blocks.append({"document": _document(part["file"], here, titles)})
            case "input_audio":
                form = part["input_audio"]["format"]
                _, data = parts.data_url(f"data:audio/{form};base64,{part['input_audio']['data']}", here)
                blocks.append({"audio": {"format": form, "source": _source(data, here)}})
            case other:
                raise cannot(here, f"content of type {other}")
        blocks += _cache_point(part)
    return blocks


def _cache_point(holder: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Anthropic's `cache_control` stands in what ends the cached part, Converse's point behind it."""
    control = holder.get("cache_control")
    if not control:
        return []
    ttl = {"ttl": control["ttl"]} if control.get("ttl") else {}
    return [{"cachePoint": {"type": "default", **ttl}}]


def _document(file: Mapping[str, Any], place: str, titles: set[str]) -> dict[str, Any]:
    if not file.get("file_data"):
        raise cannot(place, "a file by its id: send its file_data")
    kind, data = parts.data_url(file["file_data"], place)
    name = file.get("filename") or ""
    ending = name.rpartition(".")[2].lower()
    form = DOCUMENTS.get(kind) or (ending if ending in DOCUMENTS.values() else None)
    if form is None:
        raise cannot(place, f"a file of type {kind}: it is one of {', '.join(DOCUMENTS.values())}")
    return {"format": form, "name": _title(name, titles), "source": _source(data, place)}


def _title(filename: str, titles: set[str]) -> str:
    """Bedrock takes few characters in a document's name, and no name twice."""
    stem = filename.rpartition(".")[0] or filename
    plain = " ".join(re.sub(r"[^a-zA-Z0-9()\[\]\s-]", " ", stem).split())[:190].strip() or "document"
    title, number = plain, 1
    while title in titles:
        number += 1
        title = f"{plain} {number}"
    titles.add(title)
    return title


def _image(text: str, place: str) -> dict[str, Any]:
    if text[:5].lower() != "data:":
        raise RequestError("Bedrock takes images as data URLs only", param=place, code="unsupported_content")
    kind, data = parts.data_url(text, place)
    if kind not in IMAGES:
        raise cannot(place, f"images of type {kind or 'unknown'}")
    return {"format": IMAGES[kind], "source": _source(data, place)}


def _source(data: str, place: str) -> dict[str, bytes]:
    """boto3 wants bytes, and makes base64 of them again."""
    if not data:
        raise RequestError("there is nothing in this data URL", param=place)
    return {"bytes": base64.b64decode(data)}


def _tool_use(call: Mapping[str, Any], place: str, called: dict[str, str]) -> dict[str, Any]:
    if call.get("type", "function") != "function":
        raise cannot(place, f"a tool call of type {call['type']}")
    function = call["function"]
    arguments = parts.arguments(function, place)
    called[call["id"]] = function["name"]
    return {"toolUse": {"toolUseId": _tool_id(call["id"]), "name": function["name"], "input": arguments}}


def _tool_id(given: str) -> str:
    """The same id, unless it has what Bedrock refuses: then one made of it, the same each time."""
    if _ID.fullmatch(given):
        return given
    return f"call_{hashlib.blake2s(given.encode(), digest_size=12).hexdigest()}"
