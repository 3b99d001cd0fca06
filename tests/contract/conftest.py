"""Every adapter with every transport it has, each against the stand-in of its name: a new one is in by itself."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import pytest

from tests.contract.exchange import Pair
from tests.standins.bedrock import ENVIRONMENT
from workers.providers import ADAPTERS


def _pairs() -> list[Pair]:
    return [
        Pair(name, transport)
        for name, adapter in ADAPTERS.items()
        for transport in ("direct", "sdk")
        if transport == "sdk" or adapter.DIRECT is not None
    ]


@pytest.fixture(autouse=True)
def credentials_of_a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a role would give a pod; boto3 finds it by itself."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=_pairs(), ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    """An adapter and a transport."""
    pair: Pair = request.param
    return _with_stand_in(pair)


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> list[Pair]:
    """One adapter with each of its transports."""
    return [_with_stand_in(pair) for pair in _pairs() if pair.adapter == request.param]


def _with_stand_in(pair: Pair) -> Pair:
    place = f"tests.standins.{pair.adapter}"
    if find_spec(place) is None:
        pytest.fail(f"the adapter {pair.adapter} has no stand-in: write tests/standins/{pair.adapter}.py")
    return Pair(pair.adapter, pair.transport, importlib.import_module(place).Server)
