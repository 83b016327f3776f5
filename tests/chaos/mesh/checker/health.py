"""How the processes came through it: no error but while harmed, no secret told, nothing growing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from .facts import Facts, Violation, Violations, Vitals

__all__ = [
    "at_rest_in_time",
    "no_errors_while_unharmed",
    "no_process_ends_by_itself",
    "no_secret_in_a_log",
    "nothing_grows",
]

REST_SECONDS = 60.0
_LEAST_SAMPLES = 8
_MOST_GROWTH_MIB = 60.0
_MOST_CONNECTIONS = 150


def at_rest_in_time(facts: Facts) -> Violations:
    """A minute after the last fault has healed, nothing is on its way any more."""
    if facts.clean_up_seconds > REST_SECONDS:
        yield Violation("at rest in time", f"not at rest after {REST_SECONDS:.0f} s")


def no_errors_while_unharmed(facts: Facts) -> Violations:
    """No line at level error but while a fault is on, or just after."""
    for line in facts.errors:
        yield Violation("no errors while unharmed", f"{line.process}: {line.text}")


def no_secret_in_a_log(facts: Facts) -> Violations:
    """No password, key or token stands in a log."""
    yield from (Violation("no secret in a log", leak) for leak in facts.leaks)


def no_process_ends_by_itself(facts: Facts) -> Violations:
    """What nobody killed goes on."""
    yield from (Violation("no process ends by itself", death) for death in facts.deaths)


def nothing_grows(facts: Facts) -> Violations:
    """A process that lived long has neither memory nor connections that only become more."""
    by_process: dict[str, list[Vitals]] = defaultdict(list)
    for sample in facts.vitals:
        by_process[sample.process].append(sample)
    for process, samples in by_process.items():
        if problem := _growth(samples):
            yield Violation("nothing grows", f"{process}: {problem}")


def _growth(samples: Sequence[Vitals]) -> str:
    """The last quarter of its life against the second, when it has everything loaded."""
    if (most := max(one.connections for one in samples)) > _MOST_CONNECTIONS:
        return f"{most} connections"
    if len(samples) < _LEAST_SAMPLES:
        return ""
    quarter = len(samples) // 4
    early = median(one.memory_mib for one in samples[quarter : 2 * quarter])
    late = median(one.memory_mib for one in samples[-quarter:])
    grown = late - early
    return f"from {early:.0f} to {late:.0f} MiB" if grown > _MOST_GROWTH_MIB else ""
