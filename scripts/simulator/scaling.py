"""The numbers of a ScaledObject, and where they come from: k8s/base where it is there, else these defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Policy:
    """How far the HPA may go within a period."""

    kind: str  # "Pods" or "Percent"
    value: int
    period_s: float


@dataclass(frozen=True)
class Direction:
    """One half of an HPA's `behavior`."""

    window_s: float  # stabilizationWindowSeconds
    policies: tuple[Policy, ...]


@dataclass(frozen=True)
class Scaling:
    """A ScaledObject, in the words of this code."""

    target: float = 45.0  # jobs a pod: 0.7 of its slots
    activation: float = 0.0  # above it a lane at zero wakes up
    polling_s: float = 5.0
    cooldown_s: float = 300.0  # from the last sign of life to zero
    least: int = 1
    most: int = 12
    up: Direction = Direction(0.0, (Policy("Percent", 100, 15.0), Policy("Pods", 3, 15.0)))
    down: Direction = Direction(300.0, (Policy("Pods", 1, 60.0),))


# Where there are no manifests. Ollama's pods are few, dear and slow to come.
_OTHERWISE = {"ollama": Scaling(target=11.0, cooldown_s=600.0, least=0, most=2)}


def of_manifests(provider: str, base: Path = ROOT / "k8s" / "base") -> Scaling:
    """The provider's ScaledObject as k8s/base has it: the lanes' common one with the provider's laid over it."""
    common, own = base / "lane-scaler" / "scaledobject.yaml", base / f"worker-{provider}" / "scaledobject.yaml"
    if not common.exists() or not own.exists():
        return _OTHERWISE.get(provider, Scaling())
    return of_spec(_laid(yaml.safe_load(common.read_text()), yaml.safe_load(own.read_text()))["spec"])


def of_spec(spec: Mapping[str, Any]) -> Scaling:
    """From `spec` of a ScaledObject; what it leaves out has KEDA's and the HPA's own defaults."""
    advanced = spec.get("advanced", {})
    modifiers = advanced.get("scalingModifiers", {})
    behavior = advanced.get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    return Scaling(
        target=float(modifiers.get("target", 5)),
        activation=float(modifiers.get("activationTarget", 0)),
        polling_s=float(spec.get("pollingInterval", 30)),
        cooldown_s=float(spec.get("cooldownPeriod", 300)),
        least=int(spec.get("minReplicaCount", 0)),
        most=int(spec.get("maxReplicaCount", 100)),
        up=_direction(
            behavior.get("scaleUp", {}), Direction(0.0, (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)))
        ),
        down=_direction(behavior.get("scaleDown", {}), Direction(300.0, (Policy("Percent", 100, 15.0),))),
    )


def changed(scaling: Scaling, settings: Mapping[str, str]) -> Scaling:
    """With some of its plain numbers replaced, by their names here."""
    kinds = {name: type(getattr(scaling, name)) for name in ("target", "activation", "polling_s", "cooldown_s")}
    kinds |= {"least": int, "most": int}
    unknown = sorted(set(settings) - set(kinds))
    if unknown:
        raise ValueError(f"{unknown[0]}: expected one of {', '.join(kinds)}")
    return replace(scaling, **{name: kinds[name](value) for name, value in settings.items()})


def _direction(given: Mapping[str, Any], default: Direction) -> Direction:
    policies = tuple(
        Policy(each["type"], int(each["value"]), float(each["periodSeconds"])) for each in given.get("policies", [])
    )
    return Direction(float(given.get("stabilizationWindowSeconds", default.window_s)), policies or default.policies)


def _laid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """As Kustomize lays a patch over an object, for the mappings in it."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _laid(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
