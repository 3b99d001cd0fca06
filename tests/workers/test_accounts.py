"""The ledger's rows: booked once, told of once, moved out of Redis once, whoever does it and however often."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest

from mesh import store
from mesh.allowances import Budget, Export, LedgerSettings
from mesh.errors import ConfigError
from mesh.reload import Reloaded
from mesh.settings import Config, parse_config
from routing import ledger
from routing.budgets import nano
from routing.ledger import Slot, Sums
from tests.conftest import RedisServer
from tests.workers.host import Host, answer, open_host
from tests.workers.test_fetch import LOOPBACK, Names
from tests.workers.test_pipe import tell
from web import keys
from web.keys import NewKey
from workers import accounts, exports
from workers.alerts import Alerts, secret_of, signature
from workers.exports import open_export
from workers.exports.folder import Folder
from workers.fetch import Fetcher, Rules, is_public
from workers.pipe import Pipe

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()
TODAY = dt.datetime.now(dt.UTC).date().isoformat()


def config(alerts: str = "") -> Config:
    return parse_config(f"provider_models: {{}}\nproviders: {{}}\nbudgets: {{{alerts}}}")


def write(server: RedisServer, *, cost: str = "0.25", tenant: str = "acme", key: str = "k1", **more: Any) -> None:
    attempts = [{"attempt": 1, "provider": "p", "model": "m", "outcome": "done", "cost_usd": cost}]
    fields = {
        "job": "job-1", "tenant": tenant, "key": key, "state": "done", "provider": "p", "model": "m",
        "attempts": orjson.dumps(attempts), "usage": b'{"prompt_tokens":11,"completion_tokens":7}', "cost_usd": cost,
        "created": 1, "ended": int(dt.datetime.now(dt.UTC).timestamp() * 1000), "tags": "", **more,
    }  # fmt: skip
    server.client().xadd("gw:ledger:rows", fields)  # type: ignore[arg-type]


async def totals(pipe: Pipe) -> Sums:
    booked = await pipe.do(store.usage([TODAY]))
    whole = Sums()
    for each in ledger.booked(TODAY, booked.days[0]).values():
        whole.add(each)
    return whole


def test_rows_are_booked_once_however_many_do_it(redis_server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        for _ in range(30):
            write(redis_server)
        silent = Alerts(pipe, config(), Fetcher(Rules(hosts=())))
        await asyncio.gather(*(accounts.book(pipe, LedgerSettings(), silent) for _ in range(8)))
        assert not await accounts.book(pipe, LedgerSettings(), silent)
        assert await totals(pipe) == Sums(30, 330, 210, Decimal("7.5"))
        assert await pipe.do(store.spending()) == {"cost_usd p": nano(Decimal("7.5"))}
        write(redis_server, cost="0.0000075")
        await accounts.book(pipe, LedgerSettings(), silent)
        assert (await totals(pipe)).cost_usd == Decimal("7.5000075")
        left_ms = redis_server.client().pttl(f"gw:usage:{TODAY}")
        assert 399 * 86_400_000 < left_ms <= 400 * 86_400_000  # type: ignore[operator]

    tell(redis_server, story)


def test_a_row_that_is_none_of_ours_stops_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = LedgerSettings(export=Export(to=f"file://{tmp_path}", after_s=0))

    async def story(pipe: Pipe) -> None:
        redis_server.client().xadd("gw:ledger:rows", {"job": "x", "attempts": "["})
        write(redis_server, attempts=b'[{"provider":1}]')
        write(redis_server)
        await accounts.book(pipe, settings, Alerts(pipe, config(), Fetcher(Rules(hosts=()))))
        assert (await totals(pipe)).requests == 1
        await accounts.move(pipe, settings, Folder(tmp_path))

    tell(redis_server, story)
    assert rows_in(tmp_path)[0]["attempts"] == "["


def test_every_attempt_counts_for_the_provider_it_was_sent_to() -> None:
    attempts = [
        {"attempt": 1, "provider": "a", "model": "x", "outcome": "unknown", "cost_usd": "0.5", "estimated": True},
        {"attempt": 2, "provider": "a", "model": "x", "outcome": "failed"},
        {"attempt": 3, "provider": "b", "model": "y", "outcome": "done", "cost_usd": "0.1"},
    ]
    fields = {
        "tenant": "t", "key": "k", "provider": "b", "model": "y", "ended": "1790000000000", "usage": "",
        "attempts": orjson.dumps(attempts).decode(), "tags": '{"team":"a","env":"x"}',
    }  # fmt: skip
    book = ledger.sums([store.Row("1-0", fields)])
    day = "2026-09-21"
    assert book == {
        Slot(day, "t", "k", "y", "b", fields["tags"]): Sums(1, 0, 0, Decimal("0.1")),
        Slot(day, "t", "k", "x", "a", fields["tags"]): Sums(0, 0, 0, Decimal("0.5"), 1),
    }
    by_tag = ledger.grouped(book, ["tag"], {"tag": "team"})
    assert [(names["tag"], sums.cost_usd) for names, sums in by_tag] == [
        ("env=x", Decimal("0.6")),
        ("team=a", Decimal("0.6")),
    ]
    assert ledger.grouped(book, ["provider"], {"tag": "team=b"}) == []


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for file in sorted(folder.glob("*/*.jsonl")) for line in file.read_text().splitlines()]


def test_old_rows_move_to_dated_files_exactly_once(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = LedgerSettings(export=Export(to=f"file://{tmp_path}", after_s=0, most_rows=10))

    async def story(pipe: Pipe) -> None:
        for number in range(35):
            write(redis_server, job=f"job-{number}")
        export = open_export(settings.export.to)
        assert export is not None
        assert not await accounts.move(pipe, settings, export), "what is not booked stays"
        await accounts.book(pipe, settings, Alerts(pipe, config(), Fetcher(Rules(hosts=()))))
        while any(await asyncio.gather(*(accounts.move(pipe, settings, export) for _ in range(3)))):
            pass
        write(redis_server, job="job-young")

    tell(redis_server, story)
    assert [row["job"] for row in rows_in(tmp_path)] == [f"job-{number}" for number in range(35)]
    assert rows_in(tmp_path)[0]["attempts"][0]["outcome"] == "done"
    assert [file.parent.name for file in tmp_path.glob("*/*")] == [TODAY] * len(list(tmp_path.glob("*/*")))
    left: Any = redis_server.client().xrange("gw:ledger:rows")
    assert [fields[b"job"] for _, fields in left] == [b"job-young"]


def test_who_dies_between_the_file_and_the_word_leaves_nothing_double(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    settings = LedgerSettings(export=Export(to=f"file://{tmp_path}", after_s=0, most_rows=10))

    class Dies(Folder):
        async def write(self, rows: Any) -> None:
            await super().write(rows)
            raise OSError("the process ends here")

    async def story(pipe: Pipe) -> None:
        for number in range(4):
            write(redis_server, job=f"job-{number}")
        await accounts.book(pipe, settings, Alerts(pipe, config(), Fetcher(Rules(hosts=()))))
        with pytest.raises(OSError, match="ends here"):
            await accounts.move(pipe, settings, Dies(tmp_path))
        write(redis_server, job="job-4")
        await accounts.book(pipe, settings, Alerts(pipe, config(), Fetcher(Rules(hosts=()))))
        while await accounts.move(pipe, settings, Folder(tmp_path)):
            pass

    tell(redis_server, story)
    assert [row["job"] for row in rows_in(tmp_path)] == [f"job-{number}" for number in range(5)]


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as a PUT needs."""

    kept: dict[str, bytes]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            size, _, rest = body.partition(b"\r\n")
            body = rest[: int(size.partition(b";")[0], 16)]
        self.kept[self.path] = body
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_bucket_takes_the_same_files(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bucket", (_Bucket,), {"kept": kept}))
    Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    rows = [store.Row("1790000000000-0", {"job": "a", "attempts": "[]", "usage": "", "tags": ""})]
    try:
        export = open_export("s3://books/ledger")
        assert export is not None
        asyncio.run(export.write(rows))
    finally:
        server.shutdown()
    assert kept == {"/books/ledger/2026-09-21/1790000000000-0_1790000000000-0.jsonl": exports.lines(rows)}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    answers = {"/alerts": answer(b"", "204 No Content"), "/away": answer(b"", "302 Found", Location="https://a.b/")}
    with open_host(tmp_path, answers) as opened:
        yield opened


def fetcher(host: Host) -> Fetcher:
    return Fetcher(
        Rules(hosts=()),
        resolve=Names(),
        allowed=lambda address: address == LOOPBACK or is_public(address),
        tls=host.trust,
        port=host.port,
    )


def alerting(path: str = "/alerts") -> Config:
    return config(
        f'alerts: {{url: "https://cdn.example.com{path}", secret_env: ALERTS, at: [0.5, 1.0]}}, '
        "each_tenant: {soft_month_usd: 10}"
    )


def test_a_share_that_is_spent_is_told_once_and_signed(
    redis_server: RedisServer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERTS", SECRET)
    client = redis_server.client()

    async def story(pipe: Pipe) -> None:
        key, _ = keys.create(
            lambda call: store.run(client, call), NewKey(tenant="acme", budget=Budget(day_usd=Decimal(1)))
        )
        key_id = key.split("-")[1]
        client.hset(f"gw:holds:key:{key_id}", f"{TODAY}", nano(Decimal("0.6")))
        client.hset("gw:holds:tenant:acme", f"{TODAY[:7]}", nano(Decimal("4.9")))
        alerts = [Alerts(pipe, alerting(), fetcher(host)) for _ in range(3)]
        for _ in range(2):
            await asyncio.gather(*(each.look({("acme", key_id)}) for each in alerts))
        await asyncio.gather(*(each.sent() for each in alerts))
        assert len(host.bodies) == 1
        client.hset("gw:holds:tenant:acme", f"{TODAY[:7]}", nano(Decimal("11")))
        await alerts[0].look({("acme", key_id)})
        await alerts[0].sent()

    tell(redis_server, story)
    told = [orjson.loads(body)["data"] for body in host.bodies]
    first, *rest = [(each["scope"], each["bound"], each["share"], each["spent_usd"]) for each in told]
    assert first == ("key", "hard", 0.5, "0.6")
    assert sorted(rest) == [("tenant", "soft", 0.5, "11"), ("tenant", "soft", 1.0, "11")]  # sent side by side
    sent = dict(re.findall(r"(?m)^(webhook-[a-z]+): (.+?)\r$", host.heard[0]))
    signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + host.bodies[0]
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert sent["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def test_the_signature_is_the_specifications_own_example() -> None:
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_%%%", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ="])
def test_what_is_no_secret_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match=r"secret_env"):
        secret_of(text)


def test_an_alert_that_is_not_taken_is_tried_again_and_then_free_for_others(
    redis_server: RedisServer, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERTS", SECRET)
    monkeypatch.setattr("workers.alerts.PAUSES_S", (0.0, 0.0))
    client = redis_server.client()

    async def story(pipe: Pipe) -> None:
        client.hset("gw:holds:tenant:acme", f"{TODAY[:7]}", nano(Decimal(6)))
        alerts = Alerts(pipe, alerting("/away"), fetcher(host))
        await alerts.look({("acme", "k")})
        await alerts.sent()

    tell(redis_server, story)
    assert len(host.heard) == 3 and len({re.findall(r"webhook-id: (\S+)", head)[0] for head in host.heard}) == 1
    assert client.exists(f"gw:alerted:tenant:acme:{TODAY[:7]}:soft:0.5") == 0


def test_a_changed_place_and_a_changed_budget_are_taken_up_without_a_restart(
    redis_server: RedisServer, tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERTS", SECRET)
    monkeypatch.setattr("workers.accounts.BOOK_EVERY_S", 0.02)
    monkeypatch.setattr("workers.accounts.EXPORT_EVERY_S", 0.02)
    path = tmp_path / "gateway-settings.yaml"

    def write_config(more: str) -> None:
        path.write_text(f"provider_models: {{}}\nproviders: {{}}\n{more}")

    def exporting(to: str, secret: str = "ALERTS") -> str:
        alert = f'alerts: {{url: "https://cdn.example.com/alerts", secret_env: {secret}, at: [0.5]}}'
        export = f'ledger: {{export: {{to: "file://{tmp_path / to}", after_s: 0}}}}'
        return f"budgets: {{{alert}, each_tenant: {{day_usd: 1}}}}\n{export}"

    async def until(true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110  # what is waited for happens in Redis and on disk
                await asyncio.sleep(0.01)

    async def story(pipe: Pipe) -> None:
        write_config("")
        settings = Reloaded(path, parse_config)
        client = redis_server.client()
        client.hset("gw:holds:tenant:acme", f"{TODAY}", nano(Decimal("0.6")))
        duties = [asyncio.create_task(each) for each in accounts.duties(pipe, settings, fetcher(host))]
        write(redis_server, job="nowhere")
        await until(lambda: client.get("gw:usage:booked"))
        assert client.xlen("gw:ledger:rows") == 1 and host.bodies == []
        for place in ("first", "second"):
            write_config(exporting(place))
            assert settings.look()
            write(redis_server, job=place)
            await until(lambda: client.xlen("gw:ledger:rows") == 0)
        await until(lambda: host.bodies)
        # A secret that is none leaves the alerts as they were, and the rest is in force.
        write_config(exporting("third", "MISSING"))
        assert settings.look()
        client.hset("gw:holds:tenant:owl", f"{TODAY}", nano(Decimal("0.6")))
        write(redis_server, job="third", tenant="owl")
        await until(lambda: len(host.bodies) == 2 and client.xlen("gw:ledger:rows") == 0)
        for task in duties:
            task.cancel()
        await asyncio.gather(*duties, return_exceptions=True)

    tell(redis_server, story)
    jobs = {place: [row["job"] for row in rows_in(tmp_path / place)] for place in ("first", "second", "third")}
    assert jobs == {"first": ["nowhere", "first"], "second": ["second"], "third": ["third"]}
