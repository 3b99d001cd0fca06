"""A request's bytes become a body that any provider can be asked with, and the gateway's own fields apart from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Required, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from mesh.errors import NotFound, RequestError
from mesh.settings import RequestLimits
from web.requests import gateway_fields, rules
from web.requests.chat import ChatRequest
from web.requests.completions import CompletionRequest
from web.requests.documents import read_object
from web.requests.embeddings import EmbeddingRequest
from web.requests.gateway_fields import GatewayFields
from web.requests.guard import CheckRequest, ModerationRequest
from web.requests.jobs import JobRequest
from web.requests.refusals import param, refuse

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
JOBS = "/v1/jobs"
MODERATIONS = "/v1/moderations"
CHECK = "/v1/guard/check"
ROUTE = "/v1/route"

Sorted = tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]  # the provider's, the gateway's, what was dropped


@dataclass(frozen=True, slots=True)
class Parsed:
    """A request that may be guarded, routed and submitted."""

    endpoint: str  # of a job: the one that it names
    body: dict[str, Any]  # as it was sent, without the gateway's fields and without nulls that mean nothing
    fields: GatewayFields
    dropped: tuple[str, ...] = ()  # unknown parameters that were left out, by policy


@dataclass(frozen=True, slots=True)
class Shape:
    """What one endpoint takes."""

    validate: Callable[..., object]
    parameters: Set[str]  # the parameters' names, without the gateway's own
    required: Set[str]
    rules: tuple[rules.Rule, ...]


def _shape(kind: Any, demands: tuple[rules.Rule, ...]) -> Shape:
    validate = TypeAdapter(kind).validator.validate_python
    hints = get_type_hints(kind, include_extras=True)
    # Not `__required_keys__`: it is empty where annotations are postponed.
    required = frozenset(name for name, hint in hints.items() if get_origin(hint) is Required)
    return Shape(validate, hints.keys() - gateway_fields.NAMES, required, demands)


SHAPES = {
    CHAT: _shape(ChatRequest, rules.CHAT),
    COMPLETIONS: _shape(CompletionRequest, rules.COMPLETIONS),
    EMBEDDINGS: _shape(EmbeddingRequest, rules.EMBEDDINGS),
}
JOB = _shape(JobRequest, ())
ASIDE = {MODERATIONS: _shape(ModerationRequest, ()), CHECK: _shape(CheckRequest, ())}


def parse(endpoint: str, raw: bytes, limits: RequestLimits, headers: Mapping[str, str]) -> Parsed:
    """Read and check a body whose size was checked before.

    headers: X-Gateway-* by these names; `headers_in(environ)` gives them cheaply.

    Raises:
        RequestError: with OpenAI's code and the path of the parameter.
    """
    return check(endpoint, read_object(raw, limits.max_json_depth), limits, headers)


def check(endpoint: str, document: dict[str, Any], limits: RequestLimits, headers: Mapping[str, str]) -> Parsed:
    """The same for a document that was read before; it is left as it is.

    Raises:
        RequestError: as `parse`.
        NotFound: no such endpoint.
    """
    asked = gateway_fields.from_headers(headers)
    if endpoint == ROUTE:
        document = dict(document)
        endpoint = document.pop("endpoint", CHAT)
        if not isinstance(endpoint, str) or endpoint not in SHAPES:
            raise RequestError(f"Invalid 'endpoint': expected one of {', '.join(SHAPES)}.", param="endpoint")
    if endpoint != JOBS:
        return _check(endpoint, document, limits, asked)
    _validate(JOB, document)
    for name in document:
        if name not in JOB.parameters:
            raise _unknown(name)
    try:
        return _check(document["endpoint"], document["body"], limits, asked)
    except RequestError as error:
        error.param = f"body.{error.param}" if error.param else "body"
        raise


def read_aside(endpoint: str, raw: bytes, limits: RequestLimits) -> dict[str, Any]:
    """A body that becomes no job, of one of ASIDE's endpoints.

    Raises:
        RequestError: as `parse`.
    """
    document = read_object(raw, limits.max_json_depth)
    shape = ASIDE[endpoint]
    _validate(shape, document)
    for name in document:
        if name not in shape.parameters:
            raise _unknown(name)
    return document


def _check(endpoint: str, document: dict[str, Any], limits: RequestLimits, asked: Mapping[str, Any]) -> Parsed:
    shape = SHAPES.get(endpoint)
    if shape is None:
        raise NotFound(f"There is no endpoint {endpoint[:64]!r} that takes such a body.")
    if limits.default_model and not document.get("model"):
        document = {**document, "model": limits.default_model}
    _validate(shape, document)
    # Most bodies hold nothing but OpenAI's own parameters, none of them null, and are passed on as they came.
    plain = document.keys() <= shape.parameters and None not in document.values()
    body, own, dropped = (document, {}, ()) if plain else _sort(shape, document, limits.unknown_parameters)
    for rule in shape.rules:
        rule(body)
    fields = gateway_fields.combine(own, asked, limits.max_timeout_ms) if own or asked else gateway_fields.ABSENT
    return Parsed(endpoint, body, fields, dropped)


def _validate(shape: Shape, document: dict[str, Any]) -> None:
    # Only the verdict counts: pydantic's copy would turn 1 into 1.0 and lose what it does not know inside a message.
    try:
        shape.validate(document, strict=True)
    except ValidationError as error:
        raise refuse(error) from None  # pydantic's error holds the prompt, which is no text for a traceback in a log


def _sort(shape: Shape, document: dict[str, Any], policy: str) -> Sorted:
    body: dict[str, Any] = {}
    own: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in document.items():
        if name in gateway_fields.NAMES:
            own[name] = value
        elif name in shape.parameters:
            if value is not None or name in shape.required:
                body[name] = value
        elif policy == "pass":
            body[name] = value
        elif policy == "drop":
            dropped.append(name)
        else:
            raise _unknown(name)
    return body, own, tuple(dropped)


def _unknown(name: str) -> RequestError:
    shown = param((name,))
    return RequestError(f"Unknown parameter: '{shown}'.", param=shown, code="unknown_parameter")
