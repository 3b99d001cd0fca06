"""Those who ask: one request, a stream, or many at once, over real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from simple_websocket import Client

from tests.chaos.upstream import Wish

PATIENCE_S = 60.0  # of a caller; a test that meets it has found a hang
MODEL = "gpt-4o"


@dataclass(frozen=True)
class Answer:
    """What a caller was told about one prompt.

    text: what the model said; empty for a 202 and for an error.
    error: its four keys, wherever in the answer it stood.
    """

    wish: Wish
    status: int
    headers: httpx.Headers
    text: str
    error: dict[str, Any] | None
    took_s: float

    @property
    def job_id(self) -> str:
        return self.headers["x-gateway-job"]

    @property
    def right(self) -> bool:
        return self.status == 200 and self.error is None and self.text in (self.wish.text, "".join(self.wish.pieces))


@dataclass(frozen=True)
class Entry:
    """One event of an SSE answer: its number (0: none), and its data."""

    number: int
    data: str

    @property
    def content(self) -> str:
        """What it adds to the text; nothing for an error, the end, or a chunk without text."""
        if self.data == "[DONE]":
            return ""
        choices = orjson.loads(self.data).get("choices") or [{}]
        return str(choices[0].get("delta", {}).get("content") or "")

    @property
    def error(self) -> dict[str, Any] | None:
        return None if self.data == "[DONE]" else orjson.loads(self.data).get("error")


def read_entries(lines: Iterator[str]) -> Iterator[Entry]:
    """The events of an SSE answer, as they come."""
    number, data = 0, ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            number = int(value.rpartition(":")[2])
        elif name == "data":
            data = value
        elif not line and data:
            yield Entry(number, data)
            number, data = 0, ""


def text_of(entries: list[Entry]) -> str:
    return "".join(entry.content for entry in entries)


@dataclass
class Caller:
    """A client of one web process, with a key."""

    url: str
    key: str
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=PATIENCE_S,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=0),
            trust_env=False,
        )

    def at(self, url: str) -> Caller:
        """The same key at another web process."""
        return Caller(url, self.key)

    def ask(self, wish: Wish, **headers: str) -> Answer:
        """A blocking request, or a 202 where a `Prefer` header asks for it."""
        began = time.monotonic()
        response = self.client.post("/v1/chat/completions", json=_body(wish), headers=headers)
        body = response.json()
        text = body["choices"][0]["message"]["content"] if response.status_code == 200 else ""
        took_s = time.monotonic() - began
        return Answer(wish, response.status_code, response.headers, text, body.get("error"), took_s)

    def ask_streaming(self, wish: Wish) -> Answer:
        """A stream, read to its end."""
        began = time.monotonic()
        with self.client.stream("POST", "/v1/chat/completions", json=_body(wish, stream=True)) as response:
            if response.status_code != 200:
                error = orjson.loads(response.read())["error"]
                return Answer(wish, response.status_code, response.headers, "", error, time.monotonic() - began)
            entries = list(read_entries(response.iter_lines()))
        error = next((entry.error for entry in entries if entry.error), None)
        whole = entries[-1].data == "[DONE]"
        text = text_of(entries) if whole else ""
        return Answer(wish, response.status_code, response.headers, text, error, time.monotonic() - began)

    def ask_later(self, wish: Wish) -> Answer:
        """A request that is answered with 202."""
        return self.ask(wish, Prefer="respond-async")

    @contextmanager
    def stream(self, wish: Wish, **headers: str) -> Iterator[tuple[str, Iterator[Entry]]]:
        """A stream: its job's id, and its events as they come."""
        body = _body(wish, stream=True)
        with self.client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            assert response.status_code == 200, response.read()
            yield response.headers["x-gateway-job"], read_entries(response.iter_lines())

    @contextmanager
    def events(self, job_id: str, after: int | None = None, last_event_id: str = "") -> Iterator[Iterator[Entry]]:
        """A job's events, from a number on where one is given."""
        query = {} if after is None else {"starting_after": after}
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        with self.client.stream("GET", f"/v1/jobs/{job_id}/events", params=query, headers=headers) as response:
            assert response.status_code == 200, response.read()
            yield read_entries(response.iter_lines())

    @contextmanager
    def websocket(self) -> Iterator[Client]:
        headers = {"Authorization": f"Bearer {self.key}"}
        client = Client.connect(self.url.replace("http", "ws") + "/v1/ws", headers=headers)
        try:
            yield client
        finally:
            if client.connected:
                client.close()

    def job(self, job_id: str) -> dict[str, Any]:
        response = self.client.get(f"/v1/jobs/{job_id}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def ended(self, job_id: str) -> bool:
        return self.job(job_id)["state"] not in ("queued", "running", "parked")


def _body(wish: Wish, *, stream: bool = False) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": wish.prompt()}], "stream": stream}


class Load:
    """Callers that ask one prompt after another until they are told to stop, each prompt with a marker of its own."""

    def __init__(self, caller: Caller, *, blocking: int = 6, streaming: int = 3, later: int = 3) -> None:
        self.answers: list[Answer] = []
        self._ways = {"blocking": caller.ask, "streaming": caller.ask_streaming, "later": caller.ask_later}
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(blocking + streaming + later)
        self._running: list[Future[None]] = [
            self._pool.submit(self._go_on, way, number)
            for way, count in (("blocking", blocking), ("streaming", streaming), ("later", later))
            for number in range(count)
        ]

    def _go_on(self, way: str, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            answer = self._ways[way](Wish(f"{way}-{number}-{turn}", delay_ms=60, chunks=6, pace_ms=20))
            self.answers.append(answer)
            if answer.status != 200:
                self._stop.wait(0.1)  # a 202 comes at once: do not flood the lane

    def stop(self) -> list[Answer]:
        """No further prompts; wait for the answers to those that were asked, and return all."""
        self._stop.set()
        for each in self._running:
            each.result(PATIENCE_S)
        self._pool.shutdown()
        return self.answers

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
