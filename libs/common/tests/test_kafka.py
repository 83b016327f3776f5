from __future__ import annotations

from trackops_common.kafka import gathered


class Client:
    """Waits as the real one does: until it has all it was asked for, or the time is over."""

    def __init__(self, *waiting: str) -> None:
        self._waiting = list(waiting)
        self.waited = 0.0

    def consume(self, num_messages: int, timeout: float) -> list[str]:
        taken, self._waiting = self._waiting[:num_messages], self._waiting[num_messages:]
        if len(taken) < num_messages:
            self.waited += timeout
        return taken


def test_what_has_gathered_is_not_kept_waiting_for_what_might_come() -> None:
    client = Client("a", "b", "c", "d")

    assert gathered(client, at_most=3, seconds=5) == ["a", "b", "c"]  # type: ignore[arg-type]
    assert gathered(client, at_most=3, seconds=5) == ["d"]  # type: ignore[arg-type]
    assert client.waited == 0


def test_nothing_is_waited_for_as_long_as_it_was_said() -> None:
    client = Client()

    assert gathered(client, at_most=3, seconds=5) == []  # type: ignore[arg-type]
    assert client.waited == 5
