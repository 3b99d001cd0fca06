"""A web process killed or told to end, and clients that hang up."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson
import pytest
from simple_websocket import ConnectionClosed

from tests.chaos.callers import text_of
from tests.chaos.conftest import Gateway, names
from tests.chaos.upstream import Wish
from tests.conftest import wait_until


def jobs_of(gateway: Gateway) -> list[str]:
    return [name.removeprefix("gw:job:") for name in names(gateway, "gw:job:*")]


def test_a_reply_lost_with_its_web_process_is_read_from_another(gateway: Gateway) -> None:
    doomed = gateway.start_web()
    caller = gateway.caller(doomed)
    other = caller.at(gateway.start_web().url)
    gateway.start_worker()
    wish = Wish("kept", holds=1)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(caller.ask, wish, **{"X-Gateway-Disconnect": "continue"})
        wait_until(lambda: gateway.upstream.calls["kept"], what="it runs")
        later = caller.ask_later(Wish("later", holds=1))
        wait_until(lambda: gateway.upstream.calls["later"], what="both run")
        doomed.kill()
        with pytest.raises(httpx.TransportError):
            asking.result(10)
    (kept_id,) = set(jobs_of(gateway)) - {later.job_id}
    texts = {kept_id: wish.text, later.job_id: later.wish.text}
    for job_id in texts:
        with ThreadPoolExecutor(1) as pool, other.events(job_id) as watched:
            # One follows the job while it runs: what it had written to the dead process's channel does not matter.
            following = pool.submit(list, watched)
            gateway.upstream.release("kept" if job_id == kept_id else "later")
            entries = following.result(10)
        assert orjson.loads(entries[0].data)["choices"][0]["message"]["content"] == texts[job_id]
        assert entries[-1].data == "[DONE]"
        job = other.job(job_id)
        assert job["state"] == "done"
        assert job["result"]["choices"][0]["message"]["content"] == texts[job_id]
    gateway.settle()
    assert {row["state"] for row in gateway.rows().values()} == {"done"}
    assert gateway.upstream.calls == {"kept": 1, "later": 1}


def test_a_web_process_told_to_end_answers_those_who_wait_and_sends_sockets_elsewhere(gateway: Gateway) -> None:
    web = gateway.start_web()
    caller = gateway.caller(web)
    gateway.start_worker()
    blocking, streamed = Wish("blocking", holds=1), Wish("streamed", holds=1, after=2)
    with ThreadPoolExecutor(1) as pool, caller.stream(streamed) as (_, entries), caller.websocket() as socket:
        asking = pool.submit(caller.ask, blocking)
        seen = [next(entries), next(entries)]
        wait_until(lambda: gateway.upstream.calls["blocking"], what="both run")
        socket.send('{"type": "ping"}')
        assert orjson.loads(socket.receive(5))["type"] == "pong"
        web.popen.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            socket.receive(5)
        assert closed.value.reason == 1001

        def refused() -> bool:
            try:
                caller.client.get("/health/live")
            except (httpx.ConnectError, httpx.ReadError):  # gunicorn resets what still waits to be accepted
                return True
            return False

        wait_until(refused, 5, "new connections are refused")
        assert web.alive
        gateway.upstream.release("blocking")
        gateway.upstream.release("streamed")
        answer = asking.result(10)
        seen += entries
    assert answer.right
    assert text_of(seen) == "".join(streamed.pieces)
    assert web.popen.wait(10) == 0


def test_who_still_waits_when_the_grace_ends_is_told_that_the_job_goes_on(gateway: Gateway) -> None:
    web = gateway.start_web(GATEWAY_WEB_GRACE_S="6")
    caller = gateway.caller(web)
    other = caller.at(gateway.start_web().url)
    gateway.start_worker()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(caller.ask, Wish("slow", holds=1))
        wait_until(lambda: gateway.upstream.calls["slow"], what="it runs")
        assert web.terminate(15) == 0
        answer = asking.result(5)
    assert answer.status == 503
    assert answer.error is not None and answer.error["code"] == "stopping"
    (job_id,) = jobs_of(gateway)
    gateway.upstream.release("slow")
    wait_until(lambda: other.ended(job_id), what="the job goes on")
    assert other.job(job_id)["state"] == "done"


@pytest.mark.parametrize("stream", [pytest.param(False, id="a blocked POST"), pytest.param(True, id="a stream")])
def test_a_hang_up_closes_the_call_at_the_upstream(gateway: Gateway, stream: bool) -> None:
    caller = gateway.caller(gateway.start_web())
    gateway.start_worker()
    wish = Wish("left", holds=1, after=2)
    if stream:
        with caller.stream(wish) as (_, entries):
            assert [next(entries).content, next(entries).content] == wish.pieces[:2]
    else:
        with pytest.raises(httpx.ReadTimeout):
            caller.client.post(
                "/v1/chat/completions",
                json={"model": "gpt-4o", "messages": [{"role": "user", "content": wish.prompt()}]},
                timeout=1.0,
            )
    gone = time.monotonic()
    wait_until(lambda: gateway.upstream.hung_up["left"], 5, "the call is closed")
    assert time.monotonic() - gone < 1.5
    (job_id,) = jobs_of(gateway)
    wait_until(lambda: caller.ended(job_id), 5)
    job = caller.job(job_id)
    assert job["state"] == "cancelled"
    assert len(gateway.rows()) == 1
    if stream:
        assert job["result"]["choices"][0]["message"]["content"] == "".join(wish.pieces[:2])
