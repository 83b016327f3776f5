"""The chart's workloads as pods of one real node that has no network but the host's.

What is changed of them is what that node asks for: the host's network on loopback, the local
stack's ports, and the Services' names in /etc/hosts. Images, probes, users, limits and settings
are the chart's.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trackops_cli.local.mesh import SERVICES
from trackops_cli.local.ports import HOST, Ports
from trackops_cli.local.stack import LocalStack

__all__ = ["Pods", "in_a_namespace"]

Manifest = dict[str, Any]

_CHART = Path(__file__).parents[2] / "trackops"
_SECRET = "local-stack"
_KAFKA = "local-stack-kafka"
_CLIENTS = "local-stack-clients"
_DATABASES = "local-stack-databases"
_PORT = 5051
_HTTP_PORT = 9051


@dataclass(frozen=True)
class Pods:
    """A release of the chart in a namespace of its own, without Helm's hooks."""

    namespace: str
    stack: LocalStack

    def migrate(self) -> None:
        """Runs the setup Job to its end."""
        (job,) = self._create("Job")
        self.kubectl("wait", "--for=condition=Complete", f"job/{job}", "--timeout=300s")

    def start(self) -> None:
        """Creates every Deployment; their probes say when they are ready."""
        self._create("ServiceAccount")
        self._create("Deployment")

    def wait_ready(self, service: str = "", *, ready: bool = True, seconds: int = 240) -> None:
        """Until the kubelet says so of the service's pod, or of all."""
        chosen = f"app.kubernetes.io/component={service}" if service else "!job-name"
        condition = f"--for=condition=Ready={'True' if ready else 'False'}"
        self.kubectl("wait", condition, "pod", "-l", chosen, f"--timeout={seconds}s")

    def restarts(self) -> dict[str, int]:
        """By container, how often the kubelet has started it anew."""
        return {
            one["name"]: one["restartCount"]
            for pod in self._items("pods", "!job-name")
            for one in pod["status"]["containerStatuses"]
        }

    def replace(self, service: str) -> None:
        """Deletes the service's pod, in order, and waits for its successor to be ready."""
        selector = f"app.kubernetes.io/component={service}"
        self.kubectl("delete", "pod", "-l", selector, "--wait", "--timeout=90s")
        self.kubectl("rollout", "status", f"deployment/trackops-{service}", "--timeout=240s")

    def show(self) -> str:
        """What a person would look at."""
        return self.kubectl("get", "pods", "--output=wide") + self.kubectl(
            "get", "events", "--sort-by=.lastTimestamp"
        )

    def logs(self) -> str:
        return "".join(
            self.kubectl("logs", "--prefix", "--tail=15", f"deployment/trackops-{name}")
            for name in _names()
        )

    def kubectl(self, *arguments: str, given: str = "") -> str:
        return _run("kubectl", "--namespace", self.namespace, *arguments, given=given)

    def create_secrets(self) -> None:
        """What the chart is told by existing Secrets, as the local stack has it."""
        addresses = self.stack.addresses
        specs = {spec.certified_name: spec for spec in SERVICES}
        users = addresses.kafka_users
        self._secret(
            _DATABASES, {n: addresses.database_url(one.package) for n, one in specs.items()}
        )
        self._secret(_CLIENTS, addresses.client_secrets)
        self._secret(
            _KAFKA,
            {n: users[one.package].security["sasl.password"] for n, one in specs.items()},
        )
        redis = {f"redis-{n}": addresses.redis_urls.get(s.package, "") for n, s in specs.items()}
        secrets = {_key(name): value for name, value in addresses.secrets.items()}
        self._secret(_SECRET, {**redis, **secrets})

    def _secret(self, name: str, entries: Mapping[str, str]) -> None:
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        self.kubectl(
            "apply", "--filename=-", given=json.dumps({**made, "stringData": dict(entries)})
        )

    def _create(self, kind: str) -> list[str]:
        """Those of that kind; their names."""
        chosen = [self._on_node(one) for one in self._rendered() if one["kind"] == kind]
        self.kubectl("apply", "--filename=-", given=yaml.safe_dump_all(chosen))
        return [one["metadata"]["name"] for one in chosen]

    def _rendered(self) -> list[Manifest]:
        command = ["helm", "template", "trackops", str(_CHART), "--values=-"]
        rendered = _run(*command, given=yaml.safe_dump(self._values()))
        manifests = [one for one in yaml.safe_load_all(rendered) if one]
        return [one for one in manifests if _hook_of(one) != "test"]

    def _values(self) -> dict[str, Any]:
        services: dict[str, Any] = {name: {} for name in _names()}
        services["identity"]["extraEnv"] = {
            "TRACKOPS_DEVELOPMENT_SECRET": _from(_SECRET, "development-secret")
        }
        return {
            "image": {"registry": "localhost", "pullPolicy": "Never"},
            "environment": "development",
            "database": {"secretName": _DATABASES},
            "redis": {"urlSecret": {"name": _SECRET, "key": "redis-order"}},
            "pageTokens": {"keySecret": {"name": _SECRET}},
            "identityKeys": {"secret": {"name": _SECRET}},
            "serviceClients": {"secretName": _CLIENTS},
            "kafka": {
                "bootstrapServers": self.stack.kafka.bootstrap,
                "securityProtocol": "SASL_PLAINTEXT",
                "passwordSecretName": _KAFKA,
            },
            "setup": {"topics": False},
            "defaults": {"nodeSelector": {"type": "real"}},
            "services": services,
        }

    def _on_node(self, manifest: Manifest) -> Manifest:
        if "template" not in manifest.get("spec", {}):
            return manifest
        pod = manifest["spec"]["template"]["spec"]
        names = [f"trackops-{name}" for name in _names()]
        pod |= {"hostNetwork": True, "hostAliases": [{"ip": HOST, "hostnames": names}]}
        for container in pod["containers"]:
            for port in container.get("ports", ()):
                port["containerPort"] = self._ports[port["containerPort"]]
            for variable in container["env"]:
                self._move(container["name"], variable)
        return manifest

    def _move(self, service: str, variable: dict[str, Any]) -> None:
        """Its addresses to those of the stack; each service enters Redis as itself."""
        host, _, port = str(variable.get("value", "")).rpartition(":")
        if variable["name"].endswith("LISTEN"):
            variable["value"] = f"{HOST}:{self._ports[int(port)]}"
        elif variable["name"].endswith("_TARGET"):
            variable["value"] = f"{host}:{self._ports[int(port)]}"
        elif variable["name"] == "TRACKOPS_REDIS_URL":
            variable["valueFrom"]["secretKeyRef"]["key"] = f"redis-{service}"

    @property
    def _ports(self) -> dict[int, int]:
        """Where the chart's ports are here."""
        ports: Ports = self.stack.context.ports
        found = {}
        for number, spec in enumerate(SERVICES):
            found[_PORT + number] = getattr(ports, spec.name)
            found[_HTTP_PORT + number] = getattr(ports, f"{spec.name}_http")
        return found

    def _items(self, kind: str, selector: str) -> list[Manifest]:
        shown = json.loads(self.kubectl("get", kind, "-l", selector, "--output=json"))
        return list(shown["items"])


@contextmanager
def in_a_namespace(stack: LocalStack) -> Iterator[Pods]:
    """Gone at the end, with all that is in it."""
    pods = Pods(f"trackops-test-{uuid.uuid4().hex[:8]}", stack)
    _run("kubectl", "create", "namespace", pods.namespace)
    try:
        pods.create_secrets()
        yield pods
    finally:
        _run("kubectl", "delete", "namespace", pods.namespace, "--timeout=120s")


def _hook_of(manifest: Manifest) -> str:
    """When Helm would run it; empty for what it installs."""
    return str(manifest["metadata"].get("annotations", {}).get("helm.sh/hook", ""))


def _names() -> list[str]:
    return [spec.certified_name for spec in SERVICES]


def _key(setting: str) -> str:
    return setting.removeprefix("TRACKOPS_").lower().replace("_", "-")


def _from(secret: str, key: str) -> dict[str, Any]:
    return {"valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _run(*command: str, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, " ".join(command) + "\n" + done.stdout + done.stderr
    return done.stdout
