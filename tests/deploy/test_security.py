"""Who may do what: rights, pods' own limits, and who is given which secret."""

from __future__ import annotations

import pytest

from tests.deploy.manifests import Manifests, Object, build, component, containers

pytestmark = pytest.mark.timeout(600)  # the first test of all puts in place what reads manifests

EVERYWHERE = ("base", "overlays/dev", "overlays/prod")
RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def secrets(pod: Object) -> set[str]:
    """The Secrets that a pod is given, as files or variables."""
    spec = pod["spec"]
    mounted = {volume["secret"]["secretName"] for volume in spec.get("volumes", []) if "secret" in volume}
    variables = [each for container in containers(pod) for each in container.get("env", [])]
    assert not any("envFrom" in container for container in containers(pod))
    return mounted | {
        each["valueFrom"]["secretKeyRef"]["name"] for each in variables if "secretKeyRef" in each.get("valueFrom", {})
    }


def broken_rules(pod: Object) -> list[str]:
    """What Pod Security's `restricted` would refuse, and the read-only root that we ask for beyond it."""
    spec = pod["spec"]
    faults = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    own = spec["securityContext"]
    if not own.get("runAsNonRoot") or own.get("runAsUser", 0) == 0:
        faults.append("may be root")
    if own.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        faults.append("no seccomp profile")
    for volume in spec.get("volumes", []):
        faults += [f"volume {kind}" for kind in volume.keys() - {"name"} - RESTRICTED_VOLUMES]
    for container in containers(pod):
        limits = container["securityContext"]
        if limits.get("allowPrivilegeEscalation") is not False or limits.get("privileged"):
            faults.append(f"{container['name']} may gain privileges")
        if limits.get("capabilities") != {"drop": ["ALL"]}:
            faults.append(f"{container['name']} has capabilities")
        if limits.get("readOnlyRootFilesystem") is not True:
            faults.append(f"{container['name']} may write to its root")
        if any("hostPort" in port for port in container.get("ports", [])):
            faults.append(f"{container['name']} has a host's port")
    return faults


@pytest.mark.parametrize("folder", EVERYWHERE)
def test_every_pod_is_restricted(folder: str) -> None:
    manifests = build(folder)
    assert {name: broken_rules(pod) for name, pod in manifests.pods().items()} == {
        name: [] for name in manifests.pods()
    }
    labels = manifests.of("Namespace")["ai-gateway"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("folder", EVERYWHERE)
def test_every_container_says_what_it_needs_and_at_most(folder: str) -> None:
    for name, pod in build(folder).pods().items():
        for container in containers(pod):
            resources = container["resources"]
            assert resources["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in resources["limits"], name


def test_no_pod_holds_a_token_of_kubernetes() -> None:
    manifests = build("base")
    assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in manifests.pods().values())
    assert all(each["automountServiceAccountToken"] is False for each in manifests.of("ServiceAccount").values())


def test_one_account_may_read_what_the_mission_lists_and_no_pod_runs_under_it() -> None:
    manifests = build("base")
    (role,) = manifests.of("Role").values()
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    ]
    (binding,) = manifests.of("RoleBinding").values()
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [(each["kind"], each["name"]) for each in binding["subjects"]] == [("ServiceAccount", "gateway")]
    assert not manifests.of("ClusterRole") and not manifests.of("ClusterRoleBinding")
    assert "gateway" not in {pod["spec"]["serviceAccountName"] for pod in manifests.pods().values()}


def test_each_pod_is_given_its_own_secrets_only() -> None:
    given = {name: secrets(pod) for name, pod in build("base").pods().items()}
    seal = {"redis-auth", "gateway-seal"}
    assert given == {
        "web": seal | {"gateway-door"},
        "worker-openai": seal | {"llm-api-keys"},
        "worker-anthropic": seal | {"llm-api-keys"},
        "worker-bedrock": seal,
        "worker-ollama": seal,
        "worker-system": seal,
        "redis": {"redis-acl"},
        "ollama": set(),
        "ollama-pull": set(),
        "qdrant": set(),
    }


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_worker_sees_its_own_providers_key_alone(provider: str) -> None:
    volumes = build("base").pods()[f"worker-{provider}"]["spec"]["volumes"]
    (keys,) = (volume["secret"] for volume in volumes if volume.get("secret", {}).get("secretName") == "llm-api-keys")
    assert keys["items"] == [{"key": f"{provider.upper()}_API_KEY", "path": "key"}]
    assert keys["optional"] is True


def test_only_the_laptops_overlay_holds_secrets_in_the_open() -> None:
    assert build("overlays/dev").of("Secret")
    for folder in ("base", "overlays/prod", "argocd"):
        assert not build(folder).of("Secret")


def test_each_kind_of_pod_has_an_account_of_its_own() -> None:
    pods = build("base").pods()
    accounts = {
        name: pod["spec"]["serviceAccountName"] for name, pod in pods.items() if component(pod) != "ollama-pull"
    }
    assert len(set(accounts.values())) == len(accounts)


def test_a_disruption_never_waits_for_a_lane_without_pods() -> None:
    manifests: Manifests = build("base")
    budgets = manifests.of("PodDisruptionBudget")
    assert set(budgets) == {"web", *manifests.workers()}
    assert all("minAvailable" not in each["spec"] for each in budgets.values())
