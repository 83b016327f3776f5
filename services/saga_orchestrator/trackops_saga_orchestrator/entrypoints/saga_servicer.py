"""`trackops.saga.v1.SagaService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from trackops.saga.v1 import saga_service_pb2

from trackops_common.auth import principal_of
from trackops_common.batching import Batcher
from trackops_common.grpc.endpoints import Context, Encoded, unwrap
from trackops_saga_orchestrator.application.breakers import ParticipantHealth
from trackops_saga_orchestrator.application.ports import SagaFilter, SagaView
from trackops_saga_orchestrator.application.show_sagas import GetSaga, ListSagas
from trackops_saga_orchestrator.application.start_by_hand import StartByHand
from trackops_saga_orchestrator.application.steer_many import SteerMany
from trackops_saga_orchestrator.application.steer_sagas import SteerSaga
from trackops_saga_orchestrator.application.watch_sagas import WatchSagas
from trackops_saga_orchestrator.domain.steering import Operation
from trackops_saga_orchestrator.entrypoints.converters import (
    page_position,
    page_token,
    participant_message,
    saga_message,
    saga_states,
)
from trackops_saga_orchestrator.entrypoints.operator_converters import (
    start_command,
    steer_command,
    steer_many_command,
)

__all__ = ["OperatorCommands", "SagaServicer"]

_LOOK_SECONDS = 0.5
_Answer = Callable[[Any, Context], Awaitable[Encoded]]


@dataclass(frozen=True)
class OperatorCommands:
    """Where the commands of operators gather."""

    steer: Batcher[SteerSaga, bytes | Exception]
    steer_many: Batcher[SteerMany, bytes | Exception]
    start: Batcher[StartByHand, bytes | Exception]


class SagaServicer:
    """Answers SagaService; the contract's comments say what each RPC promises."""

    def __init__(
        self,
        get_saga: GetSaga,
        list_sagas: ListSagas,
        threads: Executor,
        commands: OperatorCommands,
        participants: Callable[[], Sequence[ParticipantHealth]],
    ) -> None:
        """`threads` run the two reads; `participants` tells who is away."""
        self._get_saga = get_saga
        self._list_sagas = list_sagas
        self._threads = threads
        self._commands = commands
        self._participants = participants
        self._watch_sagas = WatchSagas(self._find, lambda: asyncio.sleep(_LOOK_SECONDS))
        self.PauseSaga = self._steering(Operation.PAUSE)
        self.ResumeSaga = self._steering(Operation.RESUME)
        self.RetryStep = self._steering(Operation.RETRY)
        self.SkipStep = self._steering(Operation.SKIP)
        self.CompensateSaga = self._steering(Operation.COMPENSATE)
        self.PauseSagas = self._steering_many(Operation.PAUSE)
        self.ResumeSagas = self._steering_many(Operation.RESUME)
        self.RetrySteps = self._steering_many(Operation.RETRY)
        self.CompensateSagas = self._steering_many(Operation.COMPENSATE)

    async def GetSaga(
        self, request: saga_service_pb2.GetSagaRequest, _context: Context
    ) -> saga_service_pb2.GetSagaResponse:
        found = await self._find(UUID(request.saga_id))
        return saga_service_pb2.GetSagaResponse(saga=saga_message(found))

    async def WatchSaga(
        self, request: saga_service_pb2.WatchSagaRequest, _context: Context
    ) -> AsyncGenerator[saga_service_pb2.WatchSagaResponse, None]:
        async with aclosing(self._watch_sagas(UUID(request.saga_id))) as views:
            async for found in views:
                yield saga_service_pb2.WatchSagaResponse(saga=saga_message(found))

    async def _find(self, saga_id: UUID) -> SagaView:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._get_saga, saga_id)

    async def ListSagas(
        self, request: saga_service_pb2.ListSagasRequest, _context: Context
    ) -> saga_service_pb2.ListSagasResponse:
        wanted = SagaFilter(request.subject, saga_states(list(request.states)))
        after = page_position(request.page_token)
        ask = partial(self._list_sagas, wanted, size=request.page_size, after=after)
        page = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return saga_service_pb2.ListSagasResponse(
            sagas=[saga_message(saga) for saga in page.sagas],
            next_page_token=page_token(page.next) if page.next else "",
        )

    async def StartSaga(
        self, request: saga_service_pb2.StartSagaRequest, context: Context
    ) -> Encoded:
        command = start_command(request, principal_of(context))
        timeout = context.time_remaining()
        return unwrap(await self._commands.start.submit(command, timeout_seconds=timeout))

    async def ListParticipants(
        self, _request: saga_service_pb2.ListParticipantsRequest, _context: Context
    ) -> saga_service_pb2.ListParticipantsResponse:
        return saga_service_pb2.ListParticipantsResponse(
            participants=map(participant_message, self._participants())
        )

    def _steering(self, operation: Operation) -> _Answer:
        async def answer(request: Any, context: Context) -> Encoded:
            command = steer_command(request, operation, principal_of(context))
            timeout = context.time_remaining()
            return unwrap(await self._commands.steer.submit(command, timeout_seconds=timeout))

        return answer

    def _steering_many(self, operation: Operation) -> _Answer:
        async def answer(request: Any, context: Context) -> Encoded:
            command = steer_many_command(request, operation, principal_of(context))
            timeout = context.time_remaining()
            return unwrap(await self._commands.steer_many.submit(command, timeout_seconds=timeout))

        return answer
