"""Money: to the minor unit what the order asks for, in our books and in the provider's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trackops_payment.adapters.simulator_books import Entry

from .facts import Facts, OrderRow, Payment, Violation, Violations

__all__ = ["ledger_agrees", "nothing_charged_twice", "payments_match_orders"]

_PREFIX = "authorize-"
_UUID_LENGTH = 36
_FREE = {"REJECTED", "CANCELLED"}
_LET_GO = {"VOIDED", "DECLINED"}


@dataclass
class _Account:
    """What the provider did for one order."""

    holds: list[Entry] = field(default_factory=list)
    moved: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Captured and refunded, by operation."""
    voided: set[str] = field(default_factory=set)
    """Authorizations that were let go of."""

    @property
    def still_held(self) -> int:
        """Held, neither taken nor let go."""
        live = [one for one in self.holds if one.authorization_id not in self.voided]
        return sum(one.amount_minor for one in live) - (self.moved["capture"] if live else 0)


def payments_match_orders(facts: Facts) -> Violations:
    """Held while it may ship, taken for what was shipped, given back for what came back."""
    for order in facts.orders.values():
        if problem := _problem(order, facts.payments.get(order.order_id)):
            yield Violation("payments match orders", problem, order.order_id)


def _problem(order: OrderRow, payment: Payment | None) -> str:
    if payment is None:
        return "" if order.state in _FREE else f"{order.state} without a payment"
    if order.state in _FREE:
        kept = payment.state not in _LET_GO
        return f"{order.state}, and its payment is {payment.state}" if kept else ""
    taken, back = _owed(order)
    wanted = (order.total_minor, taken, back)
    found = (payment.amount_minor, payment.captured_minor, payment.refunded_minor)
    if found != wanted:
        return f"held, taken, given back are {found}, not {wanted}"
    return _unlike_sums(payment)


def _owed(order: OrderRow) -> tuple[int, int]:
    """What is to be taken for the pieces that left, and given back for those that returned."""
    lines = order.lines.values()
    taken = sum(line.shipped * line.unit_price_minor for line in lines)
    back = sum(line.returned * line.unit_price_minor for line in lines)
    return taken, back


def _unlike_sums(payment: Payment) -> str:
    for kind, total in (("CAPTURE", payment.captured_minor), ("REFUND", payment.refunded_minor)):
        done = [m for m in payment.movements if m.kind == kind]
        if sum(m.amount_minor for m in done if m.state == "DONE") != total:
            return f"its movements are not the {total} of its sum: {done}"
        if any(m.state == "SENT" for m in done):
            return f"a {kind.lower()} has no outcome: {done}"
    return ""


def nothing_charged_twice(facts: Facts) -> Violations:
    """The provider holds once at most for an order, and takes no more than that."""
    name = "nothing charged twice"
    for order_id, account in _accounts(facts.ledger).items():
        if len(account.holds) > 1:
            amounts = [one.amount_minor for one in account.holds]
            yield Violation(name, f"the provider holds {amounts}", order_id)
        held = sum(one.amount_minor for one in account.holds)
        if account.moved["capture"] > held or account.moved["refund"] > account.moved["capture"]:
            yield Violation(name, f"of {held} held: {dict(account.moved)}", order_id)


def ledger_agrees(facts: Facts) -> Violations:
    """The provider did what our books say, and keeps hold of nothing that nobody needs."""
    name = "the provider's ledger agrees"
    accounts = _accounts(facts.ledger)
    for order_id, account in accounts.items():
        order, payment = facts.orders.get(order_id), facts.payments.get(order_id)
        if order is None or payment is None:
            yield Violation(name, "the provider knows it, we do not", order_id)
            continue
        found = (account.moved["capture"], account.moved["refund"])
        if found != (wanted := (payment.captured_minor, payment.refunded_minor)):
            yield Violation(name, f"it took and gave back {found}, not {wanted}", order_id)
        if order.state in _FREE and account.still_held:
            yield Violation(name, f"{order.state}; it holds {account.still_held}", order_id)
        if order.state == "CONFIRMED" and account.still_held != order.total_minor:
            yield Violation(name, f"CONFIRMED; it holds {account.still_held}", order_id)
    for order_id, payment in facts.payments.items():
        if payment.authorization_id and order_id not in accounts:
            yield Violation(name, "our books have a hold that it does not know", order_id)


def _accounts(ledger: Mapping[str, Entry]) -> Mapping[str, _Account]:
    """The ledger by order; what was declined did not happen."""
    done = {key: entry for key, entry in ledger.items() if entry.decline_code is None}
    order_of: dict[str, str] = {}
    accounts: dict[str, _Account] = defaultdict(_Account)
    for key, entry in done.items():
        if entry.operation == "authorize":
            order_id = key.removeprefix(_PREFIX)[:_UUID_LENGTH]
            order_of[entry.authorization_id] = order_id
            accounts[order_id].holds.append(entry)
    for entry in _moves(done):
        account = accounts[order_of.get(entry.authorization_id, entry.authorization_id)]
        if entry.operation == "void":
            account.voided.add(entry.authorization_id)
        else:
            account.moved[entry.operation] += entry.amount_minor
    return accounts


def _moves(done: Mapping[str, Entry]) -> Sequence[Entry]:
    return [entry for entry in done.values() if entry.operation != "authorize"]
