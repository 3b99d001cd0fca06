"""The manifests and the code speak of the same providers, keys, variables, paths and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh import lanes
from mesh.settings import Environment, load_config
from tests.deploy import hcl
from tests.deploy.manifests import Manifests, Object, build, component, containers, lists
from tests.deploy.tools import ROOT
from workers.consumer import role_of

pytestmark = pytest.mark.timeout(600)  # the first test of all puts in place what reads manifests

CONFIG = load_config(ROOT / "config")
EVERYWHERE = ("base", "overlays/dev", "overlays/prod")
FOREIGN = {"ollama", "redis", "qdrant", "ollama-pull"}  # components whose image is not ours
# Variables of ours that no manifest sets.
LEFT = {
    "GATEWAY_SEAL_KEY": "a file is given",
    "GATEWAY_DOOR_KEY": "a file is given",
    "GATEWAY_PROVIDERS": "the dev overlay's; elsewhere the file says what is enabled",
    "GATEWAY_LOG_LEVEL": "info, until somebody looks for something",
    "GATEWAY_ALLOWED_ORIGINS": "an installation's own",
    "OPENAI_API_KEY": "a file is given",
    "ANTHROPIC_API_KEY": "a file is given",
    "OPENAI_BASE_URL": "OpenAI's own",
    "ANTHROPIC_BASE_URL": "Anthropic's own",
    "AWS_REGION": "an installation's own: the prod overlay's",
}


def settings_variables() -> set[str]:
    """What Environment reads."""
    names = {name: field.validation_alias for name, field in Environment.model_fields.items()}
    return {str(alias) if alias else f"GATEWAY_{name.upper()}" for name, alias in names.items()}


def gunicorn_variables() -> set[str]:
    return set(re.findall(r'environ(?:\.get)?[(\[]"(GATEWAY_\w+)"', (ROOT / "web" / "gunicorn.py").read_text()))


def provider_variables() -> set[str]:
    """What the default config's providers read."""
    keys = {provider.api_key_env for provider in CONFIG.providers.values()}
    read = {name for p in CONFIG.providers.values() for name in (p.base_url_env, p.region_env)}
    return (keys | {f"{key}_FILE" for key in keys if key} | read) - {""}


def ours(manifests: Manifests) -> Iterator[tuple[str, Object, Object]]:
    """Each container of our own image: whose pod's, the pod and the container."""
    for name, pod in manifests.pods().items():
        if component(pod) not in FOREIGN:
            yield from ((name, pod, container) for container in containers(pod))


def variables(container: Object) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container.get("env", [])}


@pytest.mark.parametrize("folder", ["base", "overlays/prod"])
def test_each_provider_has_a_worker_and_a_scaler_that_reads_its_lanes(folder: str) -> None:
    manifests = build(folder)
    serving = {
        provider: name
        for name, pod in manifests.workers().items()
        for provider in role_of(pod["spec"]["containers"][0]["command"][-1].split(",")).providers
    }
    assert serving.keys() == CONFIG.providers.keys()
    scalers = {each["spec"]["scaleTargetRef"]["name"]: each for each in manifests.of("ScaledObject").values()}
    for provider, name in serving.items():
        interactive, batch = lanes.of_provider(provider)
        assert lists(scalers[name]) == {
            "waiting": interactive.messages,
            "waiting_batch": batch.messages,
            "running": interactive.running,
            "running_batch": batch.running,
        }
    assert lists(scalers["ollama"]) == lists(scalers[serving["ollama"]])
    assert lists(scalers["worker-system"])["waiting"] == lanes.PREFIX + "system"
    assert role_of([manifests.workers()["worker-system"]["spec"]["containers"][0]["command"][-1]]).system


def test_a_scaler_owns_an_existing_deployment_and_adds_up_all_that_it_reads() -> None:
    manifests = build("base")
    for name, scaler in manifests.of("ScaledObject").items():
        spec = scaler["spec"]
        deployment = manifests.of("Deployment")[spec["scaleTargetRef"]["name"]]
        assert "replicas" not in deployment["spec"]
        modifiers = spec["advanced"]["scalingModifiers"]
        assert modifiers["formula"].split(" + ") == [trigger["name"] for trigger in spec["triggers"]]
        # A job on its way is seen twice rather than not at all: what waits is read before what runs.
        assert [each for each in lists(scaler) if each.startswith("running")] == list(lists(scaler))[
            -len(lists(scaler)) // 2 :
        ]
        slots = variables(deployment["spec"]["template"]["spec"]["containers"][0]).get("GATEWAY_SLOTS")
        if name != "worker-system" and slots:
            assert int(modifiers["target"]) == round(0.7 * int(slots))
        assert {trigger["authenticationRef"]["name"] for trigger in spec["triggers"]} == {"redis"}
    assert not set(manifests.of("HorizontalPodAutoscaler")) & {
        each["spec"]["scaleTargetRef"]["name"] for each in manifests.of("ScaledObject").values()
    }


def test_only_what_may_wait_goes_to_nothing() -> None:
    least = {name: each["spec"]["minReplicaCount"] for name, each in build("base").of("ScaledObject").items()}
    assert {name for name, count in least.items() if not count} == {"ollama", "worker-ollama"}


def test_in_front_of_people_two_pods_are_always_there() -> None:
    least = {name: each["spec"]["minReplicaCount"] for name, each in build("overlays/prod").of("ScaledObject").items()}
    assert {name for name, count in least.items() if count >= 2} == {
        "worker-openai",
        "worker-anthropic",
        "worker-bedrock",
    }


@pytest.mark.parametrize("folder", EVERYWHERE)
def test_every_variable_that_a_manifest_sets_is_read_by_somebody(folder: str) -> None:
    for name, pod, container in ours(build(folder)):
        known = settings_variables() | (gunicorn_variables() if component(pod) == "web" else provider_variables())
        assert variables(container).keys() <= known, name


def test_every_variable_that_is_read_is_set_by_a_manifest_or_left_for_a_reason() -> None:
    given = {name for _, _, container in ours(build("base")) for name in variables(container)}
    known = settings_variables() | gunicorn_variables() | provider_variables()
    assert known - given == LEFT.keys()


@pytest.mark.parametrize("folder", EVERYWHERE)
def test_every_path_that_a_variable_or_a_probe_names_is_mounted(folder: str) -> None:
    for name, _, container in ours(build(folder)):
        mounted = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        probes = [container[kind] for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in container]
        commands = " ".join(" ".join(probe["exec"]["command"]) for probe in probes if "exec" in probe)
        named = [value for value in variables(container).values() if value.startswith("/")]
        for path in [*named, *re.findall(r"(/[a-z/]+)", commands)]:
            assert any(Path(path).is_relative_to(mount) for mount in mounted), (name, path)
        assert all(any(path.startswith(mount) for path in named) for mount in mounted), (name, mounted)


@pytest.mark.parametrize("folder", EVERYWHERE)
def test_every_volume_has_its_source_and_every_service_its_pods(folder: str) -> None:
    manifests = build(folder)
    made = {*manifests.of("Secret"), *manifests.of("ExternalSecret"), "llm-api-keys"}
    for name, pod in manifests.pods().items():
        spec = pod["spec"]
        assert spec["serviceAccountName"] in manifests.of("ServiceAccount"), name
        for volume in spec["volumes"]:
            if folder != "base" and "secret" in volume:
                assert volume["secret"]["secretName"] in made, (name, volume)
            for source in volume.get("projected", {"sources": []})["sources"]:
                settings = source["configMap"]
                assert settings["name"] in manifests.of("ConfigMap") or settings.get("optional"), (name, settings)
    labels = [pod["metadata"]["labels"] for pod in manifests.pods().values()]
    for name, service in manifests.of("Service").items():
        assert any(service["spec"]["selector"].items() <= each.items() for each in labels), name
        ports = {port["targetPort"] for port in service["spec"]["ports"]}
        (pod,) = (
            p
            for p in manifests.pods().values()
            if service["spec"]["selector"].items() <= p["metadata"]["labels"].items()
        )
        assert ports <= {port["name"] for port in pod["spec"]["containers"][0]["ports"]}, name


def test_the_graces_are_longer_than_the_longest_answer() -> None:
    longest = max(provider.timeouts.total_s for provider in CONFIG.providers.values())
    for pod in build("base").workers().values():
        grace_s = float(variables(pod["spec"]["containers"][0])["GATEWAY_GRACE_S"])
        assert longest <= grace_s
        assert (
            grace_s + 10 + 10 <= pod["spec"]["terminationGracePeriodSeconds"]
        )  # the drain's last 10 s, and Celery's end
    web = build("base").pods()["web"]["spec"]
    pause_s = float(web["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    grace_s = float(variables(web["containers"][0])["GATEWAY_WEB_GRACE_S"])
    assert CONFIG.requests.timeout_ms / 1000 <= grace_s
    assert pause_s + grace_s + 10 <= web["terminationGracePeriodSeconds"]
    assert build("base").pods()["ollama"]["spec"]["terminationGracePeriodSeconds"] >= 630


def test_argo_cd_leaves_the_number_of_pods_to_their_scalers() -> None:
    apps = build("argocd").of("Application")
    gateway = apps["ai-gateway"]["spec"]
    assert gateway["ignoreDifferences"] == [{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}]
    assert "RespectIgnoreDifferences=true" in gateway["syncPolicy"]["syncOptions"]
    project = build("argocd").of("AppProject")["ai-gateway"]["spec"]
    allowed = {each["namespace"] for each in project["destinations"]}
    for name, app in apps.items():
        assert app["spec"]["source"]["repoURL"] in project["sourceRepos"], name
        assert app["spec"]["destination"]["namespace"] in allowed, name
    waves = {
        name: int(app["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0"))
        for name, app in apps.items()
    }
    assert all(waves[name] < waves["ai-gateway"] for name in apps if not name.startswith("ai-gateway"))


def test_the_policies_know_the_vpc_that_terraform_makes() -> None:
    network = ROOT / "terraform" / "network.tf"
    (made,) = re.findall(r'^  cidr = "(\S+)"', network.read_text(), re.MULTILINE)
    policies = build("overlays/prod").of("NetworkPolicy")
    named = [
        peer["ipBlock"]["cidr"]
        for name in ("elasticache", "worker-bedrock-endpoint", "web-from-alb")
        for rule in policies[name]["spec"].get("egress", policies[name]["spec"].get("ingress"))
        for peer in rule.get("to", rule.get("from"))
    ]
    assert named == [made] * 3


def test_everything_in_prod_is_in_the_region_and_the_vpc_that_terraform_makes() -> None:
    region = hcl.values(ROOT / "terraform" / "environments" / "prod.tfvars")["region"]
    (name,) = re.findall(r'^  name += "(\S+)"', (ROOT / "terraform" / "names.tf").read_text(), re.MULTILINE)
    controller = build("argocd").of("Application")["load-balancer-controller"]["spec"]["source"]["helm"]["valuesObject"]
    assert (controller["region"], controller["vpcTags"]) == (region, {"Name": name})
    prod = build("overlays/prod")
    assert prod.of("SecretStore")["aws"]["spec"]["provider"]["aws"]["region"] == region
    assert variables(prod.pods()["worker-bedrock"]["spec"]["containers"][0])["AWS_REGION"] == region
    assert f".ecr.{region}." in prod.pods()["web"]["spec"]["containers"][0]["image"]
