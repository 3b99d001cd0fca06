"""The boto3 package as a transport: blocking calls in threads, whose sockets the loop can shut."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import json
import socket
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import boto3.exceptions
import botocore.exceptions
import botocore.session
import orjson
import urllib3.exceptions
from boto3.session import Session
from botocore import UNSIGNED
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.config import Config
from botocore.eventstream import ParserError
from botocore.httpsession import URLLib3Session
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError

from mesh.errors import ProviderKeyRefused
from workers.transports import Past, Request, Transport, Upstream, faults
from workers.transports.faults import Refusal

T = TypeVar("T")

OPERATIONS = {
    "/model/{modelId}/converse": "converse",
    "/model/{modelId}/converse-stream": "converse_stream",
    "/model/{modelId}/invoke": "invoke_model",
    "/foundation-models": "list_foundation_models",
}
INPUT_TOKENS = "x-amzn-bedrock-input-token-count"
SPARE = 8  # threads beside the slots: a call that was cancelled while it connects still has one
MOST_EVENTS = 256  # of one stream that its thread is ahead of the loop

# All that the SDK can raise at a call. urllib3's come raw from inside a stream; a body that is JSON but no object is
# an AttributeError, a TypeError or a KeyError of its parsers.
RAISED = (
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
    botocore.exceptions.UndefinedModelAttributeError,
    boto3.exceptions.Boto3Error,
    urllib3.exceptions.HTTPError,
    ParserError,
    ResponseParserError,
    json.JSONDecodeError,
    UnicodeDecodeError,
    AttributeError,
    TypeError,
    KeyError,
    ValueError,
    OSError,
)
NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.NoAuthTokenError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.SSOError,
    botocore.exceptions.LoginError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.ConfigNotFound,
    botocore.exceptions.ConfigParseError,
    botocore.exceptions.InvalidConfigError,
    botocore.exceptions.MetadataRetrievalError,
    botocore.exceptions.RefreshWithMFAUnsupportedError,
    botocore.exceptions.UnauthorizedSSOTokenError,
)


class _Line:
    """One call's hold on a connection. It can be cut from any thread, and never cuts the call that comes after."""

    def __init__(self, lock: threading.Lock, authorization: str) -> None:
        self.authorization = authorization  # empty: the request is signed
        self.answered = False  # the head of the answer has come
        self.status = 0
        self._lock = lock
        self._socket: socket.socket | None = None
        self._cut = False

    def take(self, connection: Any, connected: socket.socket | None) -> None:
        with self._lock:
            if self._cut:
                raise ConnectionAbortedError("nobody waits for this call any more")
            connection.line = self
            self._socket = connected

    def release(self) -> None:
        with self._lock:
            self._socket = None

    def cut(self) -> None:
        with self._lock:
            self._cut = True
            if self._socket is None:
                return
            try:
                # Closing would leave the thread in its read. The socket below TLS: its own shutdown would fall over
                # that read.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                return  # closed already


LINE: contextvars.ContextVar[_Line] = contextvars.ContextVar("line")


class _Held:
    """A connection that the line of its call holds."""

    line: _Line | None = None
    sock: socket.socket | None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        LINE.get().take(self, self.sock)

    def request(self, *arguments: Any, **more: Any) -> Any:
        LINE.get().take(self, self.sock)
        return super().request(*arguments, **more)  # type: ignore[misc]

    def getresponse(self) -> Any:
        response = super().getresponse()  # type: ignore[misc]
        line = LINE.get()
        line.answered, line.status = True, response.status
        return response

    def close(self) -> None:
        # First, or a cut could meet the next socket that gets this one's number.
        if self.line is not None:
            self.line.release()
        super().close()  # type: ignore[misc]


class _Connection(_Held, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _TLSConnection(_Held, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Returned:
    """A pool whose connections are free of their call before the next one can see them."""

    def _put_conn(self, connection: Any) -> None:
        if connection is not None and connection.line is not None:
            connection.line.release()
        super()._put_conn(connection)  # type: ignore[misc]


class _Pool(_Returned, AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _TLSPool(_Returned, AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _TLSConnection


class _HTTP(URLLib3Session):  # type: ignore[misc]
    """boto3's own HTTP, with connections that can be cut."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


class _Events:
    """What a thread reads, for the loop: it gets all that is there at each look, and the thread is never far ahead."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[dict[str, Any]] = deque()
        self._changed = threading.Condition()
        self._wake = asyncio.Event()
        self._ended = False
        self._left = False
        self._error: Exception | None = None

    def put(self, event: dict[str, Any]) -> bool:
        """In the thread; False where nobody listens any more."""
        with self._changed:
            while len(self._waiting) >= MOST_EVENTS and not self._left:
                self._changed.wait()
            self._waiting.append(event)
            self._ring()
            return not self._left

    def end(self, error: Exception | None) -> None:
        """In the thread."""
        with self._changed:
            self._ended, self._error = True, error
            self._ring()

    async def take(self) -> list[dict[str, Any]]:
        """In the loop; empty at the end. Raises what the thread met, after all that came before."""
        await self._wake.wait()
        with self._changed:
            events = list(self._waiting)
            self._waiting.clear()
            if not self._ended:
                self._wake.clear()
            self._changed.notify()
            if not events and self._error is not None:
                raise self._error
        return events

    def leave(self) -> None:
        """In the loop."""
        with self._changed:
            self._left = True
            self._changed.notify()

    def _ring(self) -> None:
        # One call for all that comes before the loop looks. Who has left may have closed the loop as well.
        if not self._left and (self._ended or len(self._waiting) == 1):
            self._loop.call_soon_threadsafe(self._wake.set)


@functools.cache
def _descriptions(more: str | None) -> Loader:
    """AWS's descriptions of its services: megabytes of JSON, read once a process and not once a client.

    more: folders that AWS_DATA_PATH names.
    """
    return create_loader(more)


class BedrockSDK:
    """`bedrock-runtime` of boto3, made at the first call in that call's thread: it takes a good part of a second.

    Retries are off (they are the mesh's), and so are proxies from the environment. As many calls run at once as the
    worker has slots, each in a thread of its own.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._http: list[_HTTP] = []
        self._lines: set[_Line] = set()
        self._threads = ThreadPoolExecutor(max_workers=upstream.slots + SPARE, thread_name_prefix=upstream.name)

    async def send(self, request: Request, headers: Mapping[str, str]) -> dict[str, Any]:
        line = self._line(headers)
        try:
            return await self._run(line, lambda: self._whole(request, line))
        finally:
            self._hang_up(line)

    async def stream(
        self, request: Request, headers: Mapping[str, str], past: Past | None = None
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        line = self._line(headers)
        events = _Events(asyncio.get_running_loop())
        reading = self._run(line, lambda: self._read(request, line, events))
        try:
            while batch := await events.take():
                yield batch
            await reading
        finally:
            self._hang_up(line)
            events.leave()
            reading.cancel()  # where no thread has begun with it

    async def aclose(self) -> None:
        for line in tuple(self._lines):
            self._hang_up(line)
        self._threads.shutdown(wait=False, cancel_futures=True)
        for http in self._http:
            http.close()

    def _line(self, headers: Mapping[str, str]) -> _Line:
        line = _Line(self._lock, headers.get("Authorization", ""))
        self._lines.add(line)
        return line

    def _hang_up(self, line: _Line) -> None:
        line.cut()
        self._lines.discard(line)

    def _run(self, line: _Line, work: Callable[[], T]) -> asyncio.Future[T]:
        context = contextvars.copy_context()
        context.run(LINE.set, line)
        return asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)

    # What follows runs in a thread.

    def _whole(self, request: Request, line: _Line) -> dict[str, Any]:
        operation = OPERATIONS[request.path]
        try:
            if operation == "list_foundation_models":
                return _listed(self._client("bedrock"))
            if operation == "invoke_model":
                return self._invoked(request)
            answer: dict[str, Any] = self._client("bedrock-runtime").converse(**request.body or {})
        except RAISED as error:
            raise translated(error, self._upstream.name, line.answered, line.status) from error
        finally:
            line.release()
        if not isinstance(answer, dict):
            raise faults.garbled(self._upstream.name)
        answer.pop("ResponseMetadata", None)
        return answer

    def _invoked(self, request: Request) -> dict[str, Any]:
        body = request.body or {}
        answer = self._client("bedrock-runtime").invoke_model(
            modelId=body["modelId"],
            body=orjson.dumps(body["body"]),
            contentType="application/json",
            accept="application/json",
        )
        counted = answer["ResponseMetadata"]["HTTPHeaders"].get(INPUT_TOKENS)
        return {
            "response": orjson.loads(answer["body"].read()),
            "inputTokens": None if counted is None else int(counted),
        }

    def _read(self, request: Request, line: _Line, events: _Events) -> None:
        error: Exception | None = None
        try:
            answer = self._client("bedrock-runtime").converse_stream(**request.body or {})
            with contextlib.closing(answer["stream"]) as stream:
                for event in stream:
                    if not events.put(event):
                        break
        except RAISED as raised:
            error = translated(raised, self._upstream.name, line.answered, line.status)
            error.__cause__ = raised
        finally:
            line.release()
            events.end(error)

    def _client(self, service: str) -> Any:
        with self._making:
            client = self._clients.get(service)
            if client is None:
                client = self._clients[service] = self._made(service)
            return client

    def _made(self, service: str) -> Any:
        upstream = self._upstream
        # A host of the runtime has a sibling for the control plane; what is no host of AWS's serves both.
        url = upstream.url if service == "bedrock-runtime" else upstream.url.replace("bedrock-runtime", "bedrock", 1)
        config = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=upstream.connect_s,
            read_timeout=None,
            proxies={},
        )
        below = botocore.session.Session()
        below.register_component("data_loader", _descriptions(below.get_config_variable("data_path")))
        session = Session(region_name=upstream.region or None, botocore_session=below)
        client = session.client(service, endpoint_url=url or None, config=config)
        http = _HTTP(
            verify=below.get_config_variable("ca_bundle") or True,
            timeout=(upstream.connect_s, None),
            max_pool_connections=upstream.slots + SPARE,
            socket_options=[
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            ],
        )
        self._http.append(http)
        client.meta.events.register_first(f"choose-signer.{service}", _choose_signer)
        client.meta.events.register(f"before-send.{service}", lambda request, **_: _sent(http, request))
        return client


def _choose_signer(**_: Any) -> Any:
    return UNSIGNED if LINE.get().authorization else None


def _sent(http: _HTTP, request: Any) -> Any:
    if LINE.get().authorization:
        request.headers["Authorization"] = LINE.get().authorization
    return http.send(request)


def _listed(client: Any) -> dict[str, Any]:
    """Models, and the inference profiles that have their names; what may not be listed is not there."""
    models: list[dict[str, Any]] = []
    profiles: list[dict[str, Any]] = []
    try:
        models = client.list_foundation_models()["modelSummaries"]
        for page in client.get_paginator("list_inference_profiles").paginate():
            profiles += page["inferenceProfileSummaries"]
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
    return {"modelSummaries": models, "inferenceProfileSummaries": profiles}


def translated(error: Exception, name: str, answered: bool = False, status: int = 0) -> Exception:
    """The refusal, or the error of ours, that one of RAISED is; the most specific first.

    answered, status: whether the head of an answer had come, and what it said.
    """
    match error:
        case botocore.exceptions.EventStreamError():
            # It came inside a stream, and has no ResponseMetadata.
            return Refusal(0, _told(error.response))
        case botocore.exceptions.ClientError():
            return _refusal(error.response)
        case _ if status >= 300:
            # An answer that the SDK's own parser of errors fell over.
            return Refusal(status, None)
        case botocore.exceptions.NoRegionError() | botocore.exceptions.InvalidRegionError():
            return ProviderKeyRefused(f"{name} has no region that AWS knows: set its `region`, or AWS_DEFAULT_REGION")
        case _ if isinstance(error, NO_CREDENTIALS):
            return ProviderKeyRefused(
                f"{name} has no credentials that boto3 can use ({type(error).__name__}): give the worker a role (Pod "
                "Identity, IRSA), a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        case botocore.exceptions.ParamValidationError():
            return Refusal(400, {"type": "ValidationException", "message": str(error)})
        case botocore.exceptions.ConnectTimeoutError() | urllib3.exceptions.ConnectTimeoutError():
            return faults.slow_to_connect(name)
        case (
            ParserError()
            | ResponseParserError()
            | json.JSONDecodeError()
            | UnicodeDecodeError()
            | AttributeError()
            | TypeError()
            | KeyError()
        ):
            return faults.garbled(name)
        case _:
            # The network's, wherever it failed, and what the SDK says of our own use of it.
            return faults.broke_off(name) if answered else faults.unreachable(name)


def _refusal(response: Mapping[str, Any]) -> Refusal:
    metadata = response.get("ResponseMetadata") or {}
    status = metadata.get("HTTPStatusCode") or 0
    told = _told(response)
    # Where the body is none of AWS's the SDK gives the number for its name, and the number's own name as its message.
    ours = None if told["type"] == str(status) else told
    return Refusal(status, ours, faults.retry_after_s(metadata.get("HTTPHeaders") or {}))


def _told(response: Mapping[str, Any]) -> dict[str, Any]:
    error = response.get("Error") or {}
    return {"type": error.get("Code") or "", "message": error.get("Message") or response.get("originalMessage") or ""}


def open_transport(upstream: Upstream) -> Transport:
    return BedrockSDK(upstream)
