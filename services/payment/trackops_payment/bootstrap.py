"""Where the payment service's ports meet Postgres, the provider and gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from trackops.payment.v1 import payment_service_pb2

from trackops_common.background import running
from trackops_common.circuit_breaker import CircuitState
from trackops_common.clock import SystemClock
from trackops_common.database import Database
from trackops_common.grpc.endpoints import RpcService
from trackops_common.grpc.server import Application
from trackops_common.hosting import BatcherFactory, batcher_factory, own_database
from trackops_common.vitals import Vitals
from trackops_payment.adapters.encoding import encode_movement, encode_payment
from trackops_payment.adapters.postgres import (
    PostgresPaymentReader,
    PostgresUnansweredPayments,
    PostgresUnitOfWorkFactory,
)
from trackops_payment.adapters.simulator import SimulatedProvider
from trackops_payment.application.authorize_payments import AuthorizePayments
from trackops_payment.application.free_of_charge import FreeOfCharge
from trackops_payment.application.get_payments import GetPayments
from trackops_payment.application.move_payments import MovePayments
from trackops_payment.application.ports import PaymentProvider
from trackops_payment.application.sweep_payments import SweepPayments
from trackops_payment.application.void_payments import VoidPayments
from trackops_payment.entrypoints.errors import payment_failure
from trackops_payment.entrypoints.payment_servicer import PaymentServicer
from trackops_payment.entrypoints.sweeper import Sweeper
from trackops_payment.settings import PaymentSettings

__all__ = ["PaymentSettings", "bootstrap"]

_BATCHERS = 5
"""Each has a thread, so that none waits while others wait for the provider."""


@dataclass(frozen=True)
class _UseCases:
    authorize: AuthorizePayments
    void: VoidPayments
    move: MovePayments
    get: GetPayments
    sweep: SweepPayments


@asynccontextmanager
async def bootstrap(settings: PaymentSettings) -> AsyncIterator[Application]:
    """The payment service, built and ready; leaving finishes what waits in its batchers."""
    vitals = Vitals.of(settings)
    async with own_database(settings, application_name="trackops_payment", vitals=vitals) as (
        database,
        keeper,
    ):
        with _provider(settings, vitals) as provider:
            use_cases = _build_use_cases(settings, database, provider)
            sweeper = Sweeper(use_cases.sweep, settings.payment_sweep_interval_seconds)
            async with (
                running({"sweeper": sweeper}) as background,
                batcher_factory(threads=_BATCHERS, vitals=vitals) as batcher,
            ):
                service = RpcService(
                    payment_service_pb2.DESCRIPTOR.services_by_name["PaymentService"],
                    _build_servicer(use_cases, batcher),
                    payment_failure,
                )
                yield Application(
                    [service],
                    background=[keeper, *background],
                    dependencies={"Postgres": database.check},
                    vitals=vitals,
                )


@contextmanager
def _provider(settings: PaymentSettings, vitals: Vitals) -> Iterator[PaymentProvider]:
    if settings.payment_provider == "simulator":
        yield FreeOfCharge(SimulatedProvider())
        return
    # Imported here, since an HTTP client is a lot of memory for those who have no use for it.
    from trackops_payment.adapters.https_provider import HttpsProvider, HttpsProviderOptions

    options = HttpsProviderOptions(
        url=settings.payment_provider_url,
        api_key=settings.payment_provider_api_key.get_secret_value(),
        ca_file=settings.payment_provider_ca_file,
        connect_timeout_seconds=settings.payment_provider_connect_timeout_seconds,
        read_timeout_seconds=settings.payment_provider_read_timeout_seconds,
        total_timeout_seconds=settings.payment_provider_total_timeout_seconds,
        concurrency=settings.payment_provider_concurrency,
        breaker_failures=settings.payment_provider_breaker_failures,
        breaker_reset_seconds=settings.payment_provider_breaker_reset_seconds,
    )
    provider = HttpsProvider(options)
    vitals.circuits(lambda: {"payment-provider": provider.circuit})
    vitals.optional["payment-provider"] = lambda: provider.circuit is CircuitState.CLOSED
    try:
        yield FreeOfCharge(provider)
    finally:
        provider.close()


def _build_use_cases(
    settings: PaymentSettings, database: Database, provider: PaymentProvider
) -> _UseCases:
    clock = SystemClock()
    unit_of_work = PostgresUnitOfWorkFactory(database, events_topic=settings.payment_events_topic)
    authorize = AuthorizePayments(unit_of_work, provider, encode_payment, clock)
    void = VoidPayments(unit_of_work, provider, encode_payment, clock)
    move = MovePayments(unit_of_work, provider, encode_movement, clock)
    get = GetPayments(PostgresPaymentReader(database), encode_payment)
    sweep = SweepPayments(
        PostgresUnansweredPayments(database),
        authorize.ask_again,
        void.ask_again,
        move.ask_again,
        clock,
        settings.payment_sweep_after_seconds,
    )
    return _UseCases(authorize, void, move, get, sweep)


def _build_servicer(use_cases: _UseCases, batcher: BatcherFactory) -> PaymentServicer:
    return PaymentServicer(
        authorizations=batcher(use_cases.authorize),
        voids=batcher(use_cases.void),
        captures=batcher(use_cases.move),
        refunds=batcher(use_cases.move),
        reads=batcher(use_cases.get),
    )
