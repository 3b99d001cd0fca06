"""A stream that is cut anywhere goes on from the next number, through another web process, by SSE and by WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from simple_websocket import Client

from tests.chaos.callers import Caller, Entry
from tests.chaos.conftest import Gateway, opened
from tests.chaos.upstream import Wish
from tests.conftest import wait_until

CHUNKS = 10
KEPT = {"X-Gateway-Disconnect": "continue"}

Doors = tuple[Caller, Caller]
Resume = Callable[[Caller, str, int], list[Entry]]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests here: none of them harms it."""
    with opened(tmp_path_factory.mktemp("gateway")) as shared:
        yield shared


@pytest.fixture(scope="module")
def doors(gateway: Gateway) -> Doors:
    """A caller at each of two web processes, before one worker."""
    first = gateway.caller(gateway.start_web())
    second = first.at(gateway.start_web().url)
    gateway.start_worker()
    return first, second


def frames(client: Client) -> Iterator[Entry]:
    """What a socket with one stream hears, as the entries of an SSE answer, to the stream's end."""
    while (data := client.receive(20)) is not None:
        frame = orjson.loads(data)
        if frame["type"] == "chunk" and not frame["data"]["choices"]:
            continue  # the usage, which a stream shows only to those who ask for it
        if frame["type"] == "chunk":
            yield Entry(frame["sequence_number"], orjson.dumps(frame["data"]).decode())
        elif frame["type"] == "job.done":
            yield Entry(frame["sequence_number"], "[DONE]")
            return
        else:
            assert frame["type"] in ("job.queued", "job.started"), frame


def by_query(caller: Caller, job_id: str, after: int) -> list[Entry]:
    with caller.events(job_id, after) as entries:
        return list(entries)


def by_header(caller: Caller, job_id: str, after: int) -> list[Entry]:
    with caller.events(job_id, last_event_id=f"{job_id}:{after}") as entries:
        return list(entries)


def by_socket(caller: Caller, job_id: str, after: int) -> list[Entry]:
    with caller.websocket() as client:
        resume = {"type": "job.resume", "stream_id": "a", "job_id": job_id, "starting_after": after}
        client.send(orjson.dumps(resume).decode())
        return list(frames(client))


WAYS = {"starting_after": by_query, "Last-Event-ID": by_header, "job.resume": by_socket}
in_every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


def cut(caller: Caller, wish: Wish, events: int) -> tuple[str, list[Entry]]:
    """The job of a stream whose client goes after so many events, and those."""
    with caller.stream(wish, **KEPT) as (job_id, entries):
        return job_id, [next(entries) for _ in range(events)]


def cut_everywhere(name: str) -> list[Wish]:
    """Streams that stand still after one chunk, after two, and so on."""
    return [Wish(f"{name}-{events}", chunks=CHUNKS, pace_ms=30, holds=1, after=events) for events in range(1, CHUNKS)]


def check_whole(wish: Wish, before: list[Entry], after: list[Entry]) -> None:
    entries = [*before, *after]
    numbers = [entry.number for entry in entries]
    # What a stream does not show (that a worker began, the usage) leaves a gap; no number falls or comes again.
    assert numbers == sorted(set(numbers))
    chunks = [entry for entry in entries if entry.content]
    assert [entry.content for entry in chunks] == wish.pieces
    assert len({entry.number for entry in chunks}) == CHUNKS
    assert entries[-1].data == "[DONE]"


def check_none_repeated(gateway: Gateway, wishes: list[Wish]) -> None:
    gateway.settle()
    assert {row["state"] for row in gateway.rows().values()} == {"done"}
    assert [gateway.upstream.calls[wish.marker] for wish in wishes] == [1] * len(wishes)


@in_every_way
def test_a_stream_cut_after_any_event_is_resumed_live_at_another_process(
    doors: Doors, gateway: Gateway, way: Resume
) -> None:
    first, second = doors
    wishes = cut_everywhere(way.__name__)

    def cut_and_resume(wish: Wish) -> None:
        job_id, seen = cut(first, wish, wish.after)
        with ThreadPoolExecutor(1) as pool:
            resuming = pool.submit(way, second, job_id, seen[-1].number)
            gateway.upstream.release(wish.marker)
            check_whole(wish, seen, resuming.result(20))

    with ThreadPoolExecutor(len(wishes)) as pool:
        list(pool.map(cut_and_resume, wishes))
    check_none_repeated(gateway, wishes)


@in_every_way
def test_a_stream_that_has_ended_is_replayed_from_any_number(doors: Doors, way: Resume) -> None:
    first, second = doors
    wish = Wish("ended", chunks=CHUNKS)
    with first.stream(wish) as (job_id, entries):
        seen = list(entries)
    check_whole(wish, [], seen)
    for caller in (first, second):
        for at in range(len(seen) - 1):
            assert way(caller, job_id, seen[at].number)[-(len(seen) - at - 1) :] == seen[at + 1 :]
        assert way(caller, job_id, 0) == seen


def test_many_viewers_at_many_places_see_the_same(doors: Doors, gateway: Gateway) -> None:
    first, _ = doors
    wish = Wish("watched", chunks=CHUNKS, pace_ms=50, holds=1, after=3)
    with first.stream(wish) as (job_id, entries), ThreadPoolExecutor(12) as pool:
        seen = [next(entries) for _ in range(3)]
        viewers = [(way, caller) for way in WAYS.values() for caller in doors for _ in range(2)]
        watching = [pool.submit(way, caller, job_id, 0) for way, caller in viewers]
        gateway.upstream.release("watched")
        seen += entries
        views = [each.result(20) for each in watching]
    check_whole(wish, [], seen)
    for view in views:
        assert view == seen
    assert gateway.upstream.calls["watched"] == 1


def test_a_socket_cut_after_any_event_is_resumed_at_another_process(doors: Doors, gateway: Gateway) -> None:
    first, second = doors
    wishes = cut_everywhere("socket")

    def cut_and_resume(wish: Wish) -> None:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": wish.prompt()}], "disconnect": "continue"}
        with first.websocket() as client:
            client.send(orjson.dumps({"type": "chat.create", "stream_id": "a", "body": body}).decode())
            job_id = orjson.loads(client.receive(10))["job_id"]
            heard = frames(client)
            seen = [next(heard) for _ in range(wish.after)]
        with ThreadPoolExecutor(1) as pool:
            resuming = pool.submit(by_socket, second, job_id, seen[-1].number)
            gateway.upstream.release(wish.marker)
            check_whole(wish, seen, resuming.result(20))

    with ThreadPoolExecutor(len(wishes)) as pool:
        list(pool.map(cut_and_resume, wishes))
    check_none_repeated(gateway, wishes)


def test_a_viewer_that_leaves_does_not_disturb_the_job(doors: Doors, gateway: Gateway) -> None:
    first, second = doors
    wish = Wish("undisturbed", chunks=CHUNKS, holds=1, after=3)
    with first.stream(wish) as (job_id, entries):
        seen = [next(entries)]
        with second.events(job_id, 0) as viewed:
            assert next(viewed) == seen[0]
        with second.websocket() as client:
            client.send(orjson.dumps({"type": "job.resume", "stream_id": "a", "job_id": job_id}).decode())
            assert next(frames(client)) == seen[0]
        wait_until(lambda: second.job(job_id)["state"] == "running", 5)
        gateway.upstream.release("undisturbed")
        seen += entries
    check_whole(wish, [], seen)
    assert not gateway.upstream.hung_up["undisturbed"]
