"""No configuration, request or row of failures sends a private request to a provider that is not private."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh import errors
from mesh.errors import Again, GatewayError
from mesh.job import Claim, Spec
from mesh.settings import Config
from mesh.store import Known
from routing.choose import Router, Wish
from routing.health import Outlook
from workers import onward

PROVIDERS = ("one", "two", "three", "four")
ALIASES = ("fast", "smart", "odd")
PLAIN = [f"{provider}/m{number}" for provider in PROVIDERS for number in (1, 2)] + ["a-1", "b-2", "ab-3"]
CAUSES = ("context_length", "rate_limit", "content_policy", "timeout", "unavailable", "rejected", "error")
LEADING_ON = [kind for kind in errors.BY_NAME.values() if kind.again is not Again.NEVER]
ERRORS = [*errors.BY_NAME.values(), *LEADING_ON * 4]

some_models = st.lists(st.sampled_from(PLAIN), min_size=1, max_size=4)
shares = st.none() | st.builds(
    lambda model, share: {"model": model, "share": share}, st.sampled_from(PLAIN), st.sampled_from([0.5, 1.0])
)
chains = st.dictionaries(st.sampled_from(CAUSES), some_models, max_size=4)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    aliases: dict[str, Any] = {}
    for name in ALIASES:
        reach = [*PLAIN, *aliases]  # only what stands before it, so none leads back to itself
        aliases[name] = {
            "targets": draw(st.lists(st.sampled_from(reach), min_size=3, max_size=4, unique=True)),
            "rule": draw(
                st.sampled_from(["ordered", "cheapest", "fastest", "weighted", "least_waiting", "best_value"])
            ),
            "sticky": draw(st.booleans()),
            "canary": draw(shares),
            "shadow": draw(shares),
            "fallbacks": draw(chains),
        }
    return Config.model_validate(
        {
            "provider_models": {"one": ["a"], "two": ["b", "ab"]},
            "providers": {
                name: {"adapter": "openai", "private": draw(st.sampled_from([True, True, False]))} for name in PROVIDERS
            },
            "aliases": aliases,
            "fallbacks": {"a": draw(chains), "one": draw(chains)},
        }
    )


@st.composite
def outlooks(draw: st.DrawFn) -> Outlook:
    names = draw(st.just([]) | st.lists(st.sampled_from([*PROVIDERS, *PLAIN[:8]]), unique=True, max_size=6))
    found = Outlook(clock=lambda: 100.0)
    moments = st.sampled_from([0, 500, 5_000])  # closed, half-open, open
    records = {name: {"open_until": draw(moments), "alone_until": draw(moments), "requests_left": 0} for name in names}
    found.update(Known(1_000, {}, records))
    return found


def claimed(spec: Spec, attempt: int) -> Claim:
    return Claim(
        id="job-1", fence=attempt, attempt=attempt, seq=0, left_ms=60_000, waited_ms=0, lane=spec.target.provider,
        tenant="t", spec=spec, request=b"", large=False, stop="", private=True,
    )  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_private_request_never_reaches_a_provider_that_is_not(data: st.DataObject) -> None:
    config, outlook = data.draw(configs()), data.draw(outlooks())
    private = {name for name, provider in config.providers.items() if provider.private}
    live = data.draw(st.sampled_from([PROVIDERS, PROVIDERS, PROVIDERS[1:], PROVIDERS[:2]]))
    wish = Wish(
        model=data.draw(st.sampled_from([*ALIASES, *PLAIN[:2], "a-1"])),
        provider=data.draw(st.sampled_from([None, None, None, None, *PROVIDERS])),
        fallbacks=data.draw(st.none() | st.lists(st.sampled_from([*ALIASES, *PLAIN]), max_size=3)),
        private=True,
        conversation=lambda: b"it begins",
    )
    try:
        decision = Router(config, live).route(wish, outlook)
    except GatewayError:
        return
    assert {target.provider for target in decision.targets} <= private
    assert decision.shadow is None or decision.shadow.provider in private

    spec = Spec(
        endpoint="chat.completions", model=wish.model, targets=decision.targets, main=decision.main,
        chains=decision.chains,
    )  # fmt: skip
    # Config may change under a job: what was private when its route was made may be so no more.
    after = config
    behind = sorted({target.provider for target in decision.targets} - {decision.targets[0].provider})
    if behind and data.draw(st.booleans()):
        lost = data.draw(st.sampled_from(behind))
        changed = config.providers[lost].model_copy(update={"private": False})
        providers = {**config.providers, lost: changed}
        after = config.model_copy(update={"providers": providers})
        private -= {lost}
    for attempt in range(1, 6):
        claim = claimed(Spec.load(spec.dump()), attempt)
        if claim.spec.target.provider not in private:
            return  # the claim itself refuses it
        outlook = data.draw(outlooks())
        way = onward.aside(claim, after, outlook, 60.0, full_s=data.draw(st.sampled_from([0.0, 3.0])))
        if way is None:
            error = data.draw(st.sampled_from(ERRORS))("It failed.")
            way = onward.after(claim, error, after, outlook, 60.0)
        if way is None:
            return
        assert way.spec.target.provider in private
        spec = way.spec
