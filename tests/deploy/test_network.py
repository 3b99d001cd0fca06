"""Who reaches whom, computed from the NetworkPolicies as a cluster's network would."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from tests.deploy.manifests import Manifests, Object, build

pytestmark = pytest.mark.timeout(600)  # the first test of all puts in place what reads manifests


@dataclass(frozen=True)
class End:
    """A pod, or an address outside the cluster."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = "ai-gateway"
    address: str = ""


DNS = End({"k8s-app": "kube-dns"}, "kube-system")
ELSEWHERE = {
    "internet": End(address="203.0.113.7"),
    "internet6": End(address="2001:db8::7"),
    "vpc": End(address="10.20.3.4"),
    "instance": End(address="169.254.169.254"),
    "identity": End(address="169.254.170.23"),
    "dns": DNS,
    "nginx": End({"app.kubernetes.io/name": "ingress-nginx"}, "ingress-nginx"),
    "prometheus": End({"app.kubernetes.io/name": "prometheus"}, "monitoring"),
    "keda": End({"app": "keda-operator"}, "keda"),
    "stranger": End({"app": "stranger"}, "default"),
    "intruder": End({"app": "intruder"}),  # in our own namespace
}
WORKERS = ("worker-openai", "worker-anthropic", "worker-bedrock", "worker-ollama", "worker-system")
REMOTE = ("worker-openai", "worker-anthropic", "worker-bedrock", "worker-system")
# Every connection that may be made; whatever is not here may not.
OPEN = {
    *((each, "redis", 6379) for each in ("web", "keda", *WORKERS)),
    *(("web", "qdrant", port) for port in (6333, 6334)),
    *(("worker-system", "qdrant", port) for port in (6333, 6334)),
    ("worker-ollama", "ollama", 11434),
    *((each, where, 443) for each in REMOTE for where in ("internet", "internet6")),
    ("ollama-pull", "internet", 443),
    ("worker-bedrock", "identity", 80),
    ("nginx", "web", 8080),
    ("prometheus", "web", 9090),
    *((each, "dns", 53) for each in ("web", "redis", "ollama", "ollama-pull", "qdrant", "intruder", *WORKERS)),
}
PROD = {
    *(each for each in OPEN if "redis" not in each),
    *((each, "vpc", 6379) for each in ("web", *WORKERS)),
    ("vpc", "web", 8080),
    ("worker-bedrock", "vpc", 443),
}
PORTS = (53, 80, 443, 6333, 6334, 6379, 8080, 9090, 11434)


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether labels fit a selector; an empty one fits all."""
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def is_peer(peer: Object, end: End) -> bool:
    if "ipBlock" in peer:
        inside = ipaddress.ip_address(end.address) if end.address else None
        blocks = [ipaddress.ip_network(each) for each in (peer["ipBlock"]["cidr"], *peer["ipBlock"].get("except", []))]
        return inside is not None and inside in blocks[0] and not any(inside in each for each in blocks[1:])
    if end.address:
        return False
    if "namespaceSelector" in peer:
        there = matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": end.namespace})
    else:
        there = end.namespace == "ai-gateway"
    return there and matches(peer.get("podSelector", {}), end.labels)


def allows(policies: Iterable[Object], direction: str, me: End, other: End, port: int) -> bool:
    """Whether the policies that select me let this through; where none does, everything goes."""
    if me.address or me.namespace != "ai-gateway":
        return True
    mine = [
        each["spec"]
        for each in policies
        if direction.capitalize() in each["spec"]["policyTypes"] and matches(each["spec"]["podSelector"], me.labels)
    ]
    side = "to" if direction == "egress" else "from"
    return not mine or any(
        (side not in rule or any(is_peer(peer, other) for peer in rule[side]))
        and ("ports" not in rule or port in [each["port"] for each in rule["ports"]])
        for spec in mine
        for rule in spec.get(direction, [])
    )


def reachable(manifests: Manifests, ports: tuple[int, ...] = PORTS) -> set[tuple[str, str, int]]:
    """Every connection that somebody of ours may make or be asked for."""
    policies = list(manifests.of("NetworkPolicy").values())
    ours = {name: End(made["metadata"]["labels"]) for name, made in manifests.pods().items()}
    ends = {**ELSEWHERE, **ours}
    return {
        (one, other, port)
        for one, source in ends.items()
        for other, target in ends.items()
        for port in ports
        if one != other and (one in ours or other in ours or "intruder" in (one, other))
        if allows(policies, "egress", source, target, port) and allows(policies, "ingress", target, source, port)
    }


@pytest.mark.parametrize(
    ("folder", "open_"), [pytest.param("base", OPEN, id="base"), pytest.param("overlays/prod", PROD, id="prod")]
)
def test_who_reaches_whom(folder: str, open_: set[tuple[str, str, int]]) -> None:
    assert reachable(build(folder)) == open_


def test_private_data_has_no_way_out() -> None:
    """By no port at all: neither from the worker that holds private prompts nor from the server that answers them."""
    policies = list(build("base").of("NetworkPolicy").values())
    rules = [rule for each in policies for rule in each["spec"].get("egress", [])]
    assert all("ports" in rule for rule in rules)
    ports = {each["port"] for rule in rules for each in rule["ports"]}
    outside = [end for end in ELSEWHERE.values() if end.address]
    for name in ("worker-ollama", "ollama"):
        me = End(build("base").pods()[name]["metadata"]["labels"])
        assert not any(allows(policies, "egress", me, end, port) for end in outside for port in ports)
    assert allows(policies, "egress", End(build("base").pods()["worker-openai"]["metadata"]["labels"]), outside[0], 443)
