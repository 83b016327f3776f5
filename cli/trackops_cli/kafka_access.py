"""How a command enters Kafka."""

from pydantic import ValidationError

from trackops_cli.local.errors import StackError
from trackops_cli.local.kafka_rights import OPERATOR
from trackops_cli.local.stack import LocalStack
from trackops_cli.terminal import local_stack
from trackops_common.kafka_settings import KafkaAccess, KafkaSettings
from trackops_common.settings import problems

__all__ = ["kafka_access"]


class WrongKafkaSettings(StackError):
    def __init__(self, error: ValidationError) -> None:
        super().__init__("; ".join(problems(error)))


def kafka_access(bootstrap: str, stack: LocalStack | None = None) -> KafkaAccess:
    """The cluster at `bootstrap` as TRACKOPS_KAFKA_… say, or the local stack's as its operator.

    Raises:
        WrongKafkaSettings: they contradict each other.
    """
    if not bootstrap:
        return (stack or local_stack()).addresses.kafka_users[OPERATOR]
    try:
        return KafkaSettings(kafka_bootstrap_servers=bootstrap).kafka
    except ValidationError as error:
        raise WrongKafkaSettings(error) from error
