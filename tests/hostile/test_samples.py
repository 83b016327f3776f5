"""What the fuzzer starts from is valid, and what it makes of it can be made again."""

from __future__ import annotations

import random
import uuid

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from trackops_common.contracts import rpcs
from trackops_common.grpc.validation import validation_failure
from trackops_edge.contract import edge_rpcs

from .rest import damaged_request
from .samples import Known, Sampler
from .wire import damaged

RPCS = list(rpcs())
KNOWN = Known(orders=[str(uuid.UUID(int=1, version=4))], emails=["a@example.com"])


@pytest.mark.parametrize("method", RPCS, ids=lambda method: method.full_name)
def test_most_samples_keep_the_rules_of_the_contract(method: MethodDescriptor) -> None:
    sampler, rng = Sampler(KNOWN), random.Random(method.full_name)

    made = [validation_failure(sampler.request(method, rng)) for _ in range(20)]

    assert sum(failure is None for failure in made) >= 15, [one for one in made if one]


def test_a_seed_makes_the_same_bodies_again() -> None:
    def bodies(seed: int) -> list[object]:
        sampler, rng = Sampler(KNOWN), random.Random(seed)
        direct: list[object] = [
            damaged(
                sampler.request(one, rng).SerializeToString(deterministic=True), one.input_type, rng
            )
            for one in RPCS
        ]
        rest = [damaged_request(one, sampler.request(one.method, rng), rng) for one in edge_rpcs()]
        return direct + rest

    assert bodies(7) == bodies(7)
    assert bodies(7) != bodies(8)


def test_many_damaged_bodies_are_still_messages() -> None:
    """Those go farthest; if few were, the fuzzer would try the parser and nothing else."""
    sampler, rng = Sampler(KNOWN), random.Random(3)
    readable = 0
    for _ in range(1_000):
        method = rng.choice(RPCS)
        body = sampler.request(method, rng).SerializeToString(deterministic=True)
        readable += is_message(method, damaged(body, method.input_type, rng))

    assert 500 < readable < 950


def is_message(method: MethodDescriptor, body: bytes) -> bool:
    try:
        GetMessageClass(method.input_type).FromString(body)
    except DecodeError:
        return False
    return True
