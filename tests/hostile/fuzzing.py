"""A run of the fuzzer: which call gets which body, who sends it, and what is wrong with an answer.

The call with a number is a function of the seed and that number (and of the ids that
services drew), so that a finding can be made again by itself.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from google.protobuf.descriptor import MethodDescriptor
from rich.table import Table

from trackops_cli.testing import Mesh
from trackops_common.contracts import rpcs
from trackops_edge.contract import EdgeRpc, edge_rpcs

from .calls import Answer, Caller
from .rest import damaged_request
from .samples import Known, Sampler
from .wire import damaged

__all__ = ["Fuzzer", "Tally"]

_THREADS = 16
_TOLD = 400
"""Bytes of a body that a finding shows; its number makes it again."""

_GOOD = frozenset(
    [
        *("OK", "OPEN", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION"),
        *("ABORTED", "OUT_OF_RANGE", "PERMISSION_DENIED", "UNAUTHENTICATED"),
        *("200", "400", "401", "403", "404", "405", "409", "413", "429", "431"),
    ]
)
"""Everything else is a finding, also UNAVAILABLE: no dependency is ever away."""

_SLOW = ("Login", "RegisterUser", "ChangePassword", "ResetPassword", "IssueServiceToken")
"""They hash passwords, which costs what a hundred other calls do; they come less often."""

_LATE = frozenset(["DEADLINE_EXCEEDED", "504"])
"""Of those alone: a machine that is busy with other things makes them wait for each other."""

_NOT_THERE = frozenset(["UNIMPLEMENTED", "OPEN"])
"""What the edge says of an RPC that stays inside; of a stream maybe nothing in the time it has."""


@dataclass
class Tally:
    """What came of a number of calls."""

    codes: dict[str, Counter[str]] = field(default_factory=dict)
    """By way and RPC."""
    findings: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name, codes in other.codes.items():
            self.codes.setdefault(name, Counter()).update(codes)
        self.findings += other.findings

    @property
    def calls(self) -> int:
        return sum(codes.total() for codes in self.codes.values())

    def table(self) -> Table:
        """One row an RPC and way."""
        table = Table("RPC", "calls", "codes", title=f"{self.calls} calls", box=None)
        for name, codes in sorted(self.codes.items()):
            shown = ", ".join(f"{code} {count}" for code, count in codes.most_common())
            table.add_row(name, str(codes.total()), shown)
        return table


@dataclass(frozen=True)
class _Way:
    """How one RPC is reached."""

    name: str
    call: Callable[[Caller, Sampler, random.Random], tuple[Answer, str]]
    """The answer, and the call as it can be told."""
    codes: frozenset[str] = _GOOD
    """What may come back."""


def _ways() -> Iterator[_Way]:
    at_edge = edge_rpcs()
    outside = {one.method.full_name for one in at_edge}
    for rpc in at_edge:
        yield _Way(f"REST   {_name(rpc.method)}", partial(_rest, rpc), _codes(rpc.method))
    for method in rpcs():
        codes = _codes(method)
        yield _Way(f"direct {_name(method)}", partial(_direct, method), codes)
        there = codes if method.full_name in outside else _NOT_THERE
        yield _Way(f"edge   {_name(method)}", partial(_edge, method), there)


def _codes(method: MethodDescriptor) -> frozenset[str]:
    return _GOOD | _LATE if method.name in _SLOW else _GOOD


class Fuzzer:
    """Every RPC by every way to it, in turn."""

    def __init__(self, mesh: Mesh, known: Known, seed: int) -> None:
        self._mesh = mesh
        self._sampler = Sampler(known)
        self._seed = seed
        ways = list(_ways())
        quick = [way for way in ways if not way.name.endswith(_SLOW)]
        self._ways = [*ways, *quick, *quick, *quick]

    def run(self, numbers: range) -> Tally:
        """The calls with these numbers, several at a time."""
        shares = [numbers[first::_THREADS] for first in range(_THREADS)]
        total = Tally()
        with ThreadPoolExecutor(_THREADS) as pool:
            for tally in pool.map(self._share, shares):
                total.add(tally)
        return total

    def _share(self, numbers: Sequence[int]) -> Tally:
        tally, caller = Tally(), Caller(self._mesh)
        try:
            for number in numbers:
                self._one(number, caller, tally)
        finally:
            caller.close()
        return tally

    def _one(self, number: int, caller: Caller, tally: Tally) -> None:
        way = self._ways[number % len(self._ways)]
        answer, told = way.call(caller, self._sampler, random.Random(f"{self._seed}/{number}"))
        tally.codes.setdefault(way.name, Counter())[answer.code] += 1
        if wrong := _wrong(answer, way.codes):
            tally.findings.append(f"#{number} {way.name}: {wrong}\n    {told}")


def _wrong(answer: Answer, good: frozenset[str]) -> str:
    """What is wrong with it; empty where nothing is."""
    if answer.code not in good and not _is_said_in_the_contract(answer):
        return f"{answer.code} {answer.text[:300]!r}"
    if answer.code.isdecimal() and int(answer.code) >= 400 and not _is_problem(answer):
        return f"{answer.code} is no problem detail: {answer.text[:300]!r}"
    return ""


def _is_said_in_the_contract(answer: Answer) -> bool:
    """A queue was full, an account had too many attempts, the edge found a body too large, or a
    capture was still on its way."""
    if answer.code == "RESOURCE_EXHAUSTED":
        return answer.details is not None or answer.text == "Payload Too Large"
    return answer.code == "UNAVAILABLE" and "answer to a capture" in answer.text


def _is_problem(answer: Answer) -> bool:
    if answer.content_type != "application/problem+json":
        return False
    try:
        problem: Mapping[str, object] = json.loads(answer.body)
    except ValueError:
        return False
    return problem.get("status") == int(answer.code)


def _name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


def _body(method: MethodDescriptor, sampler: Sampler, rng: random.Random) -> bytes:
    valid = sampler.request(method, rng).SerializeToString(deterministic=True)
    return damaged(valid, method.input_type, rng)


def _direct(
    method: MethodDescriptor, caller: Caller, sampler: Sampler, rng: random.Random
) -> tuple[Answer, str]:
    body = _body(method, sampler, rng)
    return caller.direct(method, body, rng.randrange(6)), body[:_TOLD].hex()


def _edge(
    method: MethodDescriptor, caller: Caller, sampler: Sampler, rng: random.Random
) -> tuple[Answer, str]:
    body = _body(method, sampler, rng)
    return caller.through_edge(method, body), body[:_TOLD].hex()


def _rest(rpc: EdgeRpc, caller: Caller, sampler: Sampler, rng: random.Random) -> tuple[Answer, str]:
    request = damaged_request(rpc, sampler.request(rpc.method, rng), rng)
    return caller.rest(
        request
    ), f"{request.verb} {request.path[:500]} {(request.body or b'')[:700]!r}"
