"""What a caller may ask of the gateway itself, in the body or as an `X-Gateway-*` header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from mesh.errors import RequestError
from web.requests.refusals import refuse

Target = Annotated[str, Field(min_length=1, max_length=256)]


class GatewayParameters(TypedDict, total=False):
    private: Annotated[bool | None, Field(description="Only providers marked private may see this request.")]
    max_cost: Annotated[float | None, Field(gt=0, le=1_000_000, description="US dollars that this request may cost.")]
    provider: Annotated[str | None, Field(min_length=1, max_length=64, description="Ask this provider and no other.")]
    fallbacks: Annotated[
        list[Target] | None,
        Field(max_length=8, fail_fast=True, description="Models, or `provider/model`, to try next, in order."),
    ]
    timeout_ms: Annotated[int | None, Field(ge=1, description="After this time an answer is useless.")]
    max_wait: Annotated[
        int | None,
        Field(ge=0, le=600_000, description="Milliseconds to wait where a limit is reached, rather than be refused."),
    ]
    priority: Annotated[
        Literal["interactive", "batch"] | None, Field(description="The class of lane that it waits in.")
    ]
    disconnect: Annotated[Literal["cancel", "continue"] | None, Field(description="What a hang-up does to the job.")]
    rerun: Annotated[
        bool | None,
        Field(description="False: not sent again where its worker was lost and nobody knows what became of it."),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFields:
    """The same, read; None where the caller did not say."""

    private: bool | None = None
    max_cost: Decimal | None = None  # US dollars
    provider: str | None = None
    fallbacks: tuple[str, ...] | None = None  # empty: none, not even the configured ones
    timeout_ms: int | None = None
    max_wait: int | None = None  # milliseconds
    priority: Literal["interactive", "batch"] | None = None
    disconnect: Literal["cancel", "continue"] | None = None
    rerun: bool | None = None


ABSENT = GatewayFields()
NAMES = frozenset(GatewayParameters.__annotations__)
HEADERS = {name: "X-Gateway-" + name.replace("_", "-").title() for name in GatewayParameters.__annotations__}
ENVIRON = {"HTTP_" + header.replace("-", "_").upper(): header for header in HEADERS.values()}
SCALARS = {"private", "max_cost", "timeout_ms", "max_wait", "rerun"}  # written in a header as in JSON

_validate = TypeAdapter(GatewayParameters).validator.validate_python


def headers_in(environ: Mapping[str, Any]) -> dict[str, str]:
    """The gateway's headers of a WSGI environment; a tenth of what Werkzeug's `headers` costs.

    Raises:
        RequestError: an X-Gateway- header that there is not: a misspelt X-Gateway-Private would protect nothing.
    """
    given = {}
    for key in environ:
        if key.startswith("HTTP_X_GATEWAY_"):
            header = ENVIRON.get(key)
            if header is None:
                name = key.removeprefix("HTTP_").replace("_", "-").title()
                raise RequestError(
                    f"Unknown header: '{name}'. The gateway's are {', '.join(ENVIRON.values())}.",
                    param=name,
                    code="unknown_parameter",
                )
            given[header] = environ[key]
    return given


def from_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """The fields that the headers give, as they would stand in a body.

    Raises:
        RequestError: a value is of the wrong type or out of bounds.
    """
    given = {name: _read(name, text) for name, header in HEADERS.items() if (text := headers.get(header)) is not None}
    if given:
        try:
            _validate(given, strict=True)
        except ValidationError as error:
            raise refuse(error) from None
    return given


def combine(body: Mapping[str, Any], headers: Mapping[str, Any], max_timeout_ms: int) -> GatewayFields:
    """One answer from what body and headers say, both validated before; a null in the body says nothing.

    Raises:
        RequestError: they differ, or ask for more time than is allowed.
    """
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in headers.items():
        if given.setdefault(name, value) != value:
            raise RequestError(
                f"'{name}' in the body and the header {HEADERS[name]} have different values.",
                param=name,
                code="conflicting_values",
            )
    if not given:
        return ABSENT
    if given.get("timeout_ms", 0) > max_timeout_ms:
        raise RequestError(
            f"Invalid 'timeout_ms': integer above maximum value. Expected a value <= {max_timeout_ms}, "
            f"but got {given['timeout_ms']} instead.",
            param="timeout_ms",
            code="integer_above_max_value",
        )
    if "max_cost" in given:
        given["max_cost"] = Decimal(str(given["max_cost"]))  # by its digits: 0.1 is a tenth, not the nearest binary
    if "fallbacks" in given:
        given["fallbacks"] = tuple(given["fallbacks"])
    return GatewayFields(**given)


def _read(name: str, text: str) -> Any:
    text = text.strip()
    if name == "fallbacks":
        return [each.strip() for each in text.split(",")] if text else []
    if name in SCALARS:
        try:
            return orjson.loads(text.lower())
        except orjson.JSONDecodeError:
            return text  # and then its type is wrong, in the words used for a body
    return text
