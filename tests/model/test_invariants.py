"""Each invariant can fail: a state made by hand breaks it, and breaks it alone or first."""

from __future__ import annotations

import pytest

from . import chain, relaying, saga
from .chain import Chain
from .chain_state import Bounds, Entry, Mark, Relay, Row, State
from .saga import SagaModel
from .saga_book import STEPS, Saga
from .saga_state import Participant, SagaState

_CHAIN = Chain(Bounds(requests=3, keys=1, faults=0, relays=1, consumers=1))
_SAGA = SagaModel(faults=0)

_ONE, _TWO, _THREE = (Row(seq, seq - 1) for seq in (1, 2, 3))
_SENT = tuple(Entry(row, -1) for row in (_ONE, _TWO, _THREE))
_FINE = _CHAIN.start._replace(
    outbox=(_ONE, _TWO, _THREE),
    answered=(0, 1, 2),
    events=_SENT,
    checkpoints=(Mark(3, -1),),
    stored=2,
    effects=(_ONE, _TWO),
)
_REFUSED = Relay(relaying.REFUSED, False, False, 0, ())

_BROKEN = {
    "one_row_a_request": _FINE._replace(outbox=(*_FINE.outbox, Row(4, 0))),
    "seen_once": _FINE._replace(events=(*_SENT, _SENT[0])),
    "seen_in_order": _FINE._replace(events=(_SENT[0], _SENT[2], _SENT[1])),
    "nothing_passed_over": _FINE._replace(events=_SENT[:2]),
    "refused_for_a_reason": _FINE._replace(relays=(_REFUSED,)),
    "done_once": _FINE._replace(effects=(_ONE, _ONE)),
    "done_in_order": _FINE._replace(effects=(_ONE, _THREE)),
    "position_is_what_was_done": _FINE._replace(stored=3),
}

_NONE, _STANDS, _UNDONE = (
    Participant(0, 0, False),
    Participant(1, 0, False),
    Participant(1, 1, False),
)
_COMPLETED = _SAGA.start._replace(
    saga=Saga("COMPLETED", ("DONE",) * len(STEPS)), participants=(_STANDS, _STANDS, _STANDS)
)

_BROKEN_SAGAS = {
    "acted_once": _COMPLETED._replace(participants=(Participant(2, 1, False), _STANDS, _STANDS)),
    "all_or_nothing": _COMPLETED._replace(participants=(_STANDS, _STANDS, _NONE)),
    "in_turn": _SAGA.start._replace(participants=(_STANDS, _UNDONE, _STANDS)),
}


def test_what_is_as_it_should_be_breaks_nothing() -> None:
    assert _CHAIN.broken(_FINE) is None
    assert _SAGA.broken(_COMPLETED) is None


@pytest.mark.parametrize(("name", "state"), _BROKEN.items(), ids=list(_BROKEN))
def test_an_invariant_of_the_chain_fails(name: str, state: State) -> None:
    assert _CHAIN.broken(state) == name


@pytest.mark.parametrize(("name", "state"), _BROKEN_SAGAS.items(), ids=list(_BROKEN_SAGAS))
def test_an_invariant_of_the_saga_fails(name: str, state: SagaState) -> None:
    assert _SAGA.broken(state) == name


def test_every_invariant_is_tried() -> None:
    assert [one.__name__ for one in chain.INVARIANTS] == list(_BROKEN)
    assert [one.__name__ for one in saga.INVARIANTS] == list(_BROKEN_SAGAS)
