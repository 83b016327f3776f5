"""What is explored: how much of each link, and every flaw with the invariant that finds it.

`TRACKOPS_MODEL_MORE=faults=1,rows=1,keys=0` adds to the bounds of each section, for an
exploration that takes minutes or hours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .chain import Chain
from .chain_state import Bounds, Flaws
from .explorer import ENDS_WELL, Broken, Explored, explore
from .saga import SagaModel
from .saga_state import SagaFlaws

__all__ = ["FLAWS", "SECTIONS", "Flaw", "as_text", "explored"]

_MORE = "TRACKOPS_MODEL_MORE"
_SAGA_FAULTS = 3

_BOUNDS: Mapping[str, Bounds] = {
    "intake": Bounds(requests=3, keys=2, faults=1, sessions=2),
    "intake, two faults": Bounds(requests=2, keys=1, faults=2, sessions=2),
    "first start": Bounds(
        requests=1, keys=1, faults=2, written=1, sessions=0, relays=2, neighbour=True
    ),
    "relay": Bounds(
        requests=3, keys=2, faults=2, written=3, published=1, sessions=0, relays=2, neighbour=True
    ),
    "relay, three faults": Bounds(
        requests=3, keys=2, faults=3, written=3, published=1, sessions=0, relays=2
    ),
    "inbox": Bounds(
        requests=6, keys=2, faults=5, written=6, published=6, sessions=0, relays=0, consumers=2
    ),
    "whole chain": Bounds(requests=2, keys=2, faults=1, sessions=2, relays=2, consumers=2, batch=1),
}

SECTIONS = (*_BOUNDS, "saga")
"""By the names of the links; the whole chain has all of them, with fewer faults."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A way to build it wrong, and what notices."""

    name: str
    """The field of `Flaws` or `SagaFlaws`."""
    section: str
    caught_by: str


FLAWS = (
    Flaw("no_request_id", "intake", "one_row_a_request"),
    Flaw("no_outbox_lock", "intake", "nothing_passed_over"),
    Flaw("no_fence", "relay", "seen_once"),
    Flaw("checkpoint_outside", "relay", "seen_once"),
    Flaw("checkpoint_not_to_end", "relay", "seen_once"),
    Flaw("remembered_first", "first start", "refused_for_a_reason"),
    Flaw("known_asked_late", "first start", "refused_for_a_reason"),
    Flaw("no_compare_and_set", "inbox", "done_once"),
    Flaw("position_outside", "inbox", "done_once"),
    Flaw("no_return_to_stored", "inbox", ENDS_WELL),
    Flaw("no_idempotency", "saga", "acted_once"),
    Flaw("no_mark", "saga", "all_or_nothing"),
    Flaw("no_epoch_check", "saga", "all_or_nothing"),
    Flaw("compensates_only_what_succeeded", "saga", "all_or_nothing"),
    Flaw("sent_before_stored", "saga", "all_or_nothing"),
)


def explored(section: str, flaw: str | None = None) -> Explored:
    """Every state of a section, as it is built or with a flaw."""
    flaws = {flaw: True} if flaw else {}
    more = _more()
    if section == "saga":
        return explore(SagaModel(faults=_SAGA_FAULTS + more["faults"], flaws=SagaFlaws(**flaws)))
    return explore(Chain(_larger(_BOUNDS[section], more), Flaws(**flaws)))


def as_text(found: Broken | None) -> str:
    """For an assertion: how it came about, if anything is broken."""
    return "" if found is None else f"{found.invariant} does not hold:\n{found.trace}"


def _larger(bounds: Bounds, more: Mapping[str, int]) -> Bounds:
    rows = more["rows"]
    return replace(
        bounds,
        faults=bounds.faults + more["faults"],
        keys=bounds.keys + more["keys"],
        requests=bounds.requests + rows,
        written=bounds.written + (rows if not bounds.sessions else 0),
        published=bounds.published + (rows if not bounds.relays else 0),
    )


def _more() -> Mapping[str, int]:
    given = dict(part.split("=") for part in os.environ.get(_MORE, "").split(",") if part)
    more = {name: int(given.pop(name, 0)) for name in ("faults", "rows", "keys")}
    if given:
        raise ValueError(f"{_MORE} knows faults, rows and keys, and not {', '.join(given)}")
    return more
