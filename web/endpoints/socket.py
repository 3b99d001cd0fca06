"""/v1/ws: many conversations on one WebSocket.

The client says `chat.create`, `job.resume`, `job.cancel` or `ping`; what the server says bears the stream's and the
job's id and the event's number, so that a cut socket can be resumed on another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
import orjson
from flask import Blueprint, current_app, request
from flask_sock import Sock
from gevent.lock import RLock
from simple_websocket import ConnectionClosed, Server

from mesh import errors, store
from mesh.errors import GatewayError
from mesh.events import Event, Kind
from mesh.job import new_id
from web import errors as shown
from web.auth import Caller
from web.door import Door
from web.replies import Follower, HungUp, end_of
from web.requests import CHAT, check, read_object
from web.respond import attach
from web.sse import is_usage
from web.submit import Accepted, submit

PATH = "/v1/ws"
QUEUE_NEWS_S = 2.0  # how often a waiting job's position is looked at
_MOST_STREAMS = 100  # at once on one socket
_MOST_UNHEARD = 16  # frames; one that sends more has to wait
_LONGEST_ID = 128
_GOING_AWAY, _TRY_AGAIN_LATER = 1001, 1013
_PROTOCOL = "bearer."

Frame = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Stream:
    """One conversation's answer on its way over the socket."""

    id: str
    follower: Follower
    include_usage: bool
    keep: bool  # the job goes on when the socket closes
    accepted: Accepted | None = None  # of a new job

    @property
    def place(self) -> Frame:
        return {"stream_id": self.id, "job_id": self.follower.job_id}


class Conversation:
    """One socket: its streams, and the frames that go out."""

    def __init__(self, door: Door, authorization: str, socket: Server) -> None:
        self._door = door
        self._authorization = authorization
        self._tenant = self._caller().tenant  # a key never changes its tenant
        self._socket = socket
        self._turn = RLock()
        self._streams: dict[str, _Stream] = {}
        self._greenlets: set[Any] = set()
        self._frames: dict[str, Callable[[Frame], None]] = {
            "chat.create": self._create,
            "job.resume": self._resume,
            "job.cancel": self._cancel,
            "ping": self._ping,
        }

    def _caller(self) -> Caller:
        """Who asks, as it is now: a socket may live for days, and its key be changed or revoked meanwhile.

        Raises:
            Unauthenticated: the key holds no longer.
        """
        return self._door.gatekeeper.caller(self._authorization)

    def serve(self) -> None:
        """Hear frames until the socket closes, then let go of the jobs."""
        try:
            while True:
                self._hear(self._socket.receive())
        except ConnectionClosed:
            pass
        finally:
            for stream in list(self._streams.values()):
                stream.follower.hang_up()
            gevent.joinall(list(self._greenlets))

    def close(self) -> None:
        """Send the client away because this process ends."""
        with contextlib.suppress(ConnectionClosed):
            self._socket.close(_GOING_AWAY, "the gateway's process is shutting down")
        self._socket.event.set()

    def _hear(self, data: str | bytes | None) -> None:
        frame: Frame = {}
        try:
            raw = data.encode() if isinstance(data, str) else data or b""
            frame = read_object(raw, self._door.config.requests.max_json_depth)
            heard = self._frames.get(str(frame.get("type")))
            if heard is None:
                raise errors.RequestError(
                    f"Invalid 'type': expected one of {', '.join(self._frames)}.", param="type", code="invalid_value"
                )
            heard(frame)
        except Exception as error:  # one bad frame must not end the other conversations
            if isinstance(error, ConnectionClosed):
                raise
            self._say_error(frame, shown.of(error))

    def _text(self, frame: Frame, name: str) -> str:
        value = frame.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID:
            raise errors.RequestError(
                f"Missing or invalid '{name}': expected a string of 1 to {_LONGEST_ID} characters.",
                param=name,
                code="missing_required_parameter" if value is None else "invalid_type",
            )
        return value

    def _say(self, frame: Frame) -> None:
        with self._turn:  # frames are compressed in the order in which they leave, so nobody may overtake
            self._socket.send(orjson.dumps(frame).decode())

    def _say_error(self, frame: Frame, error: GatewayError, job_id: str | None = None) -> None:
        stream_id = frame.get("stream_id")
        known = stream_id if isinstance(stream_id, str) and len(stream_id) <= _LONGEST_ID else None
        told: Frame = {"type": "error", "stream_id": known, "job_id": job_id, "error": error.body()}
        if error.retry_after_s is not None:
            told["retry_after_s"] = error.retry_after_s
        self._say(told)

    def _ping(self, frame: Frame) -> None:
        self._say({"type": "pong"})

    def _open(self, frame: Frame) -> str:
        stream_id = self._text(frame, "stream_id")
        if stream_id in self._streams:
            raise errors.RequestError(f"The stream '{stream_id}' is open.", param="stream_id", code="stream_open")
        if len(self._streams) >= _MOST_STREAMS:
            raise errors.Limited(f"This socket has {_MOST_STREAMS} open streams.", retry_after_s=1)
        return stream_id

    def _create(self, frame: Frame) -> None:
        stream_id = self._open(frame)
        body = frame.get("body")
        if not isinstance(body, dict):
            raise errors.RequestError(
                "Missing or invalid 'body': expected an object.", param="body", code="invalid_type"
            )
        parsed = check(CHAT, body | {"stream": True}, self._door.config.requests, {})
        job_id = new_id()
        caller = self._caller()
        follower = self._door.follow(caller.tenant, job_id)
        with contextlib.ExitStack() as stack:
            stack.enter_context(follower)
            accepted = submit(self._door, caller, parsed, job_id=job_id, seal=follower.seal, wait="stream")
            follower.masked = accepted.masked
            keep = parsed.fields.disconnect == "continue"
            stream = _Stream(stream_id, follower, accepted.spec.include_usage, keep, accepted)
            self._start(stream, stack.pop_all())

    def _resume(self, frame: Frame) -> None:
        stream_id = self._open(frame)
        after = frame.get("starting_after", 0)
        if type(after) is not int or after < 0:
            raise errors.RequestError("Invalid 'starting_after': expected a whole number.", param="starting_after")
        with contextlib.ExitStack() as stack:
            job_id, caller = self._text(frame, "job_id"), self._caller()
            follower = stack.enter_context(attach(self._door, caller, job_id, after))
            status = self._door.pipe.do(store.status(job_id, caller.tenant))
            if status is None:
                raise errors.NotFound(f"No job '{job_id}' was found.", code="job_not_found", param="job_id")
            stream = _Stream(stream_id, follower, status.spec.include_usage, keep=True)
            if status.state.ended and after == status.seq:
                end = self._frame(end_of(status, follower.seal))
                self._say({**end, **stream.place, "sequence_number": after})
            else:
                self._start(stream, stack.pop_all())

    def _cancel(self, frame: Frame) -> None:
        job_id = self._text(frame, "job_id")
        if self._door.pipe.do(store.cancel(job_id, self._caller().tenant)) is None:
            raise errors.NotFound(f"No job '{job_id}' was found.", code="job_not_found", param="job_id")

    def _start(self, stream: _Stream, stack: contextlib.ExitStack) -> None:
        self._streams[stream.id] = stream
        greenlet = gevent.spawn(self._follow, stream, stack)
        self._greenlets.add(greenlet)
        greenlet.link(self._greenlets.discard)

    def _follow(self, stream: _Stream, stack: contextlib.ExitStack) -> None:
        job_id = stream.follower.job_id
        with stack:
            try:
                self._tell_all(stream)
            except (HungUp, ConnectionClosed):
                if not stream.keep:
                    self._door.pipe.do(store.cancel(job_id, self._tenant, "hangup"))
            except Exception as error:  # noqa: BLE001  # whoever follows must hear the end
                with contextlib.suppress(ConnectionClosed):
                    self._say_error(stream.place, shown.of(error), job_id)
            finally:
                self._streams.pop(stream.id, None)

    def _tell_all(self, stream: _Stream) -> None:
        begun, position = False, None
        if stream.accepted is not None:
            position = stream.accepted.position
            self._say_queued(stream, position, stream.accepted.eta_ms)
        while True:
            found = stream.follower.next(30.0 if begun else QUEUE_NEWS_S)
            if found is None:
                if not begun:
                    position = self._tell_position(stream, position)
                continue
            number, event = found
            begun = True
            if event.kind is Kind.DELTA and not stream.include_usage and is_usage(event.body):
                continue
            self._say({**self._frame(event), **stream.place, "sequence_number": number})
            if event.kind is Kind.END:
                return

    def _tell_position(self, stream: _Stream, before: int | None) -> int | None:
        status = self._door.pipe.do(store.status(stream.follower.job_id, self._tenant))
        if status is not None and status.position is not None and status.position != before:
            self._say_queued(stream, status.position, status.eta_ms)
            return status.position
        return before

    def _say_queued(self, stream: _Stream, position: int | None, eta_ms: int | None) -> None:
        place = {**stream.place, "sequence_number": stream.follower.cursor}
        self._say({"type": "job.queued", **place, "position": position, "eta_ms": eta_ms})

    def _frame(self, event: Event) -> Frame:
        if event.kind is Kind.STARTED:
            return {"type": "job.started", **event.head}
        if event.kind is Kind.DELTA:
            return {"type": "chunk", "data": orjson.loads(event.body)}
        if "error" in event.head:
            return {"type": "error", "error": errors.load(event.head["error"]).body()}
        return {
            "type": "job.done",
            "usage": event.head.get("usage"),
            "cost_usd": event.head.get("cost_usd"),
            "estimated": event.head.get("estimated", False),
            "finish_reason": event.head.get("finish_reason"),
            "guard": event.head.get("guard"),
            "result": orjson.loads(event.body) if event.body else None,
        }


def _authorization() -> str:
    """The key as an Authorization value, from the header or a subprotocol `bearer.<key>`; never from the query."""
    header: str = request.environ.get("HTTP_AUTHORIZATION", "")
    if header:
        return header
    for offered in request.environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(","):
        if offered.strip().startswith(_PROTOCOL):
            return f"Bearer {offered.strip().removeprefix(_PROTOCOL)}"
    return ""


class _Offered:
    """The subprotocols that we accept when a client offers them; the one that carries a key must be echoed."""

    def __contains__(self, offered: str) -> bool:
        return offered.startswith(_PROTOCOL)


OPTIONS = {"subprotocols": _Offered(), "ping_interval": 25}


class _Whole:
    """A socket whose `send` sends everything, one greenlet at a time, as simple-websocket takes for granted."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._turn = RLock()
        self.server: Server | None = None  # once there is one

    def recv(self, size: int) -> bytes:
        """Read on only when what was read has been heard, or one client could fill the memory."""
        server = self.server
        while server is not None and server.connected and len(server.input_buffer) > _MOST_UNHEARD:
            gevent.sleep(0.02)
        data: bytes = self._socket.recv(size)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def send(self, data: bytes) -> int:
        with self._turn:
            self._socket.sendall(data)
        return len(data)


def blueprint(door: Door) -> Blueprint:
    socket = Blueprint("socket", __name__)
    origins = {origin.strip() for origin in door.environment.allowed_origins.split(",") if origin.strip()}
    sock = Sock()

    @socket.before_request
    def refuse() -> None:
        """Before the handshake, so that a refusal is an HTTP answer."""
        origin = request.headers.get("Origin")
        if origin is not None and origin not in origins and origin != request.host_url.rstrip("/"):
            raise errors.Forbidden(f"The origin '{origin}' may not open a WebSocket here.", code="origin_not_allowed")
        door.gatekeeper.caller(_authorization())
        largest = door.config.requests.max_frame_bytes
        current_app.config["SOCK_SERVER_OPTIONS"] = {**OPTIONS, "max_message_size": largest}
        request.environ["gunicorn.socket"] = _Whole(request.environ["gunicorn.socket"])

    @sock.route(PATH, bp=socket)
    def talk(server: Server) -> None:
        server.sock.server = server
        if door.stopping or len(door.conversations) >= door.config.requests.max_websockets:
            server.close(_TRY_AGAIN_LATER, "no more sockets in this process")
            return
        conversation = Conversation(door, _authorization(), server)
        door.conversations.add(conversation)
        try:
            conversation.serve()
        finally:
            door.conversations.discard(conversation)

    return socket
