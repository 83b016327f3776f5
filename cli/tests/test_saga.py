import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from trackops.saga.v1 import saga_pb2
from trackops.saga.v1 import saga_service_pb2 as pb
from trackops.saga.v1 import saga_service_pb2_grpc as rpc
from typer.testing import CliRunner, Result

from trackops_cli.main import app
from trackops_cli.testing import command_environment

SAGA = saga_pb2.Saga(
    saga_id="91d0",
    definition="fulfil-order",
    definition_version=1,
    subject="order-1",
    occurrence="s1",
    state=saga_pb2.SAGA_STATE_NEEDS_OPERATOR,
    steps=[
        saga_pb2.SagaStep(
            name="capture-payment",
            state=saga_pb2.STEP_STATE_REFUSED,
            attempts=2,
            error="[too much]",
            attempt_log=[saga_pb2.SagaAttempt(number=1, error="no answer")],
        )
    ],
    audit=[saga_pb2.SagaAuditEntry(operation="pause", principal="ada", reason="to look")],
)


class Orchestrator:
    """Remembers what it is asked, and shows one saga whatever that is."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def ListSagas(self, request: Any, _context: Any) -> pb.ListSagasResponse:
        self.requests.append(request)
        return pb.ListSagasResponse(sagas=[SAGA])

    def GetSaga(self, request: Any, context: Any) -> pb.GetSagaResponse:
        self.requests.append(request)
        if request.saga_id != SAGA.saga_id:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such saga")
        return pb.GetSagaResponse(saga=SAGA)

    def _steer(self, request: Any, _context: Any) -> Any:
        self.requests.append(request)
        name = type(request).__name__.replace("Request", "Response")
        return getattr(pb, name)(saga=SAGA)

    def WatchSaga(self, request: Any, _context: Any) -> Iterator[pb.WatchSagaResponse]:
        self.requests.append(request)
        yield pb.WatchSagaResponse(saga=SAGA)
        ended = saga_pb2.Saga(saga_id=SAGA.saga_id, state=saga_pb2.SAGA_STATE_COMPLETED)
        yield pb.WatchSagaResponse(saga=ended)

    def _steer_many(self, request: Any, _context: Any) -> Any:
        self.requests.append(request)
        name = type(request).__name__.replace("Request", "Response")
        ids = [f"{n:04}" for n in range(10)]
        return getattr(pb, name)(count=12, sample_saga_ids=ids, more=True)

    PauseSaga = ResumeSaga = RetryStep = SkipStep = CompensateSaga = _steer
    StartSaga = ListParticipants = _steer
    PauseSagas = ResumeSagas = RetrySteps = CompensateSagas = _steer_many


class World:
    def __init__(self, target: str, orchestrator: Orchestrator, home: Path) -> None:
        self.target = target
        self.orchestrator = orchestrator
        self._environment = command_environment(home)

    def run(self, *words: str) -> Result:
        command = ["saga", *words, "--target", self.target]
        return CliRunner().invoke(app, command, env=self._environment)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    orchestrator = Orchestrator()
    server = grpc.server(ThreadPoolExecutor(1))
    rpc.add_SagaServiceServicer_to_server(cast("Any", orchestrator), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield World(f"127.0.0.1:{port}", orchestrator, tmp_path)
    server.stop(None).wait()


def test_list_filters_and_shows_one_line_a_saga(world: World) -> None:
    result = world.run("list", "--state", "needs_operator", "--subject", "order-1")

    assert result.exit_code == 0, result.output
    (request,) = world.orchestrator.requests
    assert list(request.states) == [saga_pb2.SAGA_STATE_NEEDS_OPERATOR]
    assert request.subject == "order-1"
    for word in ("91d0", "fulfil-order", "NEEDS_OPERATOR"):
        assert word in result.output


def test_unknown_state_is_named(world: World) -> None:
    result = world.run("list", "--state", "lost")

    assert result.exit_code == 2
    assert "'lost' is none of" in result.output


def test_show_tells_steps_attempts_and_audit(world: World) -> None:
    result = world.run("show", "91d0")

    for word in ("capture-payment", "REFUSED", "[too much]", "no answer", "ada: pause: to look"):
        assert word in result.output, word


@pytest.mark.parametrize(
    ("words", "request_name"),
    [
        (["pause", "91d0"], "PauseSagaRequest"),
        (["resume", "91d0"], "ResumeSagaRequest"),
        (["retry", "91d0", "capture-payment"], "RetryStepRequest"),
        (["skip", "91d0", "capture-payment"], "SkipStepRequest"),
        (["compensate", "91d0"], "CompensateSagaRequest"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_commands_carry_the_reason(world: World, words: list[str], request_name: str) -> None:
    assert world.run(*words).exit_code == 2
    result = world.run(*words, "--reason", "it is late")

    assert result.exit_code == 0, result.output
    (request,) = world.orchestrator.requests
    assert type(request).__name__ == request_name
    assert (request.saga_id, request.reason) == ("91d0", "it is late")
    assert getattr(request, "step", "capture-payment") == "capture-payment"


def test_refusal_is_one_line_and_a_failure(world: World) -> None:
    result = world.run("show", "unknown")

    assert result.exit_code == 1
    assert result.stderr == "trackops: NOT_FOUND: no such saga\n"


def test_watch_shows_each_change_until_the_end(world: World) -> None:
    result = world.run("watch", "91d0", "--json")

    assert result.exit_code == 0, result.output
    states = [json.loads(line)["state"] for line in result.output.splitlines()]
    assert states == ["SAGA_STATE_NEEDS_OPERATOR", "SAGA_STATE_COMPLETED"]
    assert "capture-payment" in world.run("watch", "91d0").output


@pytest.mark.parametrize(
    ("word", "request_name", "done"),
    [
        ("pause", "PauseSagasRequest", "held"),
        ("resume", "ResumeSagasRequest", "resumed"),
        ("retry", "RetryStepsRequest", "retried"),
        ("compensate", "CompensateSagasRequest", "turned back"),
    ],
)
def test_many_are_steered_by_what_they_have_alike(
    world: World, word: str, request_name: str, done: str
) -> None:
    filters = ["--definition", "place-order", "--failure-reason", "NO", "--older-than", "60"]
    result = world.run("many", word, *filters, "--reason", "it is late", "--dry-run")

    assert result.exit_code == 0, result.output
    (request,) = world.orchestrator.requests
    assert type(request).__name__ == request_name
    wanted = pb.SagaSelection(definition="place-order", failure_reason="NO", older_than_seconds=60)
    assert (request.selection, request.reason, request.dry_run) == (wanted, "it is late", True)
    assert f"12 sagas would be {done}\n  0000\n" in result.output
    assert "…\nmore match" in result.output
    assert f"12 sagas {done}\n" in world.run("many", word, "--reason", "now").output
    assert not world.orchestrator.requests[1].dry_run
