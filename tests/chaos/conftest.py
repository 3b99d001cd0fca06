"""A gateway of its own for each test: Valkey, web processes and workers to be harmed, before an upstream that obeys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.callers import Answer, Caller
from tests.chaos.upstream import Upstream
from tests.conftest import RedisServer, wait_until
from tests.stack import Process, Stack


class Gateway:
    """A stack with its upstream and a key; the test starts the processes it wants, and the load."""

    def __init__(self, stack: Stack, upstream: Upstream) -> None:
        self.stack = stack
        self.upstream = upstream
        self.redis = stack.redis
        self.key = stack.key()

    def start_web(self, **environment: str) -> Process:
        return self.stack.start_web(**environment)

    def start_worker(self, **environment: str) -> Process:
        return self.stack.start_worker(queues="", ready=True, **environment)

    def caller(self, web: Process) -> Caller:
        return Caller(web.url, self.key)

    def open_jobs(self) -> int:
        return int(self.redis.admin().zcard("gw:jobs:open"))

    def settle(self, within_s: float = 30.0) -> None:
        """Wait until every accepted job has ended."""
        wait_until(lambda: not self.open_jobs(), within_s, "every accepted job has ended")

    def rows(self) -> dict[str, dict[str, str]]:
        """The ledger by job, of which no job may have two rows."""
        rows = self.stack.ledger()
        doubled = [job for job, count in Counter(row["job"] for row in rows).items() if count > 1]
        assert not doubled
        return {row["job"]: row for row in rows}

    def check_each_done_once(self, answers: list[Answer], *, killed: bool = False) -> None:
        """Every accepted prompt has its answer, one ledger row that says done, and one call at the upstream beside one
        for each attempt of which nobody knows; of a refused one nobody has heard.

        killed: a worker was, with `kill -9`. A claim counts as sent, so what it had claimed is `unknown` whether the
        request had left or not: the upstream may have been asked less often.
        """
        rows = self.rows()
        refused = [answer for answer in answers if answer.status == 503]
        assert {answer.status for answer in answers} <= {200, 202, 503}, Counter(answer.status for answer in answers)
        for answer in answers:
            if answer.status == 200:
                assert answer.right, answer
            if answer.status in (200, 202):
                assert rows[answer.job_id]["state"] == "done", rows[answer.job_id]
                unknown = rows[answer.job_id]["attempts"].count('"unknown"')
                least = 1 if killed else 1 + unknown
                assert least <= self.upstream.calls[answer.wish.marker] <= 1 + unknown
        for answer in refused:
            assert answer.headers["Retry-After"]
            assert answer.error is not None and set(answer.error) == {"message", "type", "param", "code"}
            assert not self.upstream.calls[answer.wish.marker]
        assert len(rows) == len(answers) - len(refused)


def names(gateway: Gateway, pattern: str) -> list[str]:
    """The keys in Valkey that match."""
    keys: list[bytes] = gateway.redis.admin().keys(pattern)  # type: ignore[assignment]
    return [key.decode() for key in keys]


@contextmanager
def opened(folder: Path) -> Iterator[Gateway]:
    """A Valkey and an upstream, with whatever is started beside them."""
    server = RedisServer(folder)
    server.start()
    with Upstream() as upstream:
        stack = Stack(server, folder, {"OPENAI_BASE_URL": f"{upstream.url}/v1", "OPENAI_API_KEY": "k"})
        try:
            yield Gateway(stack, upstream)
        finally:
            stack.stop()
            server.stop()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway for one test alone, to be harmed."""
    with opened(tmp_path) as own:
        yield own
