"""What clients may ask for: the typed bodies of the door's endpoints, and the one function that reads them.

`parse` takes bytes, `check` a document that was read before (a WebSocket frame, a line of a batch). Both give a
`Parsed` or raise one of OpenAI's errors.
"""

from web.requests.documents import read_object
from web.requests.gateway_fields import GatewayFields, headers_in
from web.requests.parsing import (
    CHAT,
    CHECK,
    COMPLETIONS,
    EMBEDDINGS,
    JOBS,
    MODERATIONS,
    ROUTE,
    Parsed,
    check,
    parse,
    read_aside,
)

__all__ = [
    "CHAT",
    "CHECK",
    "COMPLETIONS",
    "EMBEDDINGS",
    "JOBS",
    "MODERATIONS",
    "ROUTE",
    "GatewayFields",
    "Parsed",
    "check",
    "headers_in",
    "parse",
    "read_aside",
    "read_object",
]
