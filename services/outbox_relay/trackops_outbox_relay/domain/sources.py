"""Where a source's checkpoints stand."""

from __future__ import annotations

from zlib import crc32

__all__ = ["partition_of"]


def partition_of(source: str, partitions: int) -> int:
    """The partition of the checkpoint topic that belongs to a source.

    Derived from the name alone, so that adding a source moves no other and a
    lost database does not lose the place; CRC-32 of the record's key is also
    what librdkafka's own partitioner takes. Sources may meet in a partition:
    they share a lease then, and nothing else. A changed number of partitions
    moves sources, which their missing checkpoints then show.
    """
    return crc32(source.encode()) % partitions
