"""The service as a process, with a provider whose books survive it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from trackops.payment.v1 import payment_pb2, payment_service_pb2
from trackops.payment.v1.payment_service_pb2_grpc import PaymentServiceStub

from trackops_cli.local.ports import Ports
from trackops_cli.testing import Database as FreshDatabase
from trackops_cli.testing import wait_for
from trackops_common.testing import ErrorDetails, ServiceProcess, error_details
from trackops_common.testing_tokens import authorized_channel
from trackops_payment.testing import API_KEY, Answer, ProviderServer

Request = Any


@dataclass(frozen=True)
class Service:
    """One life of the payment service."""

    process: ServiceProcess
    stub: Any
    health: Any


class Services:
    """Payment services of the test's own, each with the same rows and the same provider."""

    def __init__(self, stack: ExitStack, folder: Path, environment: Mapping[str, str]) -> None:
        self._stack = stack
        self._folder = folder
        self._environment = environment
        self._lives = 0

    def spawn(self, **settings: str) -> ServiceProcess:
        """A process, told `settings` (without TRACKOPS_) over the usual ones."""
        self._lives += 1
        told = {f"TRACKOPS_{name.upper()}": value for name, value in settings.items()}
        process = ServiceProcess(
            "trackops_payment",
            dict(self._environment) | told,
            self._folder / f"{self._lives}.log",
        )
        self._stack.callback(process.kill)
        return process

    def serve(self, **settings: str) -> Service:
        """A service that answers."""
        address = f"127.0.0.1:{Ports.free().payment}"
        process = self.spawn(listen=address, **settings)
        process.wait_logged("serving")
        channel = self._stack.enter_context(authorized_channel(address))
        return Service(process, PaymentServiceStub(channel), health_pb2_grpc.HealthStub(channel))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def provider(stack: ExitStack, tmp_path: Path) -> ProviderServer:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return stack.enter_context(closing(ProviderServer(authority.issue_cert("127.0.0.1"))))


@pytest.fixture
def services(
    stack: ExitStack, tmp_path: Path, database: FreshDatabase, provider: ProviderServer
) -> Services:
    environment = {
        "TRACKOPS_DATABASE_URL": database.url("trackops_payment"),
        "TRACKOPS_PAYMENT_PROVIDER": "https",
        "TRACKOPS_PAYMENT_PROVIDER_URL": provider.url,
        "TRACKOPS_PAYMENT_PROVIDER_API_KEY": API_KEY,
        "TRACKOPS_PAYMENT_PROVIDER_CA_FILE": str(tmp_path / "ca.pem"),
        "TRACKOPS_LOG_LEVEL": "debug",
    }
    return Services(stack, tmp_path, environment)


def authorization(order_id: str) -> Request:
    return payment_service_pb2.AuthorizePaymentRequest(
        request_id=str(uuid4()),
        order_id=order_id,
        amount_minor=500,
        currency_code="EUR",
        payment_method_token="tok_visa",
    )


def capture(order_id: str) -> Request:
    return payment_service_pb2.CapturePaymentRequest(
        request_id=str(uuid4()), order_id=order_id, amount_minor=300
    )


def refund(order_id: str) -> Request:
    return payment_service_pb2.RefundPaymentRequest(
        request_id=str(uuid4()), order_id=order_id, amount_minor=100
    )


def void(order_id: str) -> Request:
    return payment_service_pb2.VoidPaymentRequest(request_id=str(uuid4()), order_id=order_id)


@dataclass(frozen=True)
class Operation:
    """One of the four: what comes before it, how it is asked for, and what it ends in."""

    rpc: str
    request: Callable[[str], Request]
    needs: tuple[tuple[str, Callable[[str], Request]], ...]
    state: Any
    books: Any

    def prepare(self, service: Service) -> str:
        """A new order, about to have this done; its id."""
        order_id = str(uuid4())
        for rpc, request in self.needs:
            getattr(service.stub, rpc)(request(order_id))
        return order_id


_AUTHORIZED = (("AuthorizePayment", authorization),)
_CAPTURED = (*_AUTHORIZED, ("CapturePayment", capture))

OPERATIONS = {
    "authorize": Operation(
        "AuthorizePayment", authorization, (), payment_pb2.PAYMENT_STATE_AUTHORIZED, "authorize"
    ),
    "capture": Operation(
        "CapturePayment",
        capture,
        _AUTHORIZED,
        payment_pb2.PAYMENT_STATE_PARTIALLY_CAPTURED,
        "capture",
    ),
    "void": Operation("VoidPayment", void, _CAPTURED, payment_pb2.PAYMENT_STATE_CAPTURED, "void"),
    "refund": Operation(
        "RefundPayment",
        refund,
        _CAPTURED,
        payment_pb2.PAYMENT_STATE_PARTIALLY_CAPTURED,
        "refund",
    ),
}


@pytest.fixture(params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> Operation:
    return OPERATIONS[request.param]


def kill_between_provider_and_record(
    service: Service, provider: ProviderServer, *asked: tuple[Operation, Request]
) -> None:
    """The provider has done it all and holds its answers back; the service never hears them."""
    done = len(provider.books.entries)
    with ThreadPoolExecutor(len(asked)) as threads, provider.holding_answers():
        calls = [
            threads.submit(getattr(service.stub, operation.rpc), request)
            for operation, request in asked
        ]
        wait_for(
            lambda: len(provider.books.entries) == done + len(asked), what="the provider's work"
        )
        service.process.kill()
        errors = [call.exception(timeout=30) for call in calls]
    assert all(isinstance(error, grpc.RpcError) for error in errors)


def test_killed_between_provider_and_record_the_repeat_charges_nothing_twice(
    services: Services, provider: ProviderServer, operation: Operation
) -> None:
    service = services.serve()
    request = operation.request(operation.prepare(service))
    kill_between_provider_and_record(service, provider, (operation, request))
    books = provider.books.entries
    stub = services.serve().stub

    first = getattr(stub, operation.rpc)(request)

    assert first.payment.state == operation.state
    assert getattr(stub, operation.rpc)(request) == first
    assert provider.books.entries == books
    assert len(provider.books.done(operation.books)) == 1
    keys = [headers["idempotency-key"] for _, headers, _ in provider.seen]
    assert keys[-1] == keys[-2]


def test_killed_and_never_repeated_the_sweeper_finds_the_outcomes(
    services: Services, provider: ProviderServer
) -> None:
    service = services.serve()
    orders = {operation.prepare(service): operation for operation in OPERATIONS.values()}
    asked = [(operation, operation.request(id_)) for id_, operation in orders.items()]
    kill_between_provider_and_record(service, provider, *asked)
    books = provider.books.entries

    stub = services.serve(
        payment_sweep_after_seconds="0.1", payment_sweep_interval_seconds="0.1"
    ).stub

    def is_settled(order_id: str) -> bool:
        request = payment_service_pb2.GetPaymentRequest(order_id=order_id)
        payment = stub.GetPayment(request).payment
        states = {movement.state for movement in payment.movements}
        return (
            payment.state == orders[order_id].state
            and payment_pb2.PAYMENT_MOVEMENT_STATE_SENT not in states
        )

    for order_id in orders:
        wait_for(partial(is_settled, order_id), what="the sweeper")
    assert provider.books.entries == books


def refused(call: Callable[[Request], Any], request: Request) -> ErrorDetails:
    with pytest.raises(grpc.RpcError) as raised:
        call(request)
    return error_details(raised.value)


def test_a_provider_that_ails_makes_payments_unavailable_and_not_the_service(
    services: Services, provider: ProviderServer
) -> None:
    service = services.serve(
        payment_provider_breaker_failures="2", payment_provider_breaker_reset_seconds="3600"
    )
    order_id = str(uuid4())
    service.stub.AuthorizePayment(authorization(order_id))
    provider.answers_with = Answer(503)
    for _ in range(4):
        away = refused(service.stub.AuthorizePayment, authorization(str(uuid4())))
        assert (away.code, away.reason, away.message) == (
            grpc.StatusCode.UNAVAILABLE,
            "DEPENDENCY_UNAVAILABLE",
            "the payment provider is not available",
        )
    assert len(provider.seen) == 3
    changed = service.process.wait_logged("the payment provider's circuit changed")
    assert [line["state"] for line in changed] == ["OPEN"]
    health = service.health.Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    shown = service.stub.GetPayment(payment_service_pb2.GetPaymentRequest(order_id=order_id))
    assert shown.payment.state == payment_pb2.PAYMENT_STATE_AUTHORIZED


def test_what_it_logs_has_neither_key_nor_token(
    services: Services, provider: ProviderServer
) -> None:
    service = services.serve()
    service.stub.AuthorizePayment(authorization(str(uuid4())))
    provider.answers_with = Answer(401)
    refused(service.stub.AuthorizePayment, authorization(str(uuid4())))
    service.process.wait_logged("the payment provider refuses what it is asked")
    service.process.terminate()
    assert service.process.wait() == 0
    logged = "\n".join(service.process.output)
    assert API_KEY not in logged
    assert "tok_visa" not in logged


def test_each_setting_of_the_provider_that_is_missing_or_wrong_has_its_line(
    services: Services,
) -> None:
    process = services.spawn(
        listen="127.0.0.1:1",
        payment_provider_url="",
        payment_provider_api_key="",
        payment_provider_ca_file="/nowhere",
        payment_provider_concurrency="0",
    )
    assert process.wait() == 78
    assert sorted(process.output) == [
        "trackops: setting TRACKOPS_PAYMENT_PROVIDER_API_KEY is missing",
        "trackops: setting TRACKOPS_PAYMENT_PROVIDER_CA_FILE is wrong:"
        " Path does not point to a file",
        "trackops: setting TRACKOPS_PAYMENT_PROVIDER_CONCURRENCY is wrong:"
        " Input should be greater than 0",
        "trackops: setting TRACKOPS_PAYMENT_PROVIDER_URL is missing",
    ]


def test_the_simulator_needs_no_settings(services: Services, provider: ProviderServer) -> None:
    service = services.serve(
        payment_provider="simulator",
        payment_provider_url="",
        payment_provider_api_key="",
    )
    service.stub.AuthorizePayment(authorization(str(uuid4())))
    assert provider.seen == []
