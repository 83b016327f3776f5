"""`trackops.common.v1.AdminService`, the same in every service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from trackops.common.v1 import admin_service_pb2 as pb

from trackops_common.auth import principal_of
from trackops_common.clock import Clock, SystemClock
from trackops_common.grpc.endpoints import Context, RpcService
from trackops_common.logs import LogLevels
from trackops_common.logs.overrides import LevelOverrides
from trackops_common.probes import Readiness
from trackops_common.vitals import Vitals

__all__ = ["AdminServicer", "admin_service"]

_log = structlog.get_logger(__name__)

_DEFAULT_SECONDS = 1800.0
_LEVELS: Mapping[str, pb.LogLevel.ValueType] = {
    "": pb.LOG_LEVEL_UNSPECIFIED,
    "debug": pb.LOG_LEVEL_DEBUG,
    "info": pb.LOG_LEVEL_INFO,
    "warning": pb.LOG_LEVEL_WARNING,
    "error": pb.LOG_LEVEL_ERROR,
    "critical": pb.LOG_LEVEL_ERROR,
}
_NAMES = {number: name for name, number in _LEVELS.items() if name != "critical"}


@dataclass
class AdminServicer:
    """Answers AdminService for one process; the contract's comments say what each RPC promises."""

    service: str
    vitals: Vitals
    readiness: Readiness
    clock: Clock = field(default_factory=SystemClock)
    levels: LogLevels = field(default_factory=LogLevels)

    def __post_init__(self) -> None:
        self._start_time = _timestamp(self.clock)
        self._overrides = LevelOverrides(self.levels)

    async def GetStatus(self, _request: pb.GetStatusRequest, _: Context) -> pb.GetStatusResponse:
        dependencies = self._dependencies()
        health, reason = self._health(dependencies)
        return pb.GetStatusResponse(
            service=self.service,
            version=version("trackops-common"),
            start_time=self._start_time,
            health=health,
            reason=reason,
            dependencies=dependencies,
            workers=[
                pb.WorkerStatus(name=name, busy=_duration(busy()))
                for name, busy in sorted(self.vitals.workers.items())
            ],
        )

    async def ListLogLevels(
        self, _request: pb.ListLogLevelsRequest, _: Context
    ) -> pb.ListLogLevelsResponse:
        return pb.ListLogLevelsResponse(
            levels=[
                pb.LoggerLevel(logger=logger, level=_LEVELS[level])
                for logger, level in self.levels.every().items()
            ]
        )

    async def SetLogLevel(
        self, request: pb.SetLogLevelRequest, context: Context
    ) -> pb.SetLogLevelResponse:
        seconds = _DEFAULT_SECONDS
        if request.HasField("lasts"):
            seconds = request.lasts.ToTimedelta().total_seconds()
        level = _NAMES[request.level]
        then = self._overrides.set(request.logger, level, seconds=seconds)
        _log.warning(
            "log level changed",
            changed=request.logger or "all",
            to=level or "the parent's",
            seconds=seconds,
            principal=principal_of(context).name,
        )
        end_time = Timestamp()
        end_time.FromDatetime(self.clock.now() + timedelta(seconds=seconds))
        return pb.SetLogLevelResponse(end_time=end_time, then=_LEVELS[then])

    def _dependencies(self) -> list[pb.DependencyStatus]:
        away = self.readiness.away
        required = [
            pb.DependencyStatus(
                name=name, available=name not in away, required=True, error=away.get(name, "")
            )
            for name in self.readiness.dependencies
        ]
        optional = [
            pb.DependencyStatus(name=name, available=there())
            for name, there in self.vitals.optional.items()
        ]
        return sorted([*required, *optional], key=lambda one: one.name)

    def _health(
        self, dependencies: list[pb.DependencyStatus]
    ) -> tuple[pb.ServiceHealth.ValueType, str]:
        missing = ", ".join(one.name for one in dependencies if not one.available)
        if not self.readiness.serving:
            gone = ", ".join(one.name for one in dependencies if one.required and not one.available)
            reason = f"away: {gone}" if gone else self.readiness.why
            return pb.SERVICE_HEALTH_NOT_SERVING, reason
        if missing:
            return pb.SERVICE_HEALTH_DEGRADED, f"does without: {missing}"
        return pb.SERVICE_HEALTH_SERVING, ""


def admin_service(servicer: AdminServicer) -> RpcService:
    """As a server serves it beside its own services."""
    return RpcService(pb.DESCRIPTOR.services_by_name["AdminService"], servicer)


def _timestamp(clock: Clock) -> Timestamp:
    now = Timestamp()
    now.FromDatetime(clock.now())
    return now


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration
