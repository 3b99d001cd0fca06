"""Every exception class of each SDK, and of what it is built on, is one of ours: none can pass through a transport."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import anthropic
import boto3.exceptions
import botocore.eventstream
import botocore.exceptions
import botocore.parsers
import httpx
import httpx2
import ollama
import openai
import pydantic
import pytest
import urllib3.exceptions
from openai.types.chat import ChatCompletion

from mesh.errors import GatewayError, ProviderError
from workers.providers import ADAPTERS
from workers.transports.faults import Refusal

COMPLETION = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}

# Those that no call of ours can meet: they belong to features that we do not use.
ELSEWHERE_MODULES = ("anthropic.lib._extras", "anthropic.lib.foundry", "anthropic.lib.tools")
ELSEWHERE = {
    openai.InvalidWebhookSignatureError,
    httpx.CookieConflict,
    httpx2.CookieConflict,
}


def _classes(module: ModuleType) -> Iterator[type[Exception]]:
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if (
            issubclass(kind, Exception)
            and not issubclass(kind, Warning)
            and kind.__module__.startswith(module.__name__)
        ):
            yield from (each for each in (kind, *_below(kind)) if not each.__module__.startswith(ELSEWHERE_MODULES))


def _below(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _openai(kind: type[Exception]) -> Exception:
    request = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")
    response = httpx2.Response(418, request=request, json={"error": {"message": "no"}})
    known: dict[str, Any] = {
        "request": request,
        "response": response,
        "body": {"message": "no"},
        "message": "no",
        "unsent_messages": [],
        "symbol": "Completion",
        "reason": "incomplete",
        "turn": None,
        "session_id": "one",
        "messages": [],
        "required_actions": [],
        "completion": ChatCompletion.model_validate(COMPLETION),
    }
    return _made(kind, known)


def _anthropic(kind: type[Exception]) -> Exception:
    request = httpx2.Request("POST", "http://127.0.0.1/v1/messages")
    body = {"type": "error", "error": {"type": "api_error", "message": "no"}}
    response = httpx2.Response(418, request=request, json=body)
    return _made(kind, {"request": request, "response": response, "body": body, "message": "no"})


def _ollama(kind: type[Exception]) -> Exception:
    request = httpx.Request("POST", "http://127.0.0.1/api/chat")
    response = httpx.Response(418, request=request, json={"error": "no"})
    return _made(kind, {"request": request, "response": response, "message": "no", "error": "no"})


def _bedrock(kind: type[Exception]) -> Exception:
    if issubclass(kind, botocore.exceptions.ClientError):
        return kind({"Error": {"Code": "ThrottlingException", "Message": "no"}}, "Converse")
    # Three packages with as many ways to be made, and nothing but their class is asked for.
    return kind.__new__(kind, "no")


def _made(kind: type[Exception], known: dict[str, Any]) -> Exception:
    if kind.__init__ is Exception.__init__:
        return kind("no")
    parameters = inspect.signature(kind).parameters.values()
    given = {each.name: known[each.name] for each in parameters if each.name in known}
    needed = [each for each in parameters if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    if all(each.name in given or each.kind is each.VAR_KEYWORD for each in needed):
        positional = [given.pop(each.name) for each in needed if each.kind is each.POSITIONAL_OR_KEYWORD]
        return kind(*positional, **given)
    return kind("no")


MAKERS: dict[str, tuple[Callable[[type[Exception]], Exception], tuple[ModuleType, ...]]] = {
    "openai": (_openai, (openai, httpx2)),
    "ollama": (_ollama, (ollama, httpx)),
    "anthropic": (_anthropic, (anthropic, httpx2)),
    "bedrock": (
        _bedrock,
        (botocore.exceptions, botocore.eventstream, botocore.parsers, boto3.exceptions, urllib3.exceptions),
    ),
}

CASES = [
    pytest.param(name, kind, id=f"{name}-{kind.__module__.partition('.')[0]}.{kind.__name__}")
    for name, (_, modules) in MAKERS.items()
    for kind in sorted(
        {kind for module in modules for kind in _classes(module)} - ELSEWHERE,
        key=lambda kind: (kind.__name__, kind.__module__),
    )
]


def test_every_adapter_has_its_sdk_walked() -> None:
    assert set(MAKERS) == set(ADAPTERS)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_an_exception_of_an_sdk_is_one_of_ours(name: str, kind: type[Exception]) -> None:
    sdk = importlib.import_module(f"workers.providers.sdk.{name}")
    error = MAKERS[name][0](kind)

    assert isinstance(error, sdk.RAISED), f"{kind} would pass through the transport"
    translated = sdk.translated(error, "up")
    if isinstance(translated, Refusal):
        translated = ADAPTERS[name].refused(translated, "up", "model")
    assert isinstance(translated, ProviderError)
    assert translated.message


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize(
    "error",
    [
        json.JSONDecodeError("no", "{", 0),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_leaks_from_below_an_sdk_is_one_of_ours(name: str, error: Exception) -> None:
    sdk = importlib.import_module(f"workers.providers.sdk.{name}")

    assert isinstance(error, sdk.RAISED)
    assert isinstance(sdk.translated(error, "up"), GatewayError)


def test_ollamas_own_types_failing_is_one_of_ours() -> None:
    sdk = importlib.import_module("workers.providers.sdk.ollama")
    with pytest.raises(pydantic.ValidationError) as caught:
        ollama.ChatResponse.model_validate({"message": 5})

    assert isinstance(caught.value, sdk.RAISED)
    assert isinstance(sdk.translated(caught.value, "up"), GatewayError)
