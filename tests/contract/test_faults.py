"""Whatever goes wrong at a provider is one of our errors, the same over every transport."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mesh import errors
from mesh.errors import GatewayError
from tests.contract.exchange import Pair, call, chat, collected, ended, run, until
from tests.standins import Fault
from tests.standins import openai as openai_stand_in
from workers.providers import Provider

QUICK = {"connect_s": 2, "first_token_s": 0.8, "silence_s": 0.3, "total_s": 1.2}
# Where no timeout is waited for: an SDK may take long to make its client, on a machine that has other things to do.
PATIENT = {**QUICK, "first_token_s": 20, "total_s": 20}
MODES = ("whole", "stream")
EVERY_MODE = (*MODES, "watched")


def _attempt(provider: Provider, mode: str) -> Any:
    one = call(chat())
    return provider.answer(one) if mode == "whole" else collected(provider, one, watched=mode == "watched")


async def _outcome(pair: Pair, fault: Fault, mode: str, **config: Any) -> BaseException | None:
    timeouts = QUICK if fault.kind in ("hang", "stall") else PATIENT
    async with pair.opened(**{"timeouts": timeouts, **config}) as (server, provider):
        server.fault = fault
        return await ended(_attempt(provider, mode))


STATUSES = [
    pytest.param(Fault("status", 400), errors.ProviderRejected, None, id="400"),
    pytest.param(Fault("status", 401), errors.ProviderKeyRefused, None, id="401"),
    pytest.param(Fault("status", 402), errors.ProviderLimited, None, id="402"),
    pytest.param(Fault("status", 403), errors.ProviderKeyRefused, None, id="403"),
    pytest.param(Fault("status", 404), errors.ModelNotFound, None, id="404"),
    pytest.param(Fault("status", 408), errors.ProviderTimeout, None, id="408"),
    pytest.param(Fault("status", 409), errors.ProviderUnavailable, None, id="409"),
    pytest.param(Fault("status", 413), errors.ProviderRejected, None, id="413"),
    pytest.param(Fault("status", 422), errors.ProviderRejected, None, id="422"),
    pytest.param(Fault("status", 429), errors.ProviderLimited, None, id="429"),
    pytest.param(Fault("status", 429, headers={"Retry-After": "7"}), errors.ProviderLimited, 7.0, id="429 seconds"),
    pytest.param(Fault("status", 429, headers={"Retry-After": "0.5"}), errors.ProviderLimited, 0.5, id="429 half"),
    pytest.param(Fault("status", 429, headers={"Retry-After": "-3"}), errors.ProviderLimited, 0.0, id="429 negative"),
    pytest.param(
        Fault("status", 429, headers={"Retry-After": "soon"}), errors.ProviderLimited, None, id="429 nonsense"
    ),
    pytest.param(
        Fault("status", 429, headers={"Retry-After": "1e999"}), errors.ProviderLimited, None, id="429 infinite"
    ),
    pytest.param(Fault("status", 429, headers={"retry-after-ms": "1500"}), errors.ProviderLimited, 1.5, id="429 ms"),
    pytest.param(Fault("status", 500), errors.ProviderUnavailable, None, id="500"),
    pytest.param(Fault("status", 502, raw=b"<html>"), errors.ProviderUnavailable, None, id="502 of a proxy"),
    pytest.param(Fault("status", 503, headers={"Retry-After": "2"}), errors.ProviderUnavailable, 2.0, id="503"),
    pytest.param(Fault("status", 504), errors.ProviderTimeout, None, id="504"),
    pytest.param(Fault("status", 529), errors.ProviderUnavailable, None, id="529"),
    pytest.param(Fault("status", 404, raw=b"404 page not found"), errors.ProviderUnavailable, None, id="404 of no API"),
    pytest.param(Fault("status", 500, raw=b""), errors.ProviderUnavailable, None, id="500 and nothing"),
    pytest.param(Fault("status", 400, raw=b"[1]"), errors.ProviderRejected, None, id="400 and a list"),
    pytest.param(
        Fault("status", 307, headers={"Location": "http://127.0.0.1:1/"}),
        errors.ProviderUnavailable,
        None,
        id="redirect",
    ),
]

BREAKS = [
    pytest.param(Fault("reset"), "whole", errors.ProviderUnavailable, id="reset-whole"),
    pytest.param(Fault("reset"), "stream", errors.ProviderUnavailable, id="reset-stream"),
    pytest.param(Fault("hang"), "whole", errors.ProviderTimeout, id="hang-whole"),
    pytest.param(Fault("hang"), "stream", errors.ProviderTimeout, id="hang-stream"),
    pytest.param(Fault("stall"), "whole", errors.ProviderTimeout, id="stall-whole"),
    pytest.param(Fault("stall"), "stream", errors.ProviderTimeout, id="stall-stream"),
    pytest.param(Fault("stall", after=0), "stream", errors.ProviderTimeout, id="head only-stream"),
    pytest.param(Fault("cut"), "whole", errors.ProviderBrokeOff, id="cut-whole"),
    pytest.param(Fault("cut"), "stream", errors.ProviderBrokeOff, id="cut-stream"),
    pytest.param(Fault("cut", after=0), "stream", errors.ProviderBrokeOff, id="cut at once-stream"),
    pytest.param(Fault("silent end"), "stream", errors.ProviderBrokeOff, id="silent end-stream"),
    pytest.param(Fault("silent end", after=0), "stream", errors.ProviderBrokeOff, id="empty-stream"),
    pytest.param(Fault("garbage"), "whole", errors.ProviderBrokeOff, id="garbage-whole"),
    pytest.param(Fault("garbage"), "stream", errors.ProviderBrokeOff, id="garbage-stream"),
    pytest.param(Fault("garbage", after=0), "stream", errors.ProviderBrokeOff, id="garbage at once-stream"),
    *(
        pytest.param(Fault("garbage", raw=raw), "whole", errors.ProviderBrokeOff, id=f"{raw.decode()}-whole")
        for raw in (b"null", b"5", b"[]", b'"text"', b"{}", b'{"choices": []}', b'{"choices": [5], "message": 5}')
    ),
    pytest.param(Fault("error inside"), "whole", errors.ProviderUnavailable, id="error inside-whole"),
    pytest.param(Fault("error inside"), "stream", errors.ProviderUnavailable, id="error inside-stream"),
    pytest.param(Fault("error inside", after=0), "stream", errors.ProviderUnavailable, id="error at once-stream"),
]


@functools.cache
def _told(pair: Pair, fault: Fault, mode: str) -> BaseException | None:
    """A fault happens once; what is told of it is looked at from several sides."""
    return _bare(run(_outcome(pair, fault, mode)))


def _bare(error: BaseException | None) -> BaseException | None:
    """Without its tracebacks: they would keep every client of the whole run."""
    link = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


@pytest.fixture(scope="module", autouse=True)
def what_was_told_is_forgotten() -> Iterator[None]:
    yield
    _told.cache_clear()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("fault", "expected", "retry_after_s"), STATUSES)
def test_a_status_is_one_of_our_errors(
    pair: Pair, fault: Fault, expected: type[GatewayError], retry_after_s: float | None, mode: str
) -> None:
    error = _told(pair, fault, mode)

    assert type(error) is expected
    assert isinstance(error, GatewayError)
    assert error.retry_after_s == retry_after_s
    assert error.message and "<html>" not in error.message
    if fault.raw is None and expected not in (errors.ProviderKeyRefused,) and fault.status != 307:
        assert f"the reason for {fault.status}" in error.message


@pytest.mark.parametrize(("fault", "mode", "expected"), BREAKS)
def test_a_break_is_one_of_our_errors(pair: Pair, fault: Fault, mode: str, expected: type[GatewayError]) -> None:
    error = _told(pair, fault, mode)

    assert type(error) is expected
    assert str(error)


@pytest.mark.parametrize(
    "fault", [pytest.param(param.values[0], id=param.id) for param in BREAKS if str(param.id).endswith("-stream")]
)
def test_a_watched_stream_breaks_in_the_same_words(pair: Pair, fault: Fault) -> None:
    told, other = _told(pair, fault, "stream"), _told(pair, fault, "watched")

    assert isinstance(told, GatewayError) and isinstance(other, GatewayError)
    assert errors.dump(other) == errors.dump(told)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "fault",
    [pytest.param(param.values[0], id=param.id) for param in STATUSES]
    + [pytest.param(param.values[0], id=param.id) for param in BREAKS if str(param.id).endswith("-stream")],
)
def test_all_transports_tell_of_a_fault_in_the_same_words(adapter: list[Pair], fault: Fault, mode: str) -> None:
    told = [_told(pair, fault, mode) for pair in adapter]

    first = errors.dump(told[0]) if isinstance(told[0], GatewayError) else told[0]
    for other in told[1:]:
        assert (errors.dump(other) if isinstance(other, GatewayError) else other) == first


@pytest.mark.parametrize("mode", MODES)
def test_a_date_in_retry_after_is_seconds_from_now(pair: Pair, mode: str) -> None:
    when = email.utils.formatdate(time.time() + 60, usegmt=True)
    error = run(_outcome(pair, Fault("status", 429, headers={"Retry-After": when}), mode))

    assert isinstance(error, errors.ProviderLimited) and error.retry_after_s is not None
    assert 50 < error.retry_after_s <= 61


@pytest.mark.parametrize("kind", ["cut", "silent end", "stall", "garbage", "error inside"])
def test_an_answer_that_breaks_after_its_finish_is_whole(pair: Pair, kind: Any) -> None:
    async def main() -> list[dict[str, Any]]:
        async with pair.opened(timeouts=PATIENT) as (server, provider):
            frames = server.frames(next(iter(server.paths)), {"model": "m"})  # without usage: the finish is the last
            last = len(frames) - server.after_finish
            server.fault = Fault(kind, after=last)
            return await collected(provider, call(chat()))

    chunks = run(main())

    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "stop"


@pytest.mark.parametrize("mode", MODES)
def test_a_provider_that_is_not_there_is_unavailable(pair: Pair, unused_tcp_port: int, mode: str) -> None:
    async def main() -> BaseException | None:
        async with pair.opened(base_url=f"http://127.0.0.1:{unused_tcp_port}", timeouts=PATIENT) as (_, provider):
            return await ended(_attempt(provider, mode))

    assert type(run(main())) is errors.ProviderUnavailable


@pytest.fixture
def unused_tcp_port() -> int:

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_speaks_no_http_is_unavailable(pair: Pair, mode: str) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"220 mail.example ready\r\n\r\n")
        writer.close()

    async def main() -> BaseException | None:
        async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with pair.opened(base_url=f"http://127.0.0.1:{port}", timeouts=PATIENT) as (_, provider):
                return await ended(_attempt(provider, mode))

    assert type(run(main())) is errors.ProviderUnavailable


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("kind", ["hang", "stall"])
def test_cancelling_the_task_closes_the_socket_at_once(pair: Pair, mode: str, kind: Any) -> None:
    async def main() -> None:
        async with pair.opened() as (server, provider):
            server.fault = Fault(kind)
            task = asyncio.ensure_future(_attempt(provider, mode))
            await until(lambda: server.bodies and server.connections == 1, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.connections == 0, 1)

    run(main())


def test_leaving_a_stream_closes_the_socket_at_once(pair: Pair) -> None:
    async def main() -> None:
        async with pair.opened() as (server, provider):
            server.fault = Fault("stall", after=4)
            async with contextlib.aclosing(provider.stream(call(chat()))) as chunks:
                await anext(chunks)
                assert server.connections == 1
            await until(lambda: server.connections == 0, 1)

    run(main())


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("kind", ["hang", "stall"])
def test_a_timeout_closes_the_socket(pair: Pair, mode: str, kind: Any) -> None:
    async def main() -> None:
        async with pair.opened(timeouts=QUICK) as (server, provider):
            server.fault = Fault(kind)
            assert isinstance(await ended(_attempt(provider, mode)), errors.ProviderTimeout)
            await until(lambda: server.connections == 0, 1)

    run(main())


def test_a_fault_of_one_call_is_not_felt_by_others(pair: Pair) -> None:
    async def main() -> None:
        async with pair.opened(timeouts={**QUICK, "total_s": 20, "first_token_s": 20}) as (server, provider):
            tasks = [asyncio.ensure_future(_attempt(provider, MODES[turn % 2])) for turn in range(64)]
            server.fault = Fault("cut")
            await until(lambda: len(server.bodies) >= 20, 10)
            server.fault = None
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            broken = [each for each in outcomes if isinstance(each, BaseException)]
            assert all(type(each) is errors.ProviderBrokeOff for each in broken)
            assert all(each is None for each in [await ended(_attempt(provider, mode)) for mode in MODES])

    run(main())


@pytest.mark.parametrize("mode", MODES)
def test_no_key_is_ever_in_a_message(pair: Pair, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("SOME_API_KEY", key)
    words = f"Incorrect API key provided: {key}"

    async def main() -> list[BaseException | None]:
        told = []
        for status in (400, 401, 404, 429, 500):
            async with pair.opened(api_key_env="SOME_API_KEY") as (server, provider):
                wire = server.error(status)
                error = words if isinstance(wire, str) else {**wire, "message": words, "param": key}
                server.fault = Fault("status", status, error=error)
                told.append(await ended(_attempt(provider, mode)))
                assert server.key(server.headers[-1]) == key
        return told

    for error in run(main()):
        assert isinstance(error, GatewayError)
        assert key not in str(errors.dump(error)) and key not in str(error) and key not in repr(error)


@pytest.mark.parametrize("mode", MODES)
def test_a_missing_key_is_told_before_anything_is_sent(pair: Pair, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "")

    async def main() -> BaseException | None:
        async with pair.opened(api_key_env="SOME_API_KEY") as (server, provider):
            error = await ended(_attempt(provider, mode))
            assert server.connections == 0
            return error

    error = run(main())

    assert type(error) is errors.ProviderKeyRefused
    assert "SOME_API_KEY" in str(error)


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "tab\there"])
def test_a_key_that_is_none_is_refused(pair: Pair, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", key)

    async def main() -> BaseException | None:
        async with pair.opened(api_key_env="SOME_API_KEY") as (_, provider):
            return await ended(_attempt(provider, "whole"))

    error = run(main())

    assert type(error) is errors.ProviderKeyRefused
    assert key not in str(error)


@pytest.mark.parametrize("mode", MODES)
def test_without_a_key_no_authorization_is_sent(pair: Pair, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OLLAMA_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, "the key of somebody else")

    async def main() -> None:
        async with pair.opened() as (server, provider):
            await _attempt(provider, mode)
            assert server.key(server.headers[-1]) is None

    run(main())


def test_a_key_file_that_changes_is_taken_up(pair: Pair, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text("first-key\n")
    monkeypatch.setenv("SOME_API_KEY_FILE", str(path))

    async def main() -> None:
        async with pair.opened(api_key_env="SOME_API_KEY") as (server, provider):
            await _attempt(provider, "whole")
            assert server.key(server.headers[-1]) == "first-key"
            path.write_text("second-key\n")
            # A refused key is looked up again at once, an accepted one within a second.
            server.fault = Fault("status", 401)
            await ended(_attempt(provider, "whole"))
            server.fault = None
            await _attempt(provider, "whole")
            assert server.key(server.headers[-1]) == "second-key"
            path.unlink()
            server.fault = Fault("status", 401)
            await ended(_attempt(provider, "whole"))
            error = await ended(_attempt(provider, "whole"))
            assert type(error) is errors.ProviderKeyRefused and "SOME_API_KEY_FILE" in str(error)

    run(main())


def test_the_total_ends_a_stream_that_never_falls_silent(pair: Pair) -> None:
    async def main() -> tuple[BaseException | None, float]:
        timeouts = {**QUICK, "first_token_s": 5, "silence_s": 5, "total_s": 0.4}
        async with pair.opened(timeouts=timeouts) as (server, provider):
            server.fault = Fault("flood")
            begun = time.monotonic()
            error = await ended(_attempt(provider, "stream"))
            return error, time.monotonic() - begun

    error, took_s = run(main())

    assert type(error) is errors.ProviderTimeout
    assert took_s < 3


def test_each_event_of_a_slow_stream_is_waited_for_anew(pair: Pair) -> None:
    async def main() -> float:
        async with pair.opened(timeouts={**PATIENT, "silence_s": 0.8}) as (server, provider):
            server.pause_s = 0.2
            begun = time.monotonic()
            assert await ended(_attempt(provider, "stream")) is None
            return time.monotonic() - begun

    assert run(main()) > 0.8, "all of it took no longer than one silence may"


def test_the_last_word_of_a_stream_ends_it_though_its_body_stays_open() -> None:
    async def main() -> float:
        timeouts = {**PATIENT, "silence_s": 10}
        async with Pair("openai", "direct", openai_stand_in.Server).opened(timeouts=timeouts) as (server, provider):
            server.fault = Fault("stall", after=1_000)
            begun = time.monotonic()
            chunks = await collected(provider, call(chat()))
            assert chunks[-1]["usage"]
            return time.monotonic() - begun

    assert run(main()) < 5
