"""Connections, headers, gRPC through the edge, and what it writes down."""

from __future__ import annotations

import socket
import ssl
import struct
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.client import HTTPResponse
from pathlib import Path

import grpc
import pytest
from trackops.common.v1.error_reason_pb2 import ErrorReason
from trackops.order.v1 import order_pb2, order_saga_service_pb2, order_service_pb2
from trackops.order.v1.order_saga_service_pb2_grpc import OrderSagaServiceStub
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_cli.testing import wait_for
from trackops_common.grpc.failures import Failure
from trackops_common.testing import error_details

from .edge_harness import PLENTY, Answer, Edge, Refused, run_edge, write_certificate

ORDER = str(uuid.uuid4())
NOT_FOUND = Failure(
    grpc.StatusCode.NOT_FOUND, ErrorReason.ERROR_REASON_ORDER_NOT_FOUND, "no such order"
)


def refuse(*_: object) -> None:
    raise Refused(NOT_FOUND)


class TestTls:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_today_s_versions_are_spoken(self, edge: Edge, version: ssl.TLSVersion) -> None:
        trust = self._trust(edge)
        trust.minimum_version = trust.maximum_version = version

        spoken = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}
        assert self._shake_hands(edge, trust) == spoken[version]

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
    def test_an_old_version_is_refused_by_the_edge(self, edge: Edge) -> None:
        trust = self._trust(edge)
        trust.set_ciphers("ALL:@SECLEVEL=0")  # or the client would refuse it itself
        trust.minimum_version = trust.maximum_version = ssl.TLSVersion.TLSv1_1

        with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
            self._shake_hands(edge, trust)

    def test_suites_without_forward_secrecy_are_refused(self, edge: Edge) -> None:
        trust = self._trust(edge)
        trust.maximum_version = ssl.TLSVersion.TLSv1_2
        trust.set_ciphers("AES128-GCM-SHA256:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA")

        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            self._shake_hands(edge, trust)

    def test_plain_http_gets_no_answer(self, edge: Edge) -> None:
        with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as plain:
            plain.sendall(b"GET /docs HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert b"HTTP/" not in plain.recv(4096)

    def test_a_new_certificate_is_taken_while_it_runs(self, edge: Edge) -> None:
        for _ in range(3):
            before = self._certificate(edge)

            write_certificate(edge.authority, edge.settings.certificate.parent)

            changed = partial(self._differs, edge, before)
            wait_for(changed, what="the new certificate")
        assert edge.call("GET", "/v1/orders").status == 200

    def _trust(self, edge: Edge) -> ssl.SSLContext:
        trust = ssl.create_default_context()
        edge.authority.configure_trust(trust)
        return trust

    def _shake_hands(self, edge: Edge, trust: ssl.SSLContext) -> str | None:
        with (
            socket.create_connection(("127.0.0.1", edge.port), timeout=10) as plain,
            trust.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return secure.version()

    def _differs(self, edge: Edge, certificate: bytes | None) -> bool:
        return self._certificate(edge) != certificate

    def _certificate(self, edge: Edge) -> bytes | None:
        with (
            socket.create_connection(("127.0.0.1", edge.port), timeout=10) as plain,
            edge.trust.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return secure.getpeercert(binary_form=True)


class TestHeaders:
    def test_every_answer_has_the_security_headers(self, edge: Edge) -> None:
        edge.services.behaviours["GetOrder"] = refuse
        answers = {
            "served": edge.call("GET", "/v1/orders"),
            "refused by the service": edge.call("GET", f"/v1/orders/{ORDER}"),
            "no token": edge.call("GET", "/v1/orders", token=None),
            "not there": edge.call("GET", "/nothing"),
            "not JSON": edge.call("POST", "/v1/orders", b"{"),
            "headers too large": edge.call("GET", "/", headers={"x-large": "x" * 20_000}),
            "page": edge.call("GET", "/docs", token=None),
            "keys": edge.call("GET", "/.well-known/jwks.json", token=None),
        }

        assert len({answer.status for answer in answers.values()}) == 5
        for what, answer in answers.items():
            self._assert_safe(what, answer)

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.0\r\n\r\n", 426),
            (
                b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n"
                b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                400,
            ),
        ],
        ids=["no header", "no request", "no host", "HTTP/1.0", "two lengths"],
    )
    def test_what_is_no_good_http_gets_them_with_a_problem(
        self, edge: Edge, sent: bytes, status: int
    ) -> None:
        with (
            socket.create_connection(("127.0.0.1", edge.port), timeout=10) as plain,
            edge.trust.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            secure.sendall(sent)
            response = HTTPResponse(secure)
            response.begin()
            body = response.read()

        headers = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, headers, body)
        assert headers["content-type"] == "application/problem+json"
        assert (answer.status, answer.json["status"]) == (status, status)
        self._assert_safe("no good HTTP", answer)

    def _assert_safe(self, what: str, answer: Answer) -> None:
        headers = answer.headers
        assert headers["strict-transport-security"].startswith("max-age=31536000"), what
        assert headers["x-content-type-options"] == "nosniff", what
        assert headers["x-frame-options"] == "DENY", what
        assert headers["cache-control"] == "no-store", what
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'"), what
        assert "frame-ancestors 'none'" in policy, what
        assert not {name for name in headers if name.startswith("x-envoy")}, what

    @pytest.mark.parametrize("verb", ["OPTIONS", "GET"])
    def test_other_origins_are_allowed_nothing(self, edge: Edge, verb: str) -> None:
        headers = {
            "origin": "https://elsewhere.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization",
        }

        for token in (None, ""):
            answer = edge.call(verb, "/v1/orders", headers=headers, token=token)
            assert not {name for name in answer.headers if name.startswith("access-control")}
            assert verb == "GET" or answer.status >= 400

    def test_a_caller_cannot_steer_the_edge(self, edge: Edge) -> None:
        steering = {
            "x-envoy-retry-on": "5xx",
            "x-envoy-max-retries": "9",
            "x-envoy-upstream-rq-timeout-ms": "1",
            "x-envoy-internal": "true",
            "x-request-id": "chosen-by-the-caller",
        }

        edge.call("GET", "/v1/orders", headers=steering)

        (call,) = edge.services.calls
        assert not set(steering) & set(call.metadata) - {"x-request-id"}
        assert call.metadata["x-request-id"] != "chosen-by-the-caller"

    def test_a_header_name_that_could_be_taken_for_another_is_refused(self, edge: Edge) -> None:
        answer = edge.call("GET", "/v1/orders", headers={"x_forwarded_for": "127.0.0.1"})

        assert answer.status == 400
        assert edge.services.calls == []


class TestGrpc:
    def test_grpc_web_is_answered(self, edge: Edge) -> None:
        order = order_pb2.Order(order_id=ORDER)
        edge.services.behaviours["GetOrder"] = lambda *_: order_service_pb2.GetOrderResponse(
            order=order
        )

        answer = self._grpc_web(edge, edge.token)

        message, trailers = self._frames(answer.body)
        assert order_service_pb2.GetOrderResponse.FromString(message).order == order
        assert b"grpc-status:0" in trailers

    def test_a_refusal_reaches_grpc_web(self, edge: Edge) -> None:
        edge.services.behaviours["GetOrder"] = refuse

        answer = self._grpc_web(edge, edge.token)

        assert answer.status == 200
        assert answer.headers["grpc-status"] == "5"
        assert answer.headers["grpc-message"] == "no such order"
        assert "grpc-status-details-bin" in answer.headers

    def test_grpc_web_needs_a_token(self, edge: Edge) -> None:
        answer = self._grpc_web(edge, None)

        assert answer.headers["grpc-status"] == "16"
        assert edge.services.calls == []

    def test_grpc_is_answered(self, edge: Edge) -> None:
        with edge.channel() as channel:
            response = OrderServiceStub(channel).ListOrders(
                order_service_pb2.ListOrdersRequest(), metadata=edge.metadata, timeout=10
            )

        assert response == order_service_pb2.ListOrdersResponse()

    def test_a_refusal_reaches_grpc(self, edge: Edge) -> None:
        edge.services.behaviours["GetOrder"] = refuse

        with edge.channel() as channel, pytest.raises(grpc.RpcError) as caught:
            OrderServiceStub(channel).GetOrder(
                order_service_pb2.GetOrderRequest(), metadata=edge.metadata, timeout=10
            )

        assert error_details(caught.value).reason == "ORDER_NOT_FOUND"

    def test_what_is_not_on_the_edge_is_not_there_for_grpc_either(self, edge: Edge) -> None:
        with edge.channel() as channel:
            confirm = OrderSagaServiceStub(channel).ConfirmOrder
            batch = OrderServiceStub(channel).BatchGetOrders
            with pytest.raises(grpc.RpcError) as first:
                confirm(
                    order_saga_service_pb2.ConfirmOrderRequest(),
                    metadata=edge.metadata,
                    timeout=10,
                )
            with pytest.raises(grpc.RpcError) as second:
                batch(
                    order_service_pb2.BatchGetOrdersRequest(),
                    metadata=edge.metadata,
                    timeout=10,
                )

        for caught in (first, second):
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert edge.services.calls == []

    def test_a_call_that_is_cut_off_is_told_so(self, tmp_path: Path, ports: Iterator[int]) -> None:
        with (
            run_edge(tmp_path, ports, limits=replace(PLENTY, idle_seconds=1)) as edge,
            edge.channel() as channel,
        ):
            edge.services.behaviours["CancelOrder"] = lambda *_: edge.services.released.wait(20)
            with pytest.raises(grpc.RpcError) as caught:
                OrderServiceStub(channel).CancelOrder(
                    order_service_pb2.CancelOrderRequest(), metadata=edge.metadata, timeout=20
                )
            edge.services.released.set()

        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.value.details() == "stream timeout"

    def test_another_audience_is_no_matter_of_permission(self, edge: Edge) -> None:
        answer = self._grpc_web(edge, edge.keys.token(aud="another"))

        assert answer.headers["grpc-status"] == "16"

    def _grpc_web(self, edge: Edge, token: str | None) -> Answer:
        message = order_service_pb2.GetOrderRequest(order_id=ORDER).SerializeToString()
        return edge.call(
            "POST",
            "/trackops.order.v1.OrderService/GetOrder",
            struct.pack(">BI", 0, len(message)) + message,
            token=token,
            headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
        )

    def _frames(self, body: bytes) -> list[bytes]:
        """The message and the trailers."""
        found = []
        while body:
            _, length = struct.unpack(">BI", body[:5])
            found.append(body[5 : 5 + length])
            body = body[5 + length :]
        return found


class TestInside:
    def test_the_log_has_the_request_and_no_secret(self, edge: Edge) -> None:
        path = f"/v1/orders/{uuid.uuid4()}"
        answer = edge.call("GET", f"{path}?min_version=0", headers={"user-agent": "test"})

        wait_for(lambda: path in edge.log.read_text(), what="the line of the log")

        (line,) = [line for line in edge.log_lines() if line["path"] == path]
        assert line["request_id"] == answer.headers["x-request-id"]
        assert line["request_id"] == edge.services.calls[0].metadata["x-request-id"]
        told = ("method", "status", "service", "grpc_status", "user_agent", "tls")
        assert [line[name] for name in told] == ["GET", 200, "order", "OK", "test", "TLSv1.3"]
        assert edge.token not in edge.log.read_text()
        assert "min_version" not in edge.log.read_text()

    def test_a_refused_request_is_in_the_log_too(self, edge: Edge) -> None:
        path = f"/v1/orders/{uuid.uuid4()}"
        edge.call("GET", path, token=None)

        wait_for(lambda: path in edge.log.read_text(), what="the line of the log")

        (line,) = [line for line in edge.log_lines() if line["path"] == path]
        assert (line["status"], line["service"]) == (401, None)
        assert "Jwt_is_missing" in line["details"]

    def test_probes_and_metrics_are_served_inside(self, edge: Edge) -> None:
        edge.call("GET", "/v1/orders")

        assert edge.inside("/healthz/live") == (200, "ok\n")
        assert edge.inside("/healthz/ready") == (200, "LIVE\n")
        status, metrics = edge.inside("/metrics")
        assert status == 200
        assert 'envoy_cluster_upstream_rq_total{envoy_cluster_name="order"}' in metrics

    @pytest.mark.parametrize("path", ["/quitquitquit", "/config_dump", "/", "/healthz/../logging"])
    def test_nothing_else_of_the_administration_is_served(self, edge: Edge, path: str) -> None:
        assert edge.inside(path)[0] == 404
        assert edge.call("GET", path).status == 404

    def test_the_administration_is_for_the_owner_alone(self, edge: Edge) -> None:
        socket_file = Path(edge.settings.folder / "admin.sock")

        assert socket_file.stat().st_mode & 0o077 == 0
