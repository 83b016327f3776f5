"""Settings of the relay."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import field_validator
from pydantic_settings import NoDecode

from trackops_common.kafka_settings import KafkaSettings
from trackops_common.settings import ServiceSettings
from trackops_common.topics import RELAY_CHECKPOINTS

__all__ = ["RelaySettings"]

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class RelaySettings(KafkaSettings, ServiceSettings):
    """Beside those of every service."""

    sources: Annotated[tuple[str, ...], NoDecode] = (
        "trackops_order",
        "trackops_inventory",
        "trackops_payment",
        "trackops_identity",
        "trackops_saga_orchestrator",
    )
    """Schemas whose outboxes are published, with commas between."""
    checkpoint_topic: str = RELAY_CHECKPOINTS.name
    """Compacted; holds how far each source is published, and its quarantine."""
    relay_group: str = "trackops-outbox-relay"
    """The consumer group by which replicas share out the sources."""
    unknown_topic_seconds: float = 5.0
    """How long Kafka has to say that there is no such topic until rows for it are quarantined;
    their source waits so long. A broker that has just started may not know every topic yet."""
    relay_batch_rows: int = 2_000
    """Rows in one Kafka transaction, at most."""
    relay_transaction_seconds: float = 0.01
    """From the begin of one small transaction to that of the next, at least."""

    @field_validator("sources", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("sources")
    @classmethod
    def _are_schemas(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _SCHEMA.fullmatch(name):
                raise ValueError(f"{name!r} is no schema's name")
        return value
