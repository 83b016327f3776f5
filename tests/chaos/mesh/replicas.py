"""The processes that are harmed: each is started again under the same address when it has ended."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar
from urllib.request import urlopen

from trackops_cli.local.edge import Edge
from trackops_cli.local.ports import HOST
from trackops_common.testing import ServiceProcess

__all__ = ["Death", "EdgeReplica", "Replica", "ServiceReplica"]

_SERVING_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended without having been told to."""

    replica: str
    status: int | None
    """None where nobody knows it."""
    last_lines: str


class Replica(ABC):
    """One process."""

    expiry_metric: ClassVar[str]
    """How the lines begin in which its metrics say when its certificate ends."""

    def __init__(self, name: str) -> None:
        """`name` is the service's and a number, such as `order/1`."""
        self.name = name
        self.lock = threading.Lock()
        """Held by whoever ends or starts it."""

    @property
    def service(self) -> str:
        return self.name.partition("/")[0]

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """None while it does not run."""

    @property
    @abstractmethod
    def http(self) -> str:
        """host:port of its probes and metrics."""

    @abstractmethod
    def start(self, **more: str) -> None:
        """`more` goes over its environment. It may not serve yet."""

    @abstractmethod
    def wait_serving(self) -> None:
        """Returns once it serves; raises AssertionError with what it wrote if it does not."""

    @abstractmethod
    def kill(self) -> None:
        """End it as a crash does."""

    @abstractmethod
    def stop(self) -> None:
        """End it as a rolling restart does, and wait."""

    @abstractmethod
    def death(self) -> Death | None:
        """What ended by itself, if it did."""

    def certificate_ends(self) -> set[float]:
        """When what it shows to others does, in seconds since 1970; empty if it does not answer."""
        try:
            with urlopen(f"http://{self.http}/metrics", timeout=5) as page:
                lines: list[str] = page.read().decode().splitlines()
        except (OSError, HTTPException):
            return set()
        return {float(line.split()[-1]) for line in lines if line.startswith(self.expiry_metric)}

    def send(self, what: signal.Signals) -> None:
        """A signal."""
        if (pid := self.pid) is not None:
            os.kill(pid, what)

    def revive(self) -> Death | None:
        """What ended by itself, if it did; it is started again, as a cluster does."""
        with self.lock:
            death = self.death()
            if death is not None:
                self.start()
            return death


class ServiceReplica(Replica):
    """Every process of it has a log of its own."""

    expiry_metric = "trackops_tls_certificate_expiry_timestamp_seconds"

    def __init__(self, name: str, environment: Mapping[str, str], logs: Path) -> None:
        super().__init__(name)
        self._environment = environment
        self._logs = logs
        self._process: ServiceProcess | None = None

    @property
    def http(self) -> str:
        return self._environment["TRACKOPS_HTTP_LISTEN"]

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None else process.pid

    def start(self, **more: str) -> None:
        """Returns at once."""
        log = self._logs / f"{self.name.replace('/', '-')}-{uuid.uuid4().hex[:8]}.json"
        environment = {**self._environment, **more}
        self._process = ServiceProcess(f"trackops_{self.service}", environment, log)

    def wait_serving(self) -> None:
        assert self._process is not None
        self._process.wait_logged("serving", seconds=_SERVING_SECONDS)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(seconds=60)

    def death(self) -> Death | None:
        process = self._process
        status = None if process is None else process.exit_status
        if process is None or status is None:
            return None
        return Death(self.name, status, "\n".join(process.output[-5:]))


class EdgeReplica(Replica):
    """Envoy, which the stack knows as its own edge."""

    expiry_metric = (
        'envoy_cluster_ssl_certificate_expiration_unix_time_seconds{envoy_tls_certificate="caller"'
    )

    def __init__(self, edge: Edge) -> None:
        super().__init__("edge/1")
        self._edge = edge
        self._is_wanted = False

    @property
    def pid(self) -> int | None:
        return self._edge.process.pid

    @property
    def http(self) -> str:
        return f"{HOST}:{self._edge.context.ports.edge_http}"

    def start(self, **_: str) -> None:
        """Returns once it serves; nothing of its environment matters."""
        self._is_wanted = True
        self._edge.start()

    def wait_serving(self) -> None:
        assert self._edge.is_ready()

    def kill(self) -> None:
        self._is_wanted = False
        self._edge.process.kill()

    def stop(self) -> None:
        self._is_wanted = False
        self._edge.stop()

    def death(self) -> Death | None:
        if not self._is_wanted or self.pid is not None:
            return None
        return Death(self.name, None, str(self._edge.process.death()))
