"""One job, from its lease to its end: open, ask the provider, judge, publish, finish."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
import structlog

from guardrails.rulebook import Rulebook
from mesh import errors, lanes, store
from mesh.errors import GatewayError
from mesh.events import Event, Kind, delta
from mesh.job import Claim, State
from mesh.logs import frames
from mesh.reload import Reloaded
from mesh.seal import JobSeal, SealBroken, Sealer
from mesh.settings import Config
from mesh.wire import Refused
from routing import audit, budgets, prices
from routing.health import Outlook, Recorder
from routing.prices import PriceList
from workers import estimate, guarding, holds, onward
from workers.assembly import Assembly
from workers.guarding import Gate, Watch
from workers.images import Images
from workers.onward import Onward
from workers.pipe import Pipe
from workers.providers import Call, Provider, Tally
from workers.publisher import Outbox, Publisher

log = structlog.get_logger()


# Why a job that runs is stopped, and what it becomes; any other reason is a wish to cancel. "lost" is not here: then it
# is somebody else's.
_STOPS: Mapping[str, tuple[State, type[GatewayError], str]] = {
    "deadline": (State.EXPIRED, errors.DeadlineExceeded, "The job's deadline passed before it was done."),
    "shutdown": (State.FAILED, errors.Stopping, "The worker was shut down before the answer was complete."),
}
_RELEASED = ("ok", "already", "lost")  # what release answers when nothing is left to do here
_FULL_S = 0.5  # for so long a target counts as closed that will never have a place for a job: any other goes before
_HEAD = ("id", "object", "created", "model", "provider")  # what every chunk bears
_CANCELLED = (State.CANCELLED, errors.Cancelled, "The job was cancelled.")


@dataclass(frozen=True, slots=True)
class Tools:
    """What a job is done with; one set a process."""

    pipe: Pipe  # for everything small
    outbox: Outbox  # for events
    freight: Pipe  # for large requests, so that nobody waits behind them
    sealer: Sealer
    providers: Mapping[str, Provider]
    rules: Reloaded[Rulebook]
    images: Images
    prices: PriceList
    config: Config
    outlook: Outlook  # which providers are well
    recorder: Recorder  # what they did to us


def _choices(body: Mapping[str, Any]) -> int:
    """How many choices an answer to this request has."""
    prompt = body.get("prompt")
    return (len(prompt) if isinstance(prompt, list) else 1) * (body.get("n") or 1)


class Attempt:
    """One worker's try at one job."""

    def __init__(self, claim: Claim, tools: Tools) -> None:
        self.claim = claim
        self.stopped = ""  # why, once it is to stop
        self._ending = False
        self._tools = tools
        self._seal: JobSeal = tools.sealer.job(claim.tenant, claim.id)
        self._task: asyncio.Task[None] | None = None
        self._publisher = Publisher(claim, self._seal, tools.outbox, self.stop)
        self._watch = Watch(tools.rules.current, claim, tools.config.guard)
        self._assembly = Assembly()  # of what was published
        # What the provider said, where that may differ from what was published: it is billed all the same.
        self._heard: Assembly | None = None
        self._gate: Gate | None = None  # what a stream has to pass, where anything is watched
        self._unjudged: dict[str, Any] | None = None
        self._answer: dict[str, Any] | None = None
        self._head: dict[str, Any] = {}  # of a stream's chunks
        self._call: Call | None = None
        self._tally = Tally()
        self._usage: dict[str, Any] | None = None
        self._estimated = False  # the usage is our count and not the provider's
        self._dropped: tuple[str, ...] = ()
        self._sent = False  # the request is on its way to the provider, or may be
        self._claimed = self._began = time.monotonic()
        self._first_s: float | None = None  # from the beginning to the first token
        self._provider_s = 0.0

    @property
    def said(self) -> bool:
        return self._publisher.said

    def stop(self, why: str) -> None:
        """Close the provider's call and end the job for this reason; "lost" ends it without a word."""
        if self.stopped or self._ending or self._task is None:
            return
        self.stopped = why
        self._task.cancel()

    async def run(self) -> None:
        """Do the job and end it. Whatever happens, the caller's wait has an end."""
        self._task = asyncio.current_task()
        timer = asyncio.get_running_loop().call_later(max(self.claim.left_ms, 0) / 1000, self.stop, "deadline")
        error: GatewayError | None = None
        try:
            if self.claim.stop:
                self.stopped = self.claim.stop
            elif (word := await self._stand_aside()) in _RELEASED:
                return
            elif word:
                self.stopped = word
            else:
                await self._ask()
        except asyncio.CancelledError:
            if not self.stopped:
                raise
        except errors.WorkerLost:
            self.stopped = "lost"
        except GatewayError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001  # the caller waits: whatever broke, the job must end
            error = self._broke(raised)
        finally:
            self._ending = True
            timer.cancel()
            if self._gate is not None:
                self._gate.stop()
        await self._publisher.drained()
        try:
            if self.stopped:
                await self._end_stopped(self.stopped)
            elif error is not None:
                await self._end_failed(error)
            else:
                await self._end(State.DONE, None)
        except Exception as raised:  # noqa: BLE001  # an answer of a shape that nobody thought of
            self._answer = self._usage = None
            error = self._broke(raised)
            await self._end(State.FAILED, error, why=error.code)

    async def _stand_aside(self) -> str:
        """What the release said, where the target cools down and the job must not wait here; empty: it may be asked."""
        why, tools = "cooling", self._tools
        way = onward.aside(self.claim, tools.config, tools.outlook, self._left_s())
        if way is None and (full := await holds.take(tools.pipe, self.claim, tools.config)) is not None:
            why = full.headers["x-gateway-limit"]
            full_s = full.retry_after_s or _FULL_S
            way = onward.aside(self.claim, tools.config, tools.outlook, self._left_s(), full_s=full_s)
            if way is None or (way.parked and full.retry_after_s is None):  # it will never have a place there
                raise full
        if way is None:
            return ""
        self._ending = True
        return await self._last_word(holds.released(self.claim, way, tools.config, why=why, sent=False, refund=True))

    def _broke(self, raised: Exception) -> GatewayError:
        log.error("job_broke", job=self.claim.id, why=type(raised).__name__, frames=frames(raised))
        return GatewayError("The gateway failed at this request; its log has the reason.")

    async def _request(self) -> dict[str, Any]:
        sealed: bytes = self.claim.request
        if self.claim.large:
            sealed = await self._tools.freight.do(store.get_request(self.claim.id))
        try:
            body: dict[str, Any] = orjson.loads(self._seal.open("request", sealed))
        except SealBroken as error:
            raise GatewayError(
                "The request could not be opened: the door and the worker have different sealing keys."
            ) from error
        return body

    async def _ask(self) -> None:
        spec = self.claim.spec
        target = spec.target
        if spec.stream:
            head = {"provider": target.provider, "model": target.model, "attempt": self.claim.attempt}
            await self._publisher.add(Event(Kind.STARTED, head))
        provider = self._tools.providers.get(target.provider)
        if provider is None:
            raise errors.ProviderUnavailable(f"This worker does not serve the provider '{target.provider}'.")
        body = await self._tools.images.inline(
            self.claim, self._seal, await self._request(), takes_urls=provider.takes_image_urls
        )
        call = self._call = Call(
            endpoint=spec.endpoint,
            model=target.model,
            public_model=spec.model,
            body=body,
            answer_id=f"{target.provider}-{self.claim.id.removeprefix('job-')}",
            created=spec.created_unix_s,
        )
        self._began = time.monotonic()
        self._sent = True
        self._tools.outlook.chosen(target)
        try:
            if spec.stream:
                await self._stream(provider, call)
            else:
                answer = await provider.answer(call)
                self._usage, self._dropped = answer.usage, answer.dropped
                self._answer = await self._judged(answer.body)  # only once it may be seen
        except GatewayError as error:
            self._tools.recorder.failed(target, error)
            raise
        finally:
            self._provider_s = time.monotonic() - self._began
        tokens = (self._usage or {}).get("completion_tokens") or 0
        took_s = self._provider_s - (self._first_s or 0)
        self._tools.recorder.answered(target, first_s=self._first_s, tokens=tokens, took_s=took_s)

    async def _stream(self, provider: Provider, call: Call) -> None:
        if not self._watch.idle:
            self._heard = Assembly()
            self._gate = Gate(self._watch, self._publish, _choices(call.body))
        past = self._pass if self._gate is None else None  # at the gate a chunk may have to wait
        async with contextlib.aclosing(provider.stream(call, self._tally, past)) as chunks:
            async for chunk in chunks:
                self._note(chunk)
                await (self._publish(chunk) if self._gate is None else self._gate.feed(chunk))
                if self._gate is not None and self._gate.closed:
                    break
        await self._let_out()
        self._answer = self._assembly.answer()
        if self._usage is None:
            self._count()
            last = self._head | {"choices": [], "usage": self._usage}
            await self._publisher.add(delta(orjson.dumps(last)))

    def _note(self, chunk: dict[str, Any]) -> None:
        """Keep what is to be known of a chunk, published or not."""
        if self._first_s is None:
            self._first_s = time.monotonic() - self._began
            self._dropped = tuple(chunk.pop("gateway_dropped", ()))
            self._head = {name: chunk[name] for name in _HEAD}
        if not chunk["choices"] and chunk.get("usage"):
            self._usage = chunk["usage"]
        if self._heard is not None:
            self._heard.feed(chunk)

    def _pass(self, chunk: dict[str, Any]) -> bool:
        """Note and publish a chunk without this job's task; whether the next may come so as well."""
        self._note(chunk)
        return self._say(chunk)

    async def _publish(self, chunk: dict[str, Any]) -> None:
        if not self._say(chunk):
            await self._publisher.drained()

    def _say(self, chunk: dict[str, Any]) -> bool:
        self._assembly.feed(chunk)
        return self._publisher.put(delta(orjson.dumps(chunk)))

    async def _let_out(self) -> None:
        """Publish what still waits at the gate and may be seen: nothing more will come."""
        if self._gate is not None:
            await self._gate.end()

    async def _let_out_late(self) -> None:
        """The same for an answer that broke off, once it is known that nobody else will give another."""
        if self.claim.spec.stream:
            await self._let_out()
            await self._publisher.drained()

    async def _judged(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self._watch.watches:
            return body
        self._unjudged = body
        return await guarding.whole(self._watch, body)

    def _count(self) -> None:
        """Where the provider reported no usage, or had not yet: what has come is billed all the same."""
        if self._usage is None and self._call is not None:
            self._usage = self._tally.usage()
            known = self._tally.prompt()
            heard = self._unjudged or (self._answer if self._heard is None else self._heard.answer())
            if self._usage is None and (heard or known):
                self._usage = estimate.usage(self._call.endpoint, self._call.body, heard or {}, known)
                self._estimated = True
        if self._answer and self._usage is not None and not self._answer.get("usage"):
            self._answer["usage"] = self._usage
            if self._estimated:
                self._answer["gateway"] = {"estimated": True}

    async def _end_stopped(self, why: str) -> None:
        if why == "lost":
            log.warning("lease_lost", job=self.claim.id, fence=self.claim.fence)
            return
        if why == "shutdown" and not self.said:
            self._reckon()
            lost = self._is_lost()
            record = self._record("unknown" if lost else "released", self._cost(self._cost_usd(), lost=lost))
            word = await self._release(Onward(self.claim.spec), record, why="shutdown", refund=True)
            if word in _RELEASED:
                return
            why = word
        state, kind, message = _STOPS.get(why, _CANCELLED)
        if why in _STOPS:
            await self._let_out_late()
        self._reckon()
        # Who cancels, or lets his time run out, has his reserve back.
        await self._end(state, kind(message), why=why, lost=why == "shutdown" and self._is_lost())

    async def _end_failed(self, error: GatewayError) -> None:
        tools = self._tools
        way = None if self.said else onward.after(self.claim, error, tools.config, tools.outlook, self._left_s())
        if way is None:
            await self._let_out_late()
        self._reckon()
        lost = error.unanswered and self._is_lost()
        if way is None:
            await self._end(State.FAILED, error, why=error.code, lost=lost)
            return
        cost = self._cost(self._cost_usd(), lost=lost)
        word = await self._release(way, self._record("unknown" if lost else "failed", cost, error), why=error.code)
        if word not in _RELEASED:
            await self._end_stopped(word)

    def _reckon(self) -> None:
        """What has come so far, and what of it is billed, of an attempt that is not whole."""
        if self.claim.spec.stream:
            self._answer = self._assembly.answer()
            self._usage = self._usage or self._assembly.usage
        self._count()

    def _is_lost(self) -> bool:
        """Whether nobody knows what was done, and billed, of a request that was sent."""
        return self._sent and self._usage is None and self._tools.config.ledger.unanswered == "reserved"

    def _left_s(self) -> float:
        """Until the deadline."""
        return self.claim.left_ms / 1000 - (time.monotonic() - self._claimed)

    async def _release(self, way: Onward, record: dict[str, Any], *, why: str, refund: bool = False) -> str:
        if self._usage:  # the holds are settled only at the job's end, by what each attempt has measured
            record["measured"] = budgets.measured(self._usage, self._cost_usd())
        told, config = orjson.dumps(record), self._tools.config
        return await self._last_word(
            holds.released(self.claim, way, config, why=why, sent=self._sent, refund=refund, attempt=told)
        )

    def _cost_usd(self) -> Decimal | None:
        """What the provider bills for the usage; None where that or the price is not known."""
        batch = lanes.named(self.claim.lane).priority == "batch"
        target = self.claim.spec.target
        return self._tools.prices.cost_usd(target, self._usage, batch=batch) if self._usage else None

    def _record(self, outcome: str, cost: str, error: GatewayError | None = None) -> dict[str, Any]:
        target = self.claim.spec.target
        record: dict[str, Any] = {
            "attempt": self.claim.attempt,
            "provider": target.provider,
            "model": target.model,
            "outcome": outcome,
            "provider_ms": round(self._provider_s * 1000),
        }
        if self._first_s is not None:
            record["first_token_ms"] = round(self._first_s * 1000)
        if error is not None:
            record["error"] = error.code
        if cost:
            record["cost_usd"] = cost
        if outcome == "unknown" or (cost and self._estimated):
            record["estimated"] = True
        return record

    def _cost(self, usd: Decimal | None, *, lost: bool) -> str:
        """In dollars; of an attempt of which nobody knows, what was reserved for it."""
        return self.claim.reserved_usd if lost else "" if usd is None else prices.plain(usd)

    async def _end(self, state: State, error: GatewayError | None, why: str = "", *, lost: bool = False) -> None:
        self._count()
        target, usd = self.claim.spec.target, self._cost_usd()
        cost = self._cost(usd, lost=lost)
        head: dict[str, Any] = {
            "state": state.value,
            "provider": target.provider,
            "model": target.model,
            "attempts": self.claim.attempt,
            "usage": self._usage,
            "cost_usd": cost or None,
            "queue_ms": self.claim.waited_ms,
            "provider_ms": round(self._provider_s * 1000, 1),
        }
        choices = (self._answer or {}).get("choices")
        if choices:
            head["finish_reason"] = choices[0]["finish_reason"]
        if self._estimated or lost:
            head["estimated"] = True
        if self._dropped:
            head["dropped"] = self._dropped
        if self._watch.noted:
            head["guard"] = self._watch.noted
        if error is not None:
            head["error"] = errors.dump(error)
        for record in self._watch.records():
            await self._tools.pipe.do(audit.written(record))
        body = orjson.dumps(self._answer) if self._answer else b""
        end = self._seal.seal("end", Event(Kind.END, head).dump())
        result = self._seal.seal("result", body) if body else b""
        outcome = "unknown" if lost else state.value
        word = await self._last_word(
            store.finish(
                self.claim.id,
                self.claim.fence,
                state,
                end=end,
                result=result,
                attempt=orjson.dumps(self._record(outcome, cost, error)),
                usage=self._told_usage(),
                cost_usd=cost,
                reason=why,
                last=self._publisher.last,
                measured=budgets.measured(self._usage, usd),
            )
        )
        if word == "lost":
            log.warning("answer_refused", job=self.claim.id, fence=self.claim.fence, why="another worker holds the job")

    def _told_usage(self) -> bytes:
        """For the job and the ledger, where an estimate says that it is one."""
        if not self._usage:
            return b""
        return orjson.dumps(self._usage | {"estimated": True} if self._estimated else self._usage)

    async def _last_word(self, call: store.Call[str]) -> str:
        try:
            return await self._tools.pipe.do(call)
        except Refused as error:
            log.error("end_refused", job=self.claim.id, why=str(error))
            return "lost"
