"""A namespace of a cluster, by Helm and kubectl."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CHART", "Cluster", "Failed"]

CHART = Path(__file__).parents[1] / "trackops"

_TIMEOUT = "240s"
_VOLUMES = ("10Gi", "10Gi", "1Gi")


class Failed(Exception):
    """What a command wrote before it failed."""


@dataclass(frozen=True)
class Cluster:
    namespace: str

    def helm(self, verb: str, *arguments: str | Path) -> str:
        return _run("helm", verb, "--namespace", self.namespace, *arguments)

    def deploy(self, verb: str, *arguments: str | Path) -> str:
        """`install`, `upgrade` or `rollback`, until all of it is ready; `pytest -s` shows it."""
        said = self.helm(verb, "--wait", "--timeout", _TIMEOUT, "trackops", *arguments)
        sys.stdout.write(said)
        return said

    def kubectl(self, *arguments: str | Path, given: str = "") -> str:
        return _run("kubectl", "--namespace", self.namespace, *arguments, given=given)

    def kubectl_everywhere(self, *arguments: str | Path, given: str = "") -> str:
        return _run("kubectl", *arguments, given=given)

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """By name."""
        found = json.loads(self.kubectl("get", kind, "--output", "json"))["items"]
        return {one["metadata"]["name"]: one for one in found}

    def may(self, account: str, verb: str, resource: str) -> bool:
        """Whether a service account of the namespace may do that in it."""
        who = f"system:serviceaccount:{self.namespace}:{account}"
        command = ["kubectl", "--namespace", self.namespace, "auth", "can-i", verb, resource]
        done = subprocess.run([*command, "--as", who], capture_output=True, text=True, check=False)
        answer = done.stdout.strip()
        if answer not in ("yes", "no"):
            raise Failed(done.stdout + done.stderr)
        return answer == "yes"

    def ensure_volumes(self) -> None:
        """Where the cluster makes no volumes by itself: three that hold nothing."""
        if not json.loads(self.kubectl_everywhere("get", "storageclasses", "-o", "json"))["items"]:
            volumes = [self._volume(number, size) for number, size in enumerate(_VOLUMES)]
            everything = {"apiVersion": "v1", "kind": "List", "items": volumes}
            self.kubectl_everywhere("apply", "--filename", "-", given=json.dumps(everything))

    def remove(self) -> None:
        """The namespace with everything in it, and those volumes."""
        label = f"trackops-test={self.namespace}"
        self.kubectl_everywhere("delete", "namespace", self.namespace, "--timeout", _TIMEOUT)
        self.kubectl_everywhere("delete", "persistentvolumes", "--selector", label)

    def _volume(self, number: int, size: str) -> dict[str, Any]:
        name = f"{self.namespace}-{number}"
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "labels": {"trackops-test": self.namespace}},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": f"/nowhere/{name}"},
            },
        }


def _run(*command: str | Path, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(" ".join(map(str, command)) + "\n" + done.stdout + done.stderr)
    return done.stdout
