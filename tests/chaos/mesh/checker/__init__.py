"""The judge: reads Postgres, Kafka, Redis, the provider's ledger and the clients' history.

It takes no service's word. `check` is one function an invariant, each on plain facts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import answers, health, log, money, orders, stock
from .facts import Facts, Violation, Violations

__all__ = ["INVARIANTS", "Facts", "Violation", "check"]

INVARIANTS: Sequence[Callable[[Facts], Violations]] = (
    orders.acknowledged_orders_exist_once,
    orders.other_bodies_are_refused,
    orders.acknowledged_changes_stand,
    orders.every_order_at_rest,
    orders.every_saga_ended,
    orders.ended_sagas_stay_ended,
    stock.stock_adds_up,
    stock.stock_never_below_zero,
    stock.reservations_match_orders,
    money.payments_match_orders,
    money.nothing_charged_twice,
    money.ledger_agrees,
    log.events_once_and_complete,
    log.events_in_order,
    log.orders_told_completely,
    log.outboxes_published,
    log.consumers_at_the_end,
    log.positions_only_go_forward,
    log.no_dead_letters,
    answers.reads_are_true,
    answers.reads_follow_writes,
    answers.cache_within_postgres,
    health.at_rest_in_time,
    health.no_errors_while_unharmed,
    health.no_secret_in_a_log,
    health.no_process_ends_by_itself,
    health.nothing_grows,
)


def check(facts: Facts) -> list[Violation]:
    """Everything that is not as it must be, invariant by invariant."""
    return [violation for invariant in INVARIANTS for violation in invariant(facts)]
