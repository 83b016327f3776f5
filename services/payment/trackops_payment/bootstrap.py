"""Where the payment service's ports meet Postgres, the provider and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trackops.payment.v1 import payment_service_pb2

from trackops_common.clock import SystemClock
from trackops_common.database import Database
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application
from trackops_common.hosting import BatcherFactory, batcher_factory, own_database
from trackops_common.settings import ServiceSettings
from trackops_common.topics import PAYMENT_EVENTS
from trackops_payment.adapters.encoding import encode_payment
from trackops_payment.adapters.postgres import PostgresPaymentReader, PostgresUnitOfWorkFactory
from trackops_payment.adapters.simulator import SimulatedProvider
from trackops_payment.application.authorize_payments import AuthorizePayments
from trackops_payment.application.get_payments import GetPayments
from trackops_payment.application.void_payments import VoidPayments
from trackops_payment.entrypoints.errors import payment_failure
from trackops_payment.entrypoints.payment_servicer import PaymentServicer

__all__ = ["PaymentSettings", "bootstrap"]


class PaymentSettings(ServiceSettings):
    """Settings of the payment service."""

    payment_events_topic: str = PAYMENT_EVENTS.name


@asynccontextmanager
async def bootstrap(settings: PaymentSettings) -> AsyncIterator[Application]:
    """The payment service, built and ready; leaving finishes what waits in its batchers."""
    async with (
        own_database(settings, application_name="trackops_payment") as (database, keeper),
        batcher_factory(threads=settings.database_pool_size) as batcher,
    ):
        servicer = _build_servicer(settings, database, batcher)
        service = RpcService(
            payment_service_pb2.DESCRIPTOR.services_by_name["PaymentService"],
            servicer,
            payment_failure,
        )
        yield Application([service], background=[keeper])


def _build_servicer(
    settings: PaymentSettings, database: Database, batcher: BatcherFactory
) -> PaymentServicer:
    clock, provider = SystemClock(), SimulatedProvider()
    unit_of_work = PostgresUnitOfWorkFactory(database, events_topic=settings.payment_events_topic)
    reader = PostgresPaymentReader(database)
    return PaymentServicer(
        authorizations=batcher(AuthorizePayments(unit_of_work, provider, encode_payment, clock)),
        voids=batcher(VoidPayments(unit_of_work, provider, encode_payment, clock)),
        reads=batcher(GetPayments(reader, encode_payment)),
    )
