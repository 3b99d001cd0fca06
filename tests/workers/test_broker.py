"""The broker's URL, as kombu wants it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.settings import Environment, load_config
from workers.app import create_app

CONFIG = load_config(Path(__file__).parent.parent.parent / "config")


@pytest.mark.parametrize(
    ("url", "broker", "primary"),
    [
        pytest.param("redis://gw:p%40@h:1/2", "redis://gw:p%40@h:1/2", None, id="one server"),
        pytest.param(
            "sentinel://gw:p%40@a,[::1]:2/3?primary=gateway&sentinel_password=x",
            "sentinel://gw:p%40@a:26379/3;sentinel://gw:p%40@[::1]:2/3",
            "gateway",
            id="Sentinels",
        ),
        pytest.param("sentinel://a?primary=p", "sentinel://a:26379", "p", id="a Sentinel and nothing else"),
    ],
)
def test_celery_is_told_of_every_sentinel(url: str, broker: str, primary: str | None) -> None:
    app = create_app(Environment(redis_url=url), CONFIG)
    assert app.conf.broker_url == broker
    assert app.conf.broker_transport_options.get("master_name") == primary
    asked = app.conf.broker_transport_options.get("sentinel_kwargs", {})
    assert asked.get("password") == ("x" if "password" in url else None)
