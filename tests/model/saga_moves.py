"""Link 5 and the lease: engines that take each other over, commands that come late or twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .chain_state import put
from .saga_book import (
    ACTION,
    COMPENSATION,
    DONE,
    GIVEN_UP,
    PIVOT,
    REFUSED,
    UNKNOWN,
    Command,
    Saga,
    command_due,
    recorded,
)
from .saga_state import (
    ASKING,
    AWAY,
    GONE,
    NOBODY,
    SENT_EARLY,
    TO_SEND,
    TOLD,
    Engine,
    Message,
    Participant,
    SagaFlaws,
    SagaState,
)

__all__ = ["MOVES"]

Take = Callable[[SagaFlaws, SagaState, int], Sequence[SagaState]]
"""What can happen at once, to the engine of that number where it is about one."""


def claims(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """Take over a saga whose lease has run out: a new epoch, and what is stored is sent again.

    The first claim stands for the start of the saga too.

    Stands for `trackops_saga_orchestrator.adapters.postgres.PostgresSagaStore.claim`,
    `trackops_saga_orchestrator.application.engine.Engine.tick` and
    `trackops_saga_orchestrator.application.start_sagas.StartSagas`.
    """
    if state.leased or state.saga.ended or state.engines[who].phase != AWAY:
        return ()
    engines = tuple(engine._replace(current=False) for engine in state.engines)
    mine = Engine(TO_SEND, True, state.saga, "")
    return (state._replace(leased=True, engines=put(engines, who, mine)),)


def sends(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """Send the command that is due.

    Stands for `trackops_saga_orchestrator.application.engine.Engine._send` and
    `trackops_saga_orchestrator.domain.instance.SagaInstance.due_commands`.
    """
    engine = state.engines[who]
    if engine.phase != TO_SEND:
        return ()
    return (_sent(state, who, engine.saga, ASKING),)


def writes_a_wave(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """Record the outcome, and store it with what follows, if the epoch is still the row's;
    let go of the saga if it is not, or if it has ended.

    Stands for `trackops_saga_orchestrator.application.engine.Engine._wave`,
    `trackops_saga_orchestrator.adapters.postgres.write_sagas` and
    `trackops_saga_orchestrator.domain.instance.SagaInstance.record`.
    """
    engine = state.engines[who]
    if engine.phase != TOLD:
        return ()
    if not engine.current and not flaws.no_epoch_check:
        return (_let_go(state, who),)
    return (_written(state, who, _after(flaws, engine)),)


def sends_before_it_writes(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """Only where the flaw `sent_before_stored` is on.

    Environment: the flaw.
    """
    engine = state.engines[who]
    if engine.phase != TOLD or not flaws.sent_before_stored:
        return ()
    after = _after(flaws, engine)
    return () if after.ended else (_sent(state, who, after, SENT_EARLY),)


def writes_after_it_sent(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """Only where the flaw `sent_before_stored` is on.

    Environment: the flaw.
    """
    engine = state.engines[who]
    if engine.phase != SENT_EARLY:
        return ()
    if not engine.current:
        return (_let_go(state, who),)
    after = engine._replace(phase=ASKING)
    return (state._replace(saga=engine.saga, engines=put(state.engines, who, after)),)


def learns_that_its_lease_is_gone(
    flaws: SagaFlaws, state: SagaState, who: int
) -> Sequence[SagaState]:
    """Renewing finds another epoch.

    Stands for `trackops_saga_orchestrator.adapters.postgres.PostgresSagaStore.renew` and
    `trackops_saga_orchestrator.application.engine.Engine._renew`.
    """
    engine = state.engines[who]
    if engine.phase == AWAY or engine.current:
        return ()
    return (_let_go(state, who),)


def is_done(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """A command arrives, late perhaps, and whoever still waits is told.

    Stands for `trackops_inventory.application.reserve_stock.ReserveStockForOrders`,
    `trackops_inventory.application.release_stock.ReleaseStockForOrders`,
    `trackops_common.idempotency.RequestLedger.answer` and
    `trackops_saga_orchestrator.application.lanes.Lane`.
    """
    return [
        _told(state, message.asker, outcome)._replace(
            messages=_without(state.messages, message),
            participants=put(state.participants, message.command.step, participant),
        )
        for message in dict.fromkeys(state.messages)
        for participant, outcome in _handled(flaws, state, message.command)
    ]


def is_done_and_the_answer_is_lost(
    flaws: SagaFlaws, state: SagaState, who: int
) -> Sequence[SagaState]:
    """The participant commits, and it or the network dies before the answer.

    Environment: the network, or a crash.
    """
    return [
        _told(state, message.asker, unknown)._replace(
            messages=_without(state.messages, message),
            participants=put(state.participants, message.command.step, participant),
        )
        for message in dict.fromkeys(state.messages)
        if message.asker != NOBODY
        for participant, _ in _handled(flaws, state, message.command)
        for unknown in _unknowns(message.command)
    ]


def is_not_waited_for_any_longer(
    flaws: SagaFlaws, state: SagaState, who: int
) -> Sequence[SagaState]:
    """The deadline passes; the command may arrive later all the same.

    Stands for `trackops_saga_orchestrator.domain.progress.Unknown` and
    `trackops_saga_orchestrator.adapters.outcomes.outcome_of`.
    """
    return [
        _told(state, message.asker, unknown)._replace(
            messages=_sorted((*_without(state.messages, message), message._replace(asker=NOBODY)))
        )
        for message in dict.fromkeys(state.messages)
        if message.asker != NOBODY
        for unknown in _unknowns(message.command)
    ]


def is_lost(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """A command never arrives.

    Environment: the network.
    """
    return [
        _told(state, message.asker, unknown)._replace(messages=_without(state.messages, message))
        for message in dict.fromkeys(state.messages)
        for unknown in (_unknowns(message.command) if message.asker != NOBODY else (UNKNOWN,))
    ]


def crashes(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """An engine dies; what it sent stays on its way.

    Environment: the crash of a process.
    """
    return () if state.engines[who].phase == AWAY else (_let_go(state, who),)


def lease_of_nobody_runs_out(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """What no engine has in memory is claimed in the end.

    Stands for `trackops_saga_orchestrator.application.limits.EngineLimits`.
    """
    if not state.leased or any(engine.current for engine in state.engines):
        return ()
    return (state._replace(leased=False),)


def lease_runs_out(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """The owner was stopped for so long that its lease is over; it knows nothing of that.

    Environment: time.
    """
    if not state.leased or not any(engine.current for engine in state.engines):
        return ()
    return (state._replace(leased=False),)


def cancels(flaws: SagaFlaws, state: SagaState, who: int) -> Sequence[SagaState]:
    """The customer cancels a PENDING order, so the pivot is refused from then on.

    Stands for `trackops_order.application.cancel_orders`.
    """
    if state.cancelled or state.participants[PIVOT].applied:
        return ()
    return (state._replace(cancelled=True),)


def _handled(
    flaws: SagaFlaws, state: SagaState, command: Command
) -> Sequence[tuple[Participant, str]]:
    """What the participant may make of a command."""
    it = state.participants[command.step]
    if command.phase == COMPENSATION:
        if it.applied > it.undone:
            return ((it._replace(undone=it.undone + 1), DONE),)
        return ((it if it.applied or flaws.no_mark else it._replace(marked=True), DONE),)
    if it.applied and not flaws.no_idempotency:
        return ((it, DONE),)
    applied = it._replace(applied=it.applied + 1)
    if command.step == PIVOT:
        return ((it, REFUSED) if state.cancelled else (applied, DONE),)
    # A refusal leaves nothing behind, so the next attempt may succeed.
    return ((it, REFUSED),) if it.marked else ((applied, DONE), (it, REFUSED))


def _unknowns(command: Command) -> Sequence[str]:
    """Only what can be undone is ever given up."""
    return (UNKNOWN, GIVEN_UP) if command.phase == ACTION and command.step != PIVOT else (UNKNOWN,)


def _after(flaws: SagaFlaws, engine: Engine) -> Saga:
    only_done = flaws.compensates_only_what_succeeded
    return recorded(engine.saga, _due(engine.saga), engine.outcome, only_done=only_done)


def _due(saga: Saga) -> Command:
    command = command_due(saga)
    if command is None:
        raise AssertionError(f"nothing is due of {saga}")
    return command


def _written(state: SagaState, who: int, saga: Saga) -> SagaState:
    if saga.ended:
        return _let_go(state._replace(saga=saga, leased=False), who)
    after = state.engines[who]._replace(phase=TO_SEND, saga=saga, outcome="")
    return state._replace(saga=saga, engines=put(state.engines, who, after))


def _sent(state: SagaState, who: int, saga: Saga, phase: str) -> SagaState:
    after = state.engines[who]._replace(phase=phase, saga=saga, outcome="")
    return state._replace(
        engines=put(state.engines, who, after),
        messages=_sorted((*state.messages, Message(_due(saga), who))),
    )


def _told(state: SagaState, asker: int, outcome: str) -> SagaState:
    if asker == NOBODY:
        return state
    after = state.engines[asker]._replace(phase=TOLD, outcome=outcome)
    return state._replace(engines=put(state.engines, asker, after))


def _let_go(state: SagaState, who: int) -> SagaState:
    unheard = [
        message._replace(asker=NOBODY) if message.asker == who else message
        for message in state.messages
    ]
    return state._replace(engines=put(state.engines, who, GONE), messages=_sorted(unheard))


def _without(messages: Sequence[Message], message: Message) -> tuple[Message, ...]:
    at = messages.index(message)
    return (*messages[:at], *messages[at + 1 :])


def _sorted(messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(sorted(messages))


MOVES: Mapping[Take, tuple[str, bool]] = {
    claims: ("engine", False),
    sends: ("engine", False),
    writes_a_wave: ("engine", False),
    sends_before_it_writes: ("engine", False),
    writes_after_it_sent: ("engine", False),
    learns_that_its_lease_is_gone: ("engine", False),
    is_done: ("command", False),
    lease_of_nobody_runs_out: ("time", False),
    cancels: ("customer", False),
    is_done_and_the_answer_is_lost: ("command", True),
    is_not_waited_for_any_longer: ("command", True),
    is_lost: ("command", True),
    crashes: ("engine", True),
    lease_runs_out: ("time", True),
}
"""Who makes each move, and whether it is a fault."""
