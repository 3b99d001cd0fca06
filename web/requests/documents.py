"""Bytes become a JSON object, or an error that says where they are none."""

from __future__ import annotations

import re
from array import array
from itertools import accumulate
from typing import Any

import orjson

from mesh.errors import RequestError
from web.requests.refusals import json_type

# Possessive, and content with the end of the text where a quote is missing: each byte is met once, whatever it is.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: one level in, one level out
NOT_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def read_object(raw: bytes, max_depth: int) -> dict[str, Any]:
    """The object that `raw` holds. Of equal keys the last wins; a whole number of more than 64 bits becomes a float.

    Raises:
        RequestError: `invalid_json` (also for NaN, a lone surrogate, invalid UTF-8), `json_too_deep`, or `invalid_type`
            when it is something else than an object.
    """
    # Two counts cost nothing; only a body with more brackets than levels allowed is looked at closely. Before parsing,
    # so that no parser meets what is refused.
    if raw.count(b"{") + raw.count(b"[") > max_depth and depth(raw) > max_depth:
        raise RequestError(f"The JSON body is nested more than {max_depth} levels deep.", code="json_too_deep")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if not raw.strip():
            raise RequestError("The body is empty. Send a JSON object.", code="invalid_json") from None
        # The decode error holds the whole body, which is no text for a traceback in a log.
        raise RequestError(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if type(document) is not dict:
        raise RequestError(
            f"Invalid type for the body: expected an object, but got {json_type(document)} instead.",
            code="invalid_type",
        )
    return document


def depth(raw: bytes) -> int:
    """How deep brackets nest outside strings."""
    steps = array("b", STRING.sub(b"", raw).translate(STEPS, NOT_BRACKETS))
    return max(accumulate(steps), default=0)
