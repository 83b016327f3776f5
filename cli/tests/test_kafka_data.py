"""A broker that cannot read its data says what to do, not only that it has died."""

import sys
from pathlib import Path

import pytest

from trackops_cli.local.errors import DataUnreadable, ServerDied
from trackops_cli.local.home import Home
from trackops_cli.local.kafka import Kafka
from trackops_cli.local.ports import Ports
from trackops_cli.local.processes import Command
from trackops_cli.local.server import Context

_AFTER_A_NEWER_ONE = """\
ERROR ProcessTerminatingFaultHandler: Encountered fatal fault: caught exception
org.apache.kafka.server.common.serialization.MetadataParseException: Failed to deserialize record
Caused by: UnsupportedVersionException: Can't read version 4 of BrokerEndpoint
"""
"""What Kafka 4.2.2 says to a folder of 4.4.0."""
_FOR_ANOTHER_REASON = "java.lang.OutOfMemoryError: Java heap space\n"


class _Dying(Kafka):
    """Says its last words and ends."""

    last_words = ""

    def prepare(self) -> None:
        """It needs nothing."""

    def command(self) -> Command:
        program = f"import sys; sys.exit({self.last_words!r})"
        return Command([sys.executable, "-c", program], folder=self.context.home.root)


@pytest.fixture
def kafka(tmp_path: Path) -> _Dying:
    return _Dying(Context(Home(tmp_path), Ports.free(), lambda _: None), "PLAINTEXT")


def test_data_of_a_newer_version_is_named_and_the_way_out(kafka: _Dying) -> None:
    kafka.last_words = _AFTER_A_NEWER_ONE

    with pytest.raises(DataUnreadable, match="a newer version has written; `trackops reset`") as it:
        kafka.start()

    assert it.value.data == kafka.context.home.data_of("kafka") / "data"
    assert "\n" not in str(it.value)


def test_a_death_for_another_reason_stays_one(kafka: _Dying) -> None:
    kafka.last_words = _FOR_ANOTHER_REASON

    with pytest.raises(ServerDied):
        kafka.start()
