"""What an adapter is, and what passes between it and the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from mesh.errors import GatewayError
from mesh.pull import Progress
from workers.transports import Request
from workers.transports.faults import Refusal
from workers.transports.framing import Framing
from workers.transports.room import RoomNames

Endpoint = Literal["chat.completions", "completions", "embeddings"]

STREAMED: Mapping[Endpoint, str] = {"chat.completions": "chat.completion.chunk", "completions": "text_completion"}
WHOLE: Mapping[Endpoint, str] = {
    "chat.completions": "chat.completion",
    "completions": "text_completion",
    "embeddings": "list",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one target."""

    endpoint: Endpoint
    model: str  # the provider's own name of the model
    public_model: str  # the name that the caller used; the answer bears it
    body: dict[str, Any]  # OpenAI's request body, validated and without gateway fields; never changed
    answer_id: str  # the id that the answer and each chunk bear
    created: int  # unix seconds, likewise
    default_max_tokens: int = 4096  # config's, for a provider that must be told a limit where the body has none


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    body: dict[str, Any]  # in OpenAI's shape, and `provider`
    usage: dict[str, Any] | None  # tokens as the provider billed them; None where it reported none
    dropped: tuple[str, ...] = ()  # parameters that the provider cannot do and that config said to drop


@dataclass(frozen=True, slots=True)
class Parameter:
    """How a provider takes one parameter of a request.

    native: under the same name and meaning. translated: by other words (`by` says which). unneeded: it asks nothing of
    the answer, so it is not sent. refused: the provider cannot do it, so config's `unsupported_parameters` decides;
    only the values in `accepts` ask for nothing beyond what is done anyway. What can be done in part names the values
    that can (`only`), or the highest number (`most`), and all others are refused; or it names marks in the names of the
    models that can (`models`), and any other model is as one that cannot.
    """

    how: Literal["native", "translated", "unneeded", "refused"]
    by: str = ""
    accepts: tuple[Any, ...] = ()
    only: tuple[Any, ...] = ()
    most: float | None = None
    models: tuple[str, ...] = ()


class Reader(Protocol):
    """Turns the events of one stream into OpenAI's chunks."""

    usage: dict[str, Any] | None  # the last that the provider reported

    def read(self, event: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """The chunks that an event is, usually one; never one that is only usage. It may change the event.

        Raises:
            Refusal: the event is an error.
        """

    @property
    def finished(self) -> bool:
        """Whether every choice has its finish_reason: a stream that ends before was broken off."""


@runtime_checkable
class Foretelling(Protocol):
    """A reader whose provider tells how long the prompt was before it answers."""

    foretold: dict[str, Any] | None  # as the prompt's part of a usage


@dataclass(slots=True)
class Tally:
    """What one stream's readers have been told of its usage, for who must know before the stream has ended."""

    readers: list[Reader] = field(default_factory=list)  # one for each of the adapter's requests, as they begin

    def usage(self) -> dict[str, Any] | None:
        """What was reported; None where a request has not been told of yet."""
        return total_usage(reader.usage for reader in self.readers)

    def prompt(self) -> dict[str, Any] | None:
        """The prompt's part of it, which may be known when the rest is not; None where it is not."""
        return total_usage(
            reader.usage or (reader.foretold if isinstance(reader, Foretelling) else None) for reader in self.readers
        )


class Adapter(Protocol):
    """A module of this folder. Pure: no clock, no socket, no state; its tests need none either.

    A shape that the provider never promised may raise KeyError, TypeError and their kin from `answer`, `models` and
    `Reader.read`: whoever calls them makes one `ProviderBrokeOff` of it.
    """

    DEFAULT_URL: str
    DIRECT: type[Framing] | None  # how its streams are framed for the direct transport; None: it has only its SDK
    SDK: str  # "module:function" of its `OpenTransport`, loaded only where config asks for it
    PARAMETERS: Mapping[Endpoint, Mapping[str, Parameter]]
    UNLISTED: Parameter  # how a parameter is taken that stands in no table
    MODELS: Request
    ROOM: RoomNames | None  # the headers that say what is left of the provider's limits; None: it says nothing
    TAKES_IMAGE_URLS: bool  # the provider fetches an image by its https URL; else it gets the bytes, as a data URL

    def url(self, text: str, /) -> str:
        """The provider's URL as a person may have written it, made whole."""

    def headers(self, key: str, /) -> dict[str, str]:
        """What proves who we are; an empty key proves nothing and must give no header."""

    def requests(self, call: Call, stream: bool, /) -> Sequence[Request]:
        """What is sent, one after another: several where the provider has no `n`, each for its own choice.

        Raises:
            RequestError: the provider has no way to say this, with `param` naming the place.
        """

    def answer(self, call: Call, bodies: list[dict[str, Any]], /) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The answer in OpenAI's shape and its usage, from what came back for each of `requests`.

        Raises:
            Refusal: a body is an error.
        """

    def reader(self, call: Call, index: int, head: Mapping[str, Any], /) -> Reader:
        """A reader for the stream of the request with this index. Each chunk bears what stands in `head`."""

    def refused(self, refusal: Refusal, name: str, model: str, /) -> GatewayError:
        """The error of ours that a refusal is."""

    def models(self, body: dict[str, Any], /) -> list[str]:
        """The models' names from the answer to MODELS."""


class Fetching(Protocol):
    """Reads the events of a provider that fetches a model."""

    def read(self, event: dict[str, Any], /) -> Progress:
        """How far it is after this event.

        Raises:
            Refusal: the event is an error.
        """

    @property
    def finished(self) -> bool:
        """Whether the provider has the model: a stream that ends before was broken off."""


@runtime_checkable
class Pulls(Protocol):
    """An adapter whose provider fetches models when it is told to."""

    def pull(self, model: str, /) -> Request:
        """What is sent to have a model fetched; its answer is streamed."""

    def fetching(self) -> Fetching: ...


def total_usage(usages: Iterable[dict[str, Any] | None]) -> dict[str, Any] | None:
    """The sum of several, details too; None if one of them is unknown, because then the sum would be a guess."""
    total: dict[str, Any] = {}
    for usage in usages:
        if usage is None:
            return None
        _add(total, usage)
    return total or None


def _add(total: dict[str, Any], usage: Mapping[str, Any]) -> None:
    for name, value in usage.items():
        if isinstance(value, dict):
            _add(total.setdefault(name, {}), value)
        elif isinstance(value, int | float):
            total[name] = (total.get(name) or 0) + value
        else:
            total.setdefault(name, value)
