"""How a provider's worker comes by the bytes of images, over a real Valkey."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from mesh import store, wire
from mesh.errors import GatewayError, Overloaded, RequestError, WorkerLost
from mesh.job import Claim, Spec, Submission, Target, new_id
from mesh.seal import Sealer
from mesh.settings import FetchLimits
from tests.conftest import RedisServer
from tests.workers.host import GIF, PDF, PNG, Host, answer, open_host
from workers.fetch import Fetcher
from workers.images import CODE, Images, rules
from workers.images import answer as answer_fetch
from workers.pipe import Pipe
from workers.providers import ADAPTERS, Call

SEALER = Sealer({"a": bytes(32)})
LIMITS = FetchLimits(images=True, hosts=["*.example.com"], wait_s=20)
CDN = "https://cdn.example.com"
ANSWERS = {"/png": answer(PNG), "/gif": answer(GIF), "/pdf": answer(PDF), "/big": answer(PNG.ljust(9_000, b"\0"))}


def image(url: str, **more: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def body(*parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": "llava",
        "messages": [
            {"role": "system", "content": "Look."},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]},
        ],
    }


def data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@dataclass
class Mesh:
    """A running job, and what a worker-system would do."""

    pipe: Pipe
    claim: Claim
    fetcher: Fetcher

    async def inline(self, asked: dict[str, Any], limits: FetchLimits = LIMITS, **kw: bool) -> dict[str, Any]:
        seal = SEALER.job(self.claim.tenant, self.claim.id)
        return await Images(self.pipe, limits).inline(self.claim, seal, asked, **{"takes_urls": False, **kw})

    async def rung(self) -> list[str]:
        """The fetch ids of the messages that wait."""
        messages = await self.pipe.do(store.Call(("LRANGE", "gw:system", 0, -1), list))
        return [re.findall(r'"\[\[\\"(\w+)\\"\]', message.decode())[0] for message in messages]

    async def serve(self, sealer: Sealer = SEALER) -> None:
        """Do what is asked, for ever."""
        while True:
            message = await self.pipe.do(store.Call(("RPOP", "gw:system"), lambda reply: reply))
            if message is None:
                await asyncio.sleep(0.01)
                continue
            fetch_id = re.findall(r'"\[\[\\"(\w+)\\"\]', message.decode())[0]
            await answer_fetch(self.pipe, sealer, self.fetcher, fetch_id)

    async def left(self) -> list[bytes]:
        """The keys of questions and answers."""
        return await self.pipe.do(
            store.Call(("SCAN", 0, "MATCH", "gw:fetch*", "COUNT", 10_000), lambda reply: list(reply[1]))
        )


Story = Callable[[Mesh], Coroutine[Any, Any, None]]
Tell = Callable[..., None]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with open_host(tmp_path_factory.mktemp("host"), ANSWERS) as opened:
        yield opened


@contextlib.asynccontextmanager
async def open_mesh(server: RedisServer, host: Host, private: bool, limits: FetchLimits) -> AsyncIterator[Mesh]:
    async def resolve(name: str) -> tuple[str]:
        return ("127.0.0.1",)

    job = Submission(
        id=new_id(),
        tenant="acme",
        key="k1",
        spec=Spec(endpoint="chat.completions", model="llava", targets=(Target("ollama", "llava"),)),
        request=b"sealed",
        timeout_ms=60_000,
        retention_ms=60_000,
        private=private,
    )
    client = server.client()
    store.run(client, store.submit(job, lane_limit=10, idempotency_ms=1000, index_ms=1000))
    claim = store.run(client, store.claim("w1", 1, 1, 0, [("ollama", True)], max_attempts=3)).jobs[0]
    fetcher = Fetcher(rules(limits), resolve=resolve, allowed=lambda address: True, tls=host.trust, port=host.port)
    pipe = Pipe(wire.Address.parse(server.url), "test-images")
    running = asyncio.create_task(pipe.run())
    try:
        async with asyncio.timeout(30):
            yield Mesh(pipe, claim, fetcher)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
def tell(redis_server: RedisServer, host: Host) -> Tell:
    def told(story: Story, *, private: bool = False, limits: FetchLimits = LIMITS) -> None:
        async def main() -> None:
            async with open_mesh(redis_server, host, private, limits) as mesh:
                await story(mesh)

        asyncio.run(main())

    return told


@contextlib.asynccontextmanager
async def system(mesh: Mesh, sealer: Sealer = SEALER) -> AsyncIterator[None]:
    serving = asyncio.create_task(mesh.serve(sealer))
    try:
        yield
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def refusal(mesh: Mesh, asked: dict[str, Any], kind: type[GatewayError] = RequestError, **kw: Any) -> Any:
    with pytest.raises(kind) as refused:
        await mesh.inline(asked, **kw)
    return refused.value


def test_each_url_becomes_its_bytes_in_its_place_and_nothing_else_changes(tell: Tell) -> None:
    inner = data_url(b"mine", "png")
    asked = body(image(f"{CDN}/png", detail="low"), image(inner), image(f"{CDN}/gif"), image(f"{CDN}/png"))
    before = repr(asked)

    async def story(mesh: Mesh) -> None:
        async with system(mesh):
            given = await mesh.inline(asked)
        png, gif = data_url(PNG, "png"), data_url(GIF, "gif")
        assert given == body(image(png, detail="low"), image(inner), image(gif), image(png))
        assert repr(asked) == before
        assert not await mesh.left()

    tell(story)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(body(), id="no image"),
        pytest.param(body(image(data_url(PNG, "png"))), id="bytes"),
        pytest.param(body(image("DATA:image/png;base64,AAAA")), id="bytes in capitals"),
        pytest.param({"model": "m", "input": "text"}, id="an embedding"),
        pytest.param({"model": "m", "prompt": "text"}, id="a completion"),
        pytest.param({"model": "m", "messages": [{"role": "assistant", "content": None}]}, id="no content"),
    ],
)
@pytest.mark.parametrize("private", [False, True])
def test_a_request_without_urls_is_left_as_it_is(tell: Tell, asked: dict[str, Any], private: bool) -> None:
    async def story(mesh: Mesh) -> None:
        assert await mesh.inline(asked, FetchLimits()) is asked
        assert not await mesh.rung()

    tell(story, private=private)


def test_a_provider_that_fetches_itself_gets_the_url(tell: Tell) -> None:
    async def story(mesh: Mesh) -> None:
        asked = body(image(f"{CDN}/png"))
        assert await mesh.inline(asked, FetchLimits(), takes_urls=True) is asked

    tell(story)


@pytest.mark.parametrize("takes_urls", [False, True])
@pytest.mark.parametrize("limits", [LIMITS, FetchLimits()], ids=["fetching on", "fetching off"])
def test_for_a_private_request_nobody_fetches(tell: Tell, takes_urls: bool, limits: FetchLimits) -> None:
    async def story(mesh: Mesh) -> None:
        asked = body(image(data_url(PNG, "png")), image(f"{CDN}/png"))
        error = await refusal(mesh, asked, limits=limits, takes_urls=takes_urls)
        assert (error.status, error.code, error.param) == (400, CODE, "messages[1].content[2].image_url")
        assert "private" in error.message and "data URL" in error.message
        assert not await mesh.rung() and not await mesh.left()

    tell(story, private=True)


def test_redis_itself_refuses_to_ask_for_a_private_job(tell: Tell) -> None:
    async def story(mesh: Mesh) -> None:
        assert await mesh.pipe.do(store.fetch(mesh.claim, "a" * 32, b"sealed", 1000)) == "private"
        assert not await mesh.rung() and not await mesh.left()

    tell(story, private=True)


@pytest.mark.parametrize(
    ("limits", "parts", "param", "why"),
    [
        pytest.param({"images": False}, ["/png"], 1, "does not fetch", id="off"),
        pytest.param({"hosts": ["a.example.org"]}, ["/png"], 1, "may fetch from", id="another host"),
        pytest.param({"max_images": 2}, ["/1", "/2", "/3"], 3, "2 images", id="too many"),
        pytest.param({}, ["/png", "/missing"], 2, "status 404", id="not there"),
        pytest.param({}, ["/png", "/pdf"], 2, "none of image/png", id="no image"),
        pytest.param({"max_bytes": 1_000}, ["/gif", "/big"], 2, "larger than 1000 bytes", id="too large"),
        pytest.param({"max_total_bytes": 9_500}, ["/png", "/big"], None, "bytes together", id="too large together"),
    ],
)
def test_what_may_not_be_fetched_or_cannot_be_names_its_place(
    tell: Tell, limits: Mapping[str, Any], parts: list[str], param: int | None, why: str
) -> None:
    allowed = FetchLimits(**{**LIMITS.model_dump(), **limits})

    async def story(mesh: Mesh) -> None:
        async with system(mesh):
            error = await refusal(mesh, body(*(image(CDN + path) for path in parts)), limits=allowed)
        assert (error.status, error.code) == (400, CODE)
        assert why in error.message
        if param is not None:
            assert error.param == f"messages[1].content[{param}].image_url"
        assert not await mesh.left()

    tell(story, limits=allowed)


@pytest.mark.parametrize("url", ["http://cdn.example.com/png", "https://127.0.0.1/", "https://u:p@cdn.example.com/"])
def test_a_url_that_no_rule_allows_does_not_even_reach_redis(tell: Tell, url: str) -> None:
    async def story(mesh: Mesh) -> None:
        error = await refusal(mesh, body(image(url)))
        assert (error.code, error.param) == (CODE, "messages[1].content[1].image_url")
        assert not await mesh.rung()

    tell(story)


def test_a_system_worker_that_may_not_fetch_refuses_whoever_asks(redis_server: RedisServer, host: Host) -> None:
    async def main() -> None:
        async with open_mesh(redis_server, host, False, FetchLimits()) as mesh, system(mesh):
            error = await refusal(mesh, body(image(f"{CDN}/png")))
            assert error.code == CODE and "may fetch from" in error.message

    asyncio.run(main())


def test_when_nobody_fetches_the_wait_has_an_end_and_nothing_is_left(tell: Tell) -> None:
    async def story(mesh: Mesh) -> None:
        limits = FetchLimits(images=True, hosts=["*"], wait_s=0.3)
        error = await refusal(mesh, body(image(f"{CDN}/png")), Overloaded, limits=limits)
        assert error.status == 503 and error.param == "messages[1].content[1].image_url"
        assert not await mesh.left()
        [late] = await mesh.rung()
        await answer_fetch(mesh.pipe, SEALER, mesh.fetcher, late)  # long after: nobody waits
        assert not await mesh.left()

    tell(story)


def test_every_key_of_a_question_ends_by_itself(tell: Tell) -> None:
    async def story(mesh: Mesh) -> None:
        seal = SEALER.job(mesh.claim.tenant, mesh.claim.id)
        sealed = seal.seal("fetch:" + "a" * 32, f"{CDN}/png".encode())
        for fetch_id in ("a" * 32, "b" * 32):
            assert await mesh.pipe.do(store.fetch(mesh.claim, fetch_id, sealed, 5_000)) == "ok"
        assert await mesh.pipe.do(store.put_fetched("b" * 32, b"sealed"))
        for key in (b"fetch:" + b"a" * 32, b"fetched:" + b"b" * 32):
            assert 0 < await mesh.pipe.do(store.Call(("PTTL", b"gw:" + key), int)) <= 5_000

    tell(story)


def test_the_same_question_and_the_same_answer_twice_count_once(tell: Tell) -> None:
    async def story(mesh: Mesh) -> None:
        fetch_id = "a" * 32
        for _ in range(2):
            assert await mesh.pipe.do(store.fetch(mesh.claim, fetch_id, b"sealed", 5_000)) == "ok"
        assert await mesh.rung() == [fetch_id]
        assert [await mesh.pipe.do(store.put_fetched(fetch_id, text)) for text in (b"one", b"two")] == [True, False]
        assert await mesh.pipe.do(store.get_fetched(fetch_id)) == b"one"

    tell(story)


def test_a_job_that_another_worker_holds_asks_for_nothing(tell: Tell, redis_server: RedisServer) -> None:
    async def story(mesh: Mesh) -> None:
        redis_server.client().hset(f"gw:job:{mesh.claim.id}", "fence", mesh.claim.fence + 1)
        await refusal(mesh, body(image(f"{CDN}/png")), WorkerLost)
        assert not await mesh.rung()

    tell(story)


def test_a_queue_that_nobody_empties_does_not_grow_for_ever(tell: Tell, redis_server: RedisServer) -> None:
    async def story(mesh: Mesh) -> None:
        redis_server.client().rpush("gw:system", *(["x"] * store.MOST_FETCHES))
        error = await refusal(mesh, body(image(f"{CDN}/png")), Overloaded)
        assert error.retry_after_s and not await mesh.left()

    tell(story)


def test_a_system_worker_with_another_sealing_key_says_so(tell: Tell) -> None:
    async def story(mesh: Mesh) -> None:
        async with system(mesh, Sealer({"b": bytes(range(32))})):
            error = await refusal(mesh, body(image(f"{CDN}/png")), GatewayError)
        assert error.status == 500 and "sealing keys" in error.message

    tell(story)


def test_neither_the_url_nor_the_image_lies_open_in_redis(tell: Tell, redis_server: RedisServer) -> None:
    async def story(mesh: Mesh) -> None:
        asking = asyncio.create_task(mesh.inline(body(image(f"{CDN}/png?token=hush"))))
        while not (ids := await mesh.rung()):  # noqa: ASYNC110  # Redis has no event to wait for
            await asyncio.sleep(0.005)
        client: Any = redis_server.client()
        asked = b"".join(client.hgetall(f"gw:fetch:{ids[0]}").values()) + b"".join(client.lrange("gw:system", 0, -1))
        assert b"example" not in asked and b"hush" not in asked
        await mesh.pipe.do(store.put_fetched(ids[0], b"a.garbage"))
        with pytest.raises(GatewayError, match="sealing keys"):
            await asking

    tell(story)


def test_a_job_that_is_stopped_takes_its_questions_back(tell: Tell) -> None:
    async def story(mesh: Mesh) -> None:
        asking = asyncio.create_task(mesh.inline(body(image(f"{CDN}/png"), image(f"{CDN}/gif"))))
        while len(await mesh.left()) < 2:  # noqa: ASYNC110  # likewise
            await asyncio.sleep(0.005)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not await mesh.left()

    tell(story)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"images": True}, id="on but no host"),
        pytest.param({"hosts": ["https://cdn.example.com"]}, id="a URL for a host"),
        pytest.param({"hosts": ["cdn.*.com"]}, id="a star inside"),
        pytest.param({"hosts": ["10.0.0.1"]}, id="an address"),
        pytest.param({"hosts": ["redis"]}, id="a short name"),
        pytest.param({"max_bytes": 10**9}, id="too much"),
        pytest.param({"image": True}, id="a typing mistake"),
    ],
)
def test_limits_that_make_no_sense_are_refused_at_start(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        FetchLimits(**fields)


def test_nothing_is_fetched_unless_config_says_so() -> None:
    assert rules(FetchLimits(hosts=["cdn.example.com"])).hosts == ()
    assert not FetchLimits().images


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_says_truly_whether_it_takes_urls(name: str) -> None:
    call = Call("chat.completions", "claude-one", "claude-one", body(image(f"{CDN}/png")), "id", 1)
    if ADAPTERS[name].TAKES_IMAGE_URLS:
        assert CDN in repr(ADAPTERS[name].requests(call, False))
        return
    with pytest.raises(RequestError):
        ADAPTERS[name].requests(call, False)
