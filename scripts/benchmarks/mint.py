"""`python -m benchmarks.mint [limited]` prints a new API key of the gateway whose Redis is named in REDIS_URL.

limited: with every limit and budget, its tenant's too, none of which the bench will ever reach. The budgets are soft:
nobody knows the price of the bench's models, and they cost Redis the same.
"""

from __future__ import annotations

import sys
from typing import Any

from mesh import store
from mesh.settings import Environment
from web import keys
from web.keys import NewKey

PLENTY = {
    "limits": {"requests_per_minute": 10**9, "tokens_per_minute": 10**9, "concurrent": 10**9},
    "budget": {"soft_day_usd": 900_000, "soft_month_usd": 900_000},
}

if __name__ == "__main__":
    client = store.connect(Environment().redis_url)

    def do(call: store.Call[Any]) -> Any:
        return store.run(client, call)

    limited: dict[str, Any] = PLENTY if sys.argv[1:] == ["limited"] else {}
    if limited:
        keys.set_tenant(do, "default", limited)
    print(keys.create(do, NewKey.model_validate({"role": "admin", "name": "bench", **limited}))[0])
