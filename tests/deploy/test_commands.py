"""The containers' own command lines, as processes: they start, answer their probes, and end without losing anything."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from tests.chaos.callers import Caller
from tests.chaos.upstream import Upstream, Wish
from tests.conftest import free_port, wait_until
from tests.deploy.manifests import K8S, Object
from tests.deploy.pods import Cluster, Container

pytestmark = pytest.mark.timeout(600)  # the first test of all puts in place what reads manifests


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Container:
    return cluster.start_ready("web")


@pytest.fixture(scope="module")
def worker(cluster: Cluster) -> Container:
    return cluster.start_ready("worker-openai")


@pytest.fixture(scope="module")
def caller(cluster: Cluster, web: Container) -> Caller:
    return Caller(web.url(), cluster.key())


def test_the_readmes_commands_make_a_key_that_is_let_in(web: Container) -> None:
    (command,) = re.findall(r"exec deploy/web -- (.+?)\)\n", (K8S / "README.md").read_text())
    key = web.say(command.split()).strip()
    answer = httpx.get(f"{web.url()}/providers", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    assert {row["name"] for row in answer.json()["data"] if row["enabled"]} == {"openai", "anthropic", "ollama"}


def test_a_worker_of_every_lane_starts_and_is_alive_and_ready(cluster: Cluster, worker: Container) -> None:
    started = [cluster.start(name) for name in cluster.manifests.workers() if name != "worker-openai"]
    wait_until(lambda: all(container.content() for container in started), 30, "all are ready by their own probes")
    assert {each.process.name for each in started} == {"worker-anthropic", "worker-ollama", "worker-system"}
    for container in started:
        assert container.process.terminate() == 0


def test_a_worker_that_hangs_is_no_longer_alive(worker: Container) -> None:
    heartbeat = worker.root / "tmp" / "heartbeat"
    worker.process.freeze()
    try:
        long_ago = time.time() - 61
        os.utime(heartbeat, (long_ago, long_ago))
        assert not worker.probe("livenessProbe")
    finally:
        worker.process.thaw()
    wait_until(lambda: worker.probe("livenessProbe"), 10, "the heart beats again")


def metrics_used() -> set[str]:
    """The gateway's metrics that alerts, dashboard, autoscaler and adapter speak of."""
    files = [*(K8S / "components" / "monitoring").iterdir(), *(K8S / "argocd" / "apps").iterdir()]
    return {name for path in files for name in re.findall(r"\bgateway_[a-z_]+", path.read_text())}


def test_every_metric_that_is_watched_is_exported(caller: Caller, web: Container, worker: Container) -> None:
    assert caller.ask(Wish("measured")).right
    text = httpx.get(web.url("metrics") + "/metrics", trust_env=False).text
    assert metrics_used() >= {"gateway_requests_total", "gateway_request_seconds_bucket", "gateway_waiting"}
    assert metrics_used() <= set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE))


def test_callers_that_wait_are_counted(caller: Caller, web: Container, worker: Container, upstream: Upstream) -> None:
    def waiting() -> float:
        text = httpx.get(web.url("metrics") + "/metrics", trust_env=False).text
        return float(re.findall(r"^gateway_waiting (\S+)", text, re.MULTILINE)[0])

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(caller.ask, Wish(f"counted-{number}", holds=1)) for number in range(3)]
        wait_until(lambda: waiting() == 3, 5, "three wait")
        for number in range(3):
            upstream.release(f"counted-{number}")
        assert all(each.result(10).right for each in asking)
    wait_until(lambda: waiting() == 0, 5, "nobody waits")


@pytest.fixture
def late_ollama() -> Iterator[tuple[HTTPServer, list[str]]]:
    """A server that is bound but not yet listened to, and the paths that it was asked for."""
    asked: list[str] = []

    class Version(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", free_port()), Version, bind_and_activate=False)
    yield server, asked
    server.server_close()


def test_ollamas_worker_waits_for_its_server(
    cluster: Cluster, worker: Container, late_ollama: tuple[HTTPServer, list[str]]
) -> None:
    server, asked = late_ollama
    init: Object = cluster.manifests.pods()["worker-ollama"]["spec"]["initContainers"][0]
    environment = worker.environment | {"OLLAMA_HOST": f"http://127.0.0.1:{server.server_address[1]}"}
    waiting = Container(init, worker.root, {}, worker.process, environment)
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(waiting.run, init["command"])
        assert not ended.done()
        server.server_bind()
        server.server_activate()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert ended.result(20) == 0
    assert asked == ["/api/version"]
    server.shutdown()


def test_nothing_is_lost_when_a_door_and_a_worker_are_told_to_end_during_fifty_streams(
    cluster: Cluster, caller: Caller, web: Container, worker: Container, upstream: Upstream
) -> None:
    streams = [Wish(f"stream-{number}", chunks=60, pace_ms=200) for number in range(50)]
    before = int(cluster.client().xlen("gw:ledger:rows"))
    with ThreadPoolExecutor(60) as pool:
        streaming = [pool.submit(caller.ask_streaming, wish) for wish in streams]
        wait_until(lambda: all(upstream.calls[wish.marker] for wish in streams), 30, "all fifty run")
        # As a rollout does it: the new pods are ready before the old ones are told.
        new_web, new_worker = cluster.start_ready("web"), cluster.start_ready("worker-openai")
        worker.process.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: not worker.probe("readinessProbe"), 5, "it no longer says that it is ready")
        pausing = pool.submit(web.pre_stop)
        later = caller.at(new_web.url())
        others = [pool.submit(later.ask, Wish(f"other-{number}")) for number in range(8)]
        assert all(each.result(30).right for each in others)
        assert pausing.result(30) == 0
        web.process.popen.send_signal(signal.SIGTERM)
        answers = [each.result(60) for each in streaming]
    assert all(answer.right for answer in answers), [answer for answer in answers if not answer.right][:3]
    assert web.process.popen.wait(20) == 0
    assert worker.process.popen.wait(20) == 0
    assert new_worker.process.alive
    assert {upstream.calls[wish.marker] for wish in streams} == {1}
    assert int(cluster.client().xlen("gw:ledger:rows")) - before == 58
