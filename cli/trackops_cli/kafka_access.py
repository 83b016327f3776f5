"""How a command enters Kafka."""

from pydantic import ValidationError

from trackops_cli.local.errors import StackError
from trackops_cli.local.kafka_rights import OPERATOR
from trackops_cli.local.stack import LocalStack
from trackops_cli.terminal import local_stack
from trackops_common.kafka_settings import KafkaAccess, KafkaSettings
from trackops_common.settings import SecretsFolderMissing, problems, read

__all__ = ["kafka_access"]


class WrongKafkaSettings(StackError):
    """They contradict each other, or their secrets cannot be read."""


def kafka_access(bootstrap: str, stack: LocalStack | None = None) -> KafkaAccess:
    """The cluster at `bootstrap` as TRACKOPS_KAFKA_… say, or the local stack's as its operator.

    Raises:
        WrongKafkaSettings
    """
    if not bootstrap:
        return (stack or local_stack()).addresses.kafka_users[OPERATOR]
    try:
        return read(KafkaSettings, kafka_bootstrap_servers=bootstrap).kafka
    except ValidationError as error:
        raise WrongKafkaSettings("; ".join(problems(error))) from error
    except SecretsFolderMissing as error:
        raise WrongKafkaSettings(str(error)) from error
