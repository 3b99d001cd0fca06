"""How a request gets to a provider and its events back; what they mean is the adapter's part.

A transport knows bytes, sockets and an SDK's exceptions. It raises the errors of mesh/errors.py for what happens on
the way (unreachable, too slow to connect, cut), and `Refusal` for what the provider itself says: an adapter reads that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from workers.transports.framing import Framing


@dataclass(frozen=True, slots=True)
class Request:
    """What goes to a provider: a POST of `body`, or a GET where it is None."""

    path: str  # below the provider's URL, with a leading slash
    body: dict[str, Any] | None = None


# Given the next events while an iteration waits for them, which then goes on waiting if it answers True.
Past = Callable[[list[dict[str, Any]]], bool]
Heard = Callable[[Request, Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a transport connects to."""

    name: str  # the provider's, for the sentences of errors
    url: str  # without a slash at its end; empty: its SDK knows it
    connect_s: float
    framing: type[Framing]
    region: str = ""  # of a cloud; empty: its SDK finds out
    slots: int = 64  # calls at once, for a transport that needs a thread for each
    # Told the headers of each answer, where the provider says in them what is left of its limits.
    heard: Heard | None = None


class Transport(Protocol):
    """One provider's connections in one process; made outside a running loop if need be, used inside one."""

    async def send(self, request: Request, headers: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object that answers a request.

        Raises:
            Refusal: the provider answered with an error.
            ProviderError: the connection failed; before the answer began (`ProviderUnavailable`), or in its middle
                (`ProviderBrokeOff`).
        """

    def stream(
        self, request: Request, headers: Mapping[str, str], past: Past | None = None
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        """The events of an answer as they arrive, those of one read together; closing it closes the connection.

        past: takes as many of them as the transport cares to give it; what it raises is raised here.

        It simply ends where the provider ends: whether that was the end of the answer is for the adapter to say.
        Raises what `send` raises. An error inside the stream may also come as an event with the key `error`.
        """

    async def aclose(self) -> None: ...


OpenTransport = Callable[[Upstream], Transport]
