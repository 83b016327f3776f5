from __future__ import annotations

import subprocess
import sys

import pytest

MEBIBYTE = 1 << 20

_PEAK = """
import psutil, {first}
{second}
resident = psutil.Process().memory_info
bytearray(4_000_000)
before = resident().rss
large, small = [], []
for _ in range(60):
    large.append(bytearray(b"x" * 2_000_000))
    small.append(bytearray(b"y" * 100_000))
peak = resident().rss
large.clear()
print(peak - before, resident().rss - before)
"""


def _taken_and_kept(first: str, second: str) -> tuple[int, int]:
    """Bytes, by large and small blocks in turn and when the large ones are gone."""
    program = _PEAK.format(first=first, second=second)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    taken, kept = done.stdout.split()
    return int(taken), int(kept)


@pytest.mark.skipif(sys.platform != "linux", reason="it is about the allocator of Linux")
def test_what_large_messages_took_goes_back_to_the_system() -> None:
    taken, kept = _taken_and_kept("trackops_common.memory", "trackops_common.memory.settle()")

    assert taken > 100 * MEBIBYTE
    assert kept < 16 * MEBIBYTE
