"""What the bootstraps have alike."""

from __future__ import annotations

from structlog.testing import capture_logs

from trackops_common.hosting import batcher_factory


async def test_what_is_to_be_done_later_is_done_and_its_error_is_logged() -> None:
    done: list[str] = []

    def fail() -> None:
        raise ValueError("a defect")

    with capture_logs() as logs:
        async with batcher_factory(threads=1) as batcher:
            batcher.later(fail)
            batcher.later(lambda: done.append("done"))

    assert done == ["done"]
    assert [(line["event"], str(line["exc_info"])) for line in logs] == [
        ("work in the background failed", "a defect")
    ]
