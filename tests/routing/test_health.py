"""What workers meet opens and closes circuits for everybody, and tells how fast and how full a provider is."""

from __future__ import annotations

import pytest

from mesh import errors, store
from mesh.errors import GatewayError
from mesh.job import Target
from mesh.settings import CircuitLimits
from routing.health import Outlook, Recorder, Room
from tests.conftest import RedisServer, wait_until

A, B = Target("openai", "a"), Target("openai", "b")
POLICY = CircuitLimits(failures=3, ratio=0.5, least=10, window_s=60, open_s=0.2, max_open_s=0.8)


class Mesh:
    """A worker that tells, and another process that only hears."""

    def __init__(self, server: RedisServer, policy: CircuitLimits = POLICY) -> None:
        self.client = server.client()
        self.policy = policy
        self.recorder = Recorder()
        self.outlook = Outlook()

    def tell(self) -> Outlook:
        store.run(self.client, store.health(self.policy, (), self.recorder.take()))
        return self.hear()

    def hear(self) -> Outlook:
        self.outlook.update(store.run(self.client, store.health(self.policy, ("openai", "openai.batch"), {})))
        return self.outlook

    def fails(self, target: Target, error: GatewayError, times: int = 1) -> Outlook:
        for _ in range(times):
            self.recorder.failed(target, error)
        return self.tell()

    def answers(self, target: Target, times: int = 1) -> Outlook:
        for _ in range(times):
            self.recorder.answered(target, first_s=0.25, tokens=100, took_s=2.0)
        return self.tell()


@pytest.fixture
def mesh(redis_server: RedisServer) -> Mesh:
    return Mesh(redis_server)


DOWN = errors.ProviderUnavailable("It is down.")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(DOWN, id="unavailable"),
        pytest.param(errors.ProviderTimeout("slow"), id="timeout"),
        pytest.param(errors.ProviderKeyRefused("no"), id="key refused"),
        pytest.param(errors.ProviderLimited("later"), id="limited"),
        pytest.param(errors.ProviderBrokeOff("half"), id="broke off"),
    ],
)
def test_failures_in_a_row_open_the_circuit(mesh: Mesh, error: GatewayError) -> None:
    assert mesh.fails(A, error, 2).cooling_s(A) == 0
    assert 0 < mesh.fails(A, error).cooling_s(A) <= 0.2


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(errors.ProviderRejected("your request is wrong"), id="rejected"),
        pytest.param(errors.ContextTooLong("too long"), id="too long"),
        pytest.param(errors.ModelNotFound("no such model"), id="no such model"),
        pytest.param(errors.RequestError("never sent"), id="never sent"),
        pytest.param(errors.ContentBlocked("not this"), id="blocked"),
    ],
)
def test_what_is_not_its_fault_opens_nothing(mesh: Mesh, error: GatewayError) -> None:
    assert mesh.fails(A, error, 50).cooling_s(A) == 0


def test_an_answer_between_failures_keeps_it_closed_until_half_of_many_fail(mesh: Mesh) -> None:
    for _ in range(4):
        mesh.fails(A, DOWN)
        assert mesh.answers(A).cooling_s(A) == 0
    mesh.fails(A, DOWN)
    assert mesh.answers(A).cooling_s(A) == 0  # ten outcomes; the last was an answer
    assert mesh.fails(A, DOWN).cooling_s(A) > 0


def test_one_models_illness_is_not_its_providers(mesh: Mesh) -> None:
    outlook = mesh.fails(A, DOWN, 20)
    assert outlook.cooling_s(A) > 0 and outlook.cooling_s(B) == 0


def test_a_refused_key_is_refused_for_every_model(mesh: Mesh) -> None:
    outlook = mesh.fails(A, errors.ProviderKeyRefused("no"), 3)
    assert outlook.cooling_s(A) > 0 and outlook.cooling_s(Target("openai", "never asked")) > 0
    assert outlook.cooling_s(Target("other", "a")) == 0


def test_a_half_open_circuit_lets_one_try_and_closes_when_that_is_answered(mesh: Mesh) -> None:
    mesh.fails(A, DOWN, 3)
    wait_until(lambda: mesh.hear().cooling_s(A) == 0, 2, "it is half-open")
    mesh.outlook.chosen(A)
    assert mesh.outlook.cooling_s(A) > 0, "a second one waits for the first"
    assert {each["circuit"] for each in mesh.outlook.states()} == {"half-open"}
    mesh.answers(A)
    assert mesh.outlook.cooling_s(A) == 0 and mesh.outlook.states() == [] and mesh.outlook.calm


def test_each_failed_trial_leaves_it_alone_for_longer_up_to_a_limit(mesh: Mesh) -> None:
    spans = [mesh.fails(A, DOWN, 3).cooling_s(A)]
    for _ in range(3):
        wait_until(lambda: mesh.hear().cooling_s(A) == 0, 3, "it is half-open")
        spans.append(mesh.fails(A, DOWN).cooling_s(A))
    for span, expected in zip(spans, (0.2, 0.4, 0.8, 0.8), strict=True):
        assert expected - 0.15 < span <= expected


def test_what_ends_while_it_is_open_says_nothing(mesh: Mesh) -> None:
    mesh.policy = POLICY.model_copy(update={"open_s": 30.0, "max_open_s": 60.0})
    mesh.fails(A, DOWN, 3)
    assert mesh.answers(A, 5).cooling_s(A) > 20
    assert mesh.fails(A, DOWN, 5).cooling_s(A) <= 30


def test_two_workers_failures_add_up(redis_server: RedisServer) -> None:
    one, two = Mesh(redis_server), Mesh(redis_server)
    one.fails(A, DOWN, 2)
    assert two.fails(A, DOWN).cooling_s(A) > 0
    assert one.hear().cooling_s(A) > 0


def test_a_switched_off_circuit_never_opens_and_lets_go_of_an_open_one(mesh: Mesh) -> None:
    assert mesh.fails(A, DOWN, 3).cooling_s(A) > 0
    mesh.policy = CircuitLimits(enabled=False)
    assert mesh.fails(A, DOWN, 100).cooling_s(A) == 0


def test_who_asks_to_be_left_alone_is(mesh: Mesh) -> None:
    outlook = mesh.fails(A, errors.ProviderLimited("later", retry_after_s=7.0))
    assert 6 < outlook.cooling_s(A) <= 7 and outlook.cooling_s(B) == 0


def test_measures_are_shared_and_smoothed(mesh: Mesh) -> None:
    health = mesh.answers(A).of(A)
    assert health is not None and (health.first_ms, health.tokens_per_s) == (250.0, 50.0)
    mesh.recorder.answered(A, first_s=1.25, tokens=100, took_s=1.0)
    health = mesh.tell().of(A)
    assert health is not None and health.first_ms == pytest.approx(550) and health.tokens_per_s == pytest.approx(65)
    assert mesh.outlook.of(B) is None


def test_the_room_that_is_left_shrinks_with_what_this_process_sends(mesh: Mesh) -> None:
    mesh.recorder.room(A, Room(requests=2, tokens=1000, whole_s=30))
    outlook = mesh.tell()
    assert outlook.has_room(A, 1000) and not outlook.has_room(A, 1001) and outlook.has_room(B, 10**9)
    for _ in range(2):
        assert outlook.has_room(A, 1)
        outlook.chosen(A)
    assert not mesh.hear().has_room(A, 1), "a second look without news does not forget what was sent"
    mesh.recorder.room(A, Room(requests=5, tokens=None, whole_s=30))
    assert mesh.tell().has_room(A, 10**9)


def test_waits_are_told_for_the_lanes_that_were_asked_for(mesh: Mesh) -> None:
    admin = mesh.client
    store.run(admin, store.Call(("LPUSH", "gw:openai", "m", "m", "m"), int))
    store.run(admin, store.Call(("SET", "gw:pace:openai", "250 1 1"), str))
    assert mesh.hear().waits_ms == {"openai": 1000.0, "openai.batch": 0.0}
    store.run(admin, store.Call(("DEL", "gw:openai"), int))
    assert mesh.hear().waits_ms["openai"] == 0.0


def test_the_record_is_bounded(mesh: Mesh) -> None:
    for number in range(2_100):
        mesh.recorder.answered(Target("openai", f"m{number}"), first_s=None, tokens=0, took_s=0)
    mesh.tell()
    assert store.run(mesh.client, store.Call(("HLEN", "gw:health"), int)) == 2_000
