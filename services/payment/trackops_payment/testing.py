"""A payment provider on loopback, with TLS, that speaks the API of `docs/payment-provider.md`."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme

from trackops_common.errors import TransientError
from trackops_payment.adapters.simulator import SimulatedProvider
from trackops_payment.adapters.simulator_books import Books
from trackops_payment.application.ports import (
    AuthorizationRequest,
    Authorized,
    Declined,
    Moved,
    MovementRequest,
    VoidRequest,
)
from trackops_payment.domain.payment import PaymentTerms

__all__ = ["API_KEY", "Answer", "ProviderServer"]

API_KEY = "key-for-tests"
_PATH = re.compile(r"/v1/authorizations(?:/([A-Za-z0-9_-]+)/(captures|refunds|void))?")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; a `body` that is no JSON is sent as it is."""

    status: int
    body: object = b""
    drip_seconds: float = 0
    """Pause before each byte of the body."""

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class ProviderServer:
    """Its books are those of a simulator; they survive whoever asks it.

    It does what it is asked *before* it looks how to answer, so that a lost
    answer is one to something done.
    """

    def __init__(self, certificate: trustme.LeafCert, *, books: Books | None = None) -> None:
        """Listens from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self._simulator = SimulatedProvider(sleep=lambda _: None, books=books)
        self._server = _Server(("127.0.0.1", 0), context, self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        self._closing = threading.Event()
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._lock = threading.Lock()
        self._at_once = 0
        self.seen: list[tuple[str, Mapping[str, str], Any]] = []
        """Path, headers (small letters) and body of each request."""
        self.most_at_once = 0
        self.drops_answers = False
        """Ends the connection in place of an answer."""
        self.answers_with: Answer | None = None
        """Sent in place of the answer, and nothing is done."""

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def books(self) -> Books:
        return self._simulator.books

    @property
    def connections(self) -> int:
        """How many were ever made."""
        return self._server.connections

    @contextmanager
    def holding_answers(self) -> Iterator[None]:
        """What is asked is done, but answered only at the end of the block."""
        self._may_answer.clear()
        try:
            yield
        finally:
            self._may_answer.set()

    def close(self) -> None:
        """Answer nobody any more."""
        self._closing.set()
        self._may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handle(self, path: str, headers: Mapping[str, str], body: Any) -> Answer | None:
        """The answer to one request; None for a dropped connection."""
        with self._lock:
            self.seen.append((path, headers, body))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        answer = self.answers_with or self._do(path, headers, body)
        self._may_answer.wait()
        with self._lock:
            self._at_once -= 1
        return None if self.drops_answers or self._closing.is_set() else answer

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the server's end."""
        self._closing.wait(seconds)

    def _do(self, path: str, headers: Mapping[str, str], body: Any) -> Answer:
        match = _PATH.fullmatch(path)
        if headers.get("authorization") != f"Bearer {API_KEY}":
            return Answer(401)
        if match is None or headers.get("content-type") != "application/json":
            return Answer(404)
        key, (authorization_id, what) = headers["idempotency-key"], match.groups()
        if what is None:
            terms = PaymentTerms(**body)
            return _answer(self._simulator.authorize([AuthorizationRequest(key, terms)])[0])
        if what == "void":
            return _answer(self._simulator.void([VoidRequest(key, authorization_id)])[0])
        move = {"captures": self._simulator.capture, "refunds": self._simulator.refund}[what]
        answer = move([MovementRequest(key, authorization_id, **body)])[0]
        return _answer(answer, f"{what[:-1]}_id")


def _answer(outcome: object, id_field: str = "") -> Answer:
    match outcome:
        case Authorized():
            return Answer(201, {"authorization_id": outcome.authorization_id})
        case Moved():
            return Answer(201, {id_field: outcome.provider_id})
        case Declined():
            return Answer(402, {"error": {"code": outcome.decline_code}})
        case TransientError():
            return Answer(503)
        case _:
            return Answer(200, {})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], context: ssl.SSLContext, provider: ProviderServer
    ) -> None:
        super().__init__(address, _Handler)
        self.context = context
        self.provider = provider
        self.connections = 0

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In a thread of the connection's own, which also has the handshake."""
        try:
            with self.context.wrap_socket(request, server_side=True) as connection:
                self.connections += 1
                super().finish_request(connection, client_address)
        except OSError:  # a client that does not trust us, or has gone
            return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = int(headers["content-length"])
        content = self.rfile.read(length)
        if len(content) < length:  # the client has gone
            self.close_connection = True
            return
        answer = self.server.provider.handle(self.path, headers, json.loads(content))
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self._send(answer, self.server.provider.pause)

    def _send(self, answer: Answer, pause: Callable[[float], None]) -> None:
        if not answer.drip_seconds:
            self.wfile.write(answer.content)
            return
        for byte in answer.content:
            pause(answer.drip_seconds)
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """To nowhere: pytest shows what failed."""
