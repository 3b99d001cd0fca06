"""What adapters read out of the parts of a message in the same way: data URLs and the arguments of a tool call."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from mesh.errors import RequestError


def data_url(text: str, place: str) -> tuple[str, str]:
    """The media type, in small letters, and the base64 of a data URL.

    It is decoded once: what a provider says of broken base64 does not name its place.

    Raises:
        RequestError: it is no data URL, or not in base64, with `place` as its param.
    """
    head, comma, data = text.partition(",")
    scheme, _, kind = head.partition(":")
    if not comma or scheme.lower() != "data":
        raise RequestError("expected a data URL", param=place)
    media_type, *more = kind.lower().split(";")
    if "base64" not in more:
        raise RequestError("a data URL must be base64", param=place)
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise RequestError(f"the data URL is not base64: {error}", param=place) from error
    return media_type.strip(), data


def arguments(function: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The arguments of a tool call as the object that they are; an empty text is an empty object.

    Raises:
        RequestError: they are something else, with the place of the call in its param.
    """
    try:
        value = orjson.loads(function.get("arguments") or "{}")
    except orjson.JSONDecodeError as error:
        raise RequestError(f"arguments are not JSON: {error}", param=f"{place}.function.arguments") from error
    if not isinstance(value, dict):
        raise RequestError("arguments must be a JSON object", param=f"{place}.function.arguments")
    return value
