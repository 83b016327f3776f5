from __future__ import annotations

import asyncio

import pytest

from trackops_common.tracing import current_traceparent, join_trace

from .inbox_world import TRACE


async def joined(*metadata: tuple[str, str | bytes]) -> str:
    async def call() -> str:
        join_trace(metadata)
        return current_traceparent()

    return await asyncio.create_task(call())


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        TRACE.upper(),
        f"{TRACE}-more",
        f"{TRACE}\n",
        "ff" + TRACE[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        TRACE.encode(),
    ],
)
async def test_what_is_not_well_formed_counts_as_absent(value: str | bytes) -> None:
    assert await joined(("traceparent", value)) == ""


async def test_each_call_has_its_own_trace_or_none() -> None:
    other = TRACE.replace("b7ad", "c7ad")
    found = await asyncio.gather(
        joined(("user-agent", "x"), ("traceparent", TRACE)),
        joined(("user-agent", "x")),
        joined(("traceparent", other)),
    )
    assert list(found) == [TRACE, "", other]
    assert current_traceparent() == ""
