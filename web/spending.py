"""What was spent at each provider, for Prometheus: by the ledger's sums, so that async and batch jobs count too."""

from __future__ import annotations

import gevent
import structlog
from prometheus_client import Gauge

from mesh import errors, store
from mesh.wire import Refused
from routing.budgets import usd
from web.pipe import Pipe

log = structlog.get_logger()

_EVERY_S = 5.0
# It only rises, and every web process reads the same sum: the highest is the newest.
_SPENT = Gauge("gateway_spent_usd", "US dollars booked.", ["provider"], multiprocess_mode="max")


def watch(pipe: Pipe) -> None:
    while True:
        try:
            booked = pipe.do(store.spending())
        except (errors.StoreUnavailable, Refused) as error:
            log.debug("spending_unknown", why=str(error))
        else:
            for field, amount in booked.items():
                _SPENT.labels(field.removeprefix("cost_usd ")).set(float(usd(amount)))
        gevent.sleep(_EVERY_S)
