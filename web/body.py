"""The body of the request that is being answered, as bytes and never more of them than the config allows."""

from __future__ import annotations

from flask import request

from mesh import errors


def read(most_bytes: int) -> bytes:
    """
    Raises:
        BodyTooLarge: there is more. Where the length was told, Flask has said so before.
    """
    raw = request.get_data(cache=False)
    # Werkzeug reads a body of unknown length up to the limit and leaves the rest without a word.
    if len(raw) >= most_bytes and request.content_length is None:
        raise errors.BodyTooLarge("The request's body is larger than this gateway takes.")
    return raw
