"""`trackops deadletters`: what consumers gave up, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from trackops_cli.kafka_access import kafka_access
from trackops_cli.local.errors import StackError
from trackops_cli.terminal import OUT, one_line_errors, say

if TYPE_CHECKING:
    from trackops.common.v1.dead_letter_pb2 import DeadLetter

    from trackops_cli.dead_letter_log import DeadLetterLog, Found

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Shows and replays what consumers could not handle.")

_Kafka = Annotated[
    str,
    typer.Option(
        envvar="TRACKOPS_KAFKA_BOOTSTRAP_SERVERS",
        help="The cluster, as host:port, entered as the other TRACKOPS_KAFKA_… say; by default"
        " the local stack's.",
    ),
]
_Consumer = Annotated[str, typer.Option(help="Of this consumer group only.")]
_Topic = Annotated[str, typer.Option(help="Of messages that stood in this topic only.")]
_Partition = Annotated[int | None, typer.Option(min=0, help="Of this partition only.")]
_Offset = Annotated[int | None, typer.Option(min=0, help="The one at this offset.")]
_Ids = Annotated[list[str] | None, typer.Option("--id", help="This dead letter; may be repeated.")]


class NothingSelected(StackError):
    def __init__(self) -> None:
        super().__init__("say which ones: --consumer, --topic (with --partition, --offset) or --id")


class UnknownDeadLetters(StackError):
    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(f"there is no dead letter {', '.join(ids)}")


@dataclass(frozen=True)
class _Selection:
    """Which dead letters; what is empty selects nothing away."""

    consumer: str = ""
    topic: str = ""
    partition: int | None = None
    offset: int | None = None
    ids: Sequence[str] = ()

    def takes(self, letter: "DeadLetter") -> bool:
        return (
            self.consumer in ("", letter.consumer)
            and self.topic in ("", letter.topic)
            and self.partition in (None, letter.partition)
            and self.offset in (None, letter.offset)
            and (not self.ids or letter.dead_letter_id in self.ids)
        )


@app.command("list")
def list_letters(
    kafka: _Kafka = "",
    consumer: _Consumer = "",
    topic: _Topic = "",
    *,
    replayed: Annotated[bool, typer.Option(help="Also those that were replayed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show dead letters, the oldest first; with --json whole, values in base64."""
    with one_line_errors():
        wanted = _Selection(consumer, topic)
        found = [one for one in _log(kafka).read() if wanted.takes(one.letter)]
        shown = [one for one in found if replayed or not one.replayed]
        if as_json:
            _print_json(shown)
        elif shown:
            OUT.print(_table(shown))
        hidden = len(found) - len(shown)
        say(f"{len(shown)} dead letters" + (f", and {hidden} replayed" if hidden else ""))


@app.command()
def replay(
    reason: Annotated[str, typer.Option(help="Why it will go well now; kept with the replay.")],
    kafka: _Kafka = "",
    consumer: _Consumer = "",
    topic: _Topic = "",
    partition: _Partition = None,
    offset: _Offset = None,
    ids: _Ids = None,
    *,
    again: Annotated[bool, typer.Option(help="Send those too that were sent before.")] = False,
) -> None:
    """Send dead letters back to the consumer that gave them up, and to no other.

    Harmless to repeat: a consumer acts once on each.
    """
    with one_line_errors():
        wanted = _Selection(consumer, topic, partition, offset, ids or ())
        if not (consumer or topic or ids):
            raise NothingSelected
        log = _log(kafka)
        found = [one for one in log.read() if wanted.takes(one.letter)]
        known = {one.letter.dead_letter_id for one in found}
        if unknown := [one for one in wanted.ids if one not in known]:
            raise UnknownDeadLetters(unknown)
        chosen = [one.letter for one in found if again or not one.replayed]
        log.send_back(chosen, reason=reason)
        before = len(found) - len(chosen)
        say(f"{len(chosen)} replayed" + (f", {before} were before" if before else ""))


def _log(kafka: str) -> "DeadLetterLog":
    from trackops_cli.dead_letter_log import DeadLetterLog  # it loads Kafka's client

    return DeadLetterLog(kafka_access(kafka))


def _table(found: Sequence["Found"]) -> Table:
    table = Table("dead letter", "consumer", "message", "key", "since", "state", "problem")
    for one in found:
        letter = one.letter
        table.add_row(
            letter.dead_letter_id,
            letter.consumer,
            f"{letter.topic}[{letter.partition}]@{letter.offset}",
            Text(ascii(letter.key.decode(errors="backslashreplace"))[1:-1]),
            letter.dead_time.ToJsonString(),
            "replayed" if one.replayed else "waiting",
            Text(letter.problem),
        )
    return table


def _print_json(found: Sequence["Found"]) -> None:
    from google.protobuf.json_format import MessageToJson

    for one in found:
        print(MessageToJson(one.letter, indent=None))  # noqa: T201 - for programs, so no wrapping
