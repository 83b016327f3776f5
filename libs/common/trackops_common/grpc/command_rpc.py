"""An RPC that carries one command, and its twin that carries many, over one batcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from trackops_common.auth import Principal, principal_of
from trackops_common.batching import Batcher
from trackops_common.grpc.endpoints import Context, Encoded, unwrap
from trackops_common.grpc.failures import DomainFailure, describe
from trackops_common.tracing import within_trace

__all__ = ["CommandRpc"]

Q = TypeVar("Q", bound=Message)
C = TypeVar("C")


class CommandRpc(Generic[Q, C]):
    """`one` answers the unary RPC, `many` its batch twin.

    The batch twin's request has `requests`, and its response has `results`,
    each a oneof of `response` and `error` (`google.rpc.Status`). A request that has a
    `traceparent` is made a command in that trace, others in the call's.
    """

    def __init__(
        self,
        batcher: Batcher[C, Any],
        to_command: Callable[[Q, Principal], C],
        batch_response: type[Message],
        domain_failure: DomainFailure,
    ) -> None:
        """The batcher's outcomes are encoded responses or errors."""
        self._batcher = batcher
        self._to_command = to_command
        self._batch_response = batch_response
        self._domain_failure = domain_failure

    async def one(self, request: Q, context: Context) -> Encoded:
        """The response of one command; its error is raised."""
        command = self._command(request, principal_of(context))
        outcome: Encoded | Exception = await self._batcher.submit(
            command, timeout_seconds=context.time_remaining()
        )
        return unwrap(outcome)

    async def many(self, request: Any, context: Context) -> Message:
        """The outcomes of many commands, in their order."""
        principal = principal_of(context)
        outcomes = await self._batcher.submit_all(
            [self._command(one, principal) for one in request.requests],
            timeout_seconds=context.time_remaining(),
        )
        return self._results(outcomes)

    def _command(self, request: Q, principal: Principal) -> C:
        traceparent = getattr(request, "traceparent", "")
        if not traceparent:
            return self._to_command(request, principal)
        with within_trace(traceparent):
            return self._to_command(request, principal)

    def _results(self, outcomes: Sequence[Encoded | Exception]) -> Message:
        batch: Any = self._batch_response()
        for outcome in outcomes:
            result = batch.results.add()
            if isinstance(outcome, Exception):
                result.error.CopyFrom(describe(outcome, self._domain_failure).to_status())
            else:
                result.response.SetInParent()
                result.response.MergeFromString(outcome)
        response: Message = batch
        return response
