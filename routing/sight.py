"""What filters and rules see of one request and its targets."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mesh.job import Target
from mesh.settings import Config
from routing.catalog import Catalog
from routing.health import Outlook
from routing.needs import NO_NEEDS, Needs
from routing.prices import DEFAULT_ANSWER_TOKENS, NOT_SAID, Most, PriceList

# Of a target that nobody has measured: a middling one.
UNKNOWN_FIRST_MS, UNKNOWN_TOKENS_PER_S = 1_000.0, 50.0
_USUAL_ANSWER_TOKENS = 500  # of which a duration is reckoned where the request allows more


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the request says about where it may go."""

    model: str
    provider: str | None = None
    fallbacks: Sequence[str] | None = None  # models, or provider/model; None: those that config gives
    private: bool = False
    max_cost_usd: Decimal | None = None
    must_have_price: bool = False  # a budget that may not be overrun cannot hold what nobody can price
    most: Most = NOT_SAID
    needs: Needs = NO_NEEDS
    allowed_models: tuple[str, ...] | None = None  # the key's; None: all. `gpt-4*` is all that begin so
    allowed_providers: tuple[str, ...] | None = None
    priority: str = "interactive"
    conversation: Callable[[], bytes] | None = None  # what tells one conversation from another; asked only if it counts


class Sight:
    """One request's view of its targets; figures are reckoned only where somebody asks."""

    def __init__(
        self, wish: Wish, config: Config, catalog: Catalog, prices: PriceList, outlook: Outlook, *, sticky: bool = False
    ) -> None:
        self.wish = wish
        self.config = config
        self.catalog = catalog
        self.outlook = outlook
        self._prices = prices
        self._sticky = sticky
        self._conversation: bytes | None = None

    def usd(self, target: Target) -> Decimal | None:
        """What the request may cost there at most; None where nobody knows the price."""
        return self._prices.ceiling_usd(target, self.wish.most)

    def wait_s(self, target: Target) -> float:
        """How long it would wait in the target's lane."""
        lane = target.provider if self.wish.priority == "interactive" else f"{target.provider}.batch"
        return self.outlook.waits_ms.get(lane, 0.0) / 1000

    def measured(self, target: Target) -> bool:
        health = self.outlook.of(target)
        return health is not None and (health.first_ms is not None or health.tokens_per_s is not None)

    def service_s(self, target: Target) -> float:
        """How long the target would take for the answer, as measured; a middling figure where it was not."""
        health = self.outlook.of(target)
        first_ms = health.first_ms if health is not None else None
        pace = health.tokens_per_s if health is not None else None
        tokens = min(self.wish.most.answer_tokens or DEFAULT_ANSWER_TOKENS, _USUAL_ANSWER_TOKENS)
        first_s = (UNKNOWN_FIRST_MS if first_ms is None else first_ms) / 1000
        return first_s + tokens / (pace or UNKNOWN_TOKENS_PER_S)

    def draw(self, what: str) -> float:
        """A number in (0, 1): by chance, or where the alias is sticky by the conversation, always the same one for
        the same `what`."""
        if not self._sticky or self.wish.conversation is None:
            return 1.0 - random.random()
        if self._conversation is None:
            self._conversation = self.wish.conversation()
        digest = hashlib.blake2b(what.encode(), digest_size=8, key=self._conversation[:64]).digest()
        return (int.from_bytes(digest) + 1) / 2**64

    @property
    def sticky(self) -> bool:
        return self._sticky and self.wish.conversation is not None
