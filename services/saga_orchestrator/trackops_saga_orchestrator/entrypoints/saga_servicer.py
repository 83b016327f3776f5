"""`trackops.saga.v1.SagaService`."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from trackops.saga.v1 import saga_service_pb2

from trackops_common.grpc.endpoints import Context
from trackops_saga_orchestrator.application.ports import SagaFilter
from trackops_saga_orchestrator.application.show_sagas import GetSaga, ListSagas
from trackops_saga_orchestrator.entrypoints.converters import (
    page_position,
    page_token,
    saga_message,
    saga_states,
)

__all__ = ["SagaServicer"]


@dataclass(frozen=True)
class SagaServicer:
    """Answers SagaService; the contract's comments say what each RPC promises."""

    get_saga: GetSaga
    list_sagas: ListSagas
    threads: Executor

    async def GetSaga(
        self, request: saga_service_pb2.GetSagaRequest, _context: Context
    ) -> saga_service_pb2.GetSagaResponse:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self.threads, self.get_saga, UUID(request.saga_id))
        return saga_service_pb2.GetSagaResponse(saga=saga_message(found))

    async def ListSagas(
        self, request: saga_service_pb2.ListSagasRequest, _context: Context
    ) -> saga_service_pb2.ListSagasResponse:
        wanted = SagaFilter(request.subject, saga_states(list(request.states)))
        after = page_position(request.page_token)
        ask = partial(self.list_sagas, wanted, size=request.page_size, after=after)
        page = await asyncio.get_running_loop().run_in_executor(self.threads, ask)
        return saga_service_pb2.ListSagasResponse(
            sagas=[saga_message(saga) for saga in page.sagas],
            next_page_token=page_token(page.next) if page.next else "",
        )
