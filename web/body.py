"""A request's body, as bytes and never more of them than the configuration allows."""

from __future__ import annotations

from typing import Any

from mesh import errors


def read(environ: dict[str, Any], most_bytes: int) -> bytes:
    """
    Raises:
        BodyTooLarge: there is more.
        RequestError: there is less than its Content-Length says.
    """
    told = environ.get("CONTENT_LENGTH")
    length = int(told) if told else None  # gunicorn has refused what is no number
    if length is not None and length > most_bytes:
        raise _too_large(most_bytes)
    raw: bytes = environ["wsgi.input"].read(most_bytes + 1 if length is None else length)
    if len(raw) > most_bytes:
        raise _too_large(most_bytes)
    if length is not None and len(raw) < length:
        raise errors.RequestError("The request's body ended before its Content-Length.", code="request_cut")
    return raw


def _too_large(most_bytes: int) -> errors.BodyTooLarge:
    return errors.BodyTooLarge(f"The request's body is larger than the {most_bytes:,} bytes that this gateway takes.")
