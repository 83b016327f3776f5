"""A channel of `grpc.aio` whose connections follow a certificate that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import grpc

from trackops_common.tls import TlsFiles, TlsMaterial

__all__ = ["RenewedChannel"]

Connect = Callable[[TlsMaterial], grpc.aio.Channel]


class RenewedChannel(grpc.aio.Channel):
    """Calls go out on a channel made with what the files hold at that moment.

    When they hold something new, the next call makes a new channel; calls and streams that are
    open stay on the old one, which closes after the last of them.
    """

    def __init__(self, files: TlsFiles, connect: Connect) -> None:
        """`connect` makes a channel and does not wait for a connection."""
        self._files = files
        self._connect = connect
        self._material = files.current
        self._lane = _Lane(connect(self._material))
        self._closing: set[asyncio.Task[None]] = set()
        self._old: set[_Lane] = set()

    def lane(self) -> _Lane:
        """What a new call goes out on."""
        if self._material is not self._files.current:
            self._material, old = self._files.current, self._lane
            self._lane = _Lane(self._connect(self._material))
            self._old.add(old)
            old.retire(self._close_old)
        return self._lane

    async def close(self, grace: float | None = None) -> None:
        """Close; calls in flight on any of the channels have `grace` seconds."""
        lanes = [self._lane, *self._old]
        await asyncio.gather(*(lane.channel.close(grace) for lane in lanes), *self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the channel that new calls go out on."""
        return self.lane().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the channel that new calls go out on."""
        await self.lane().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return once that channel has a connection."""
        await self.lane().channel.channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """As `grpc.aio.Channel` has it; so the other three."""
        return _Rpc(self, lambda channel: channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """See `unary_unary`."""
        return _Rpc(self, lambda channel: channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """See `unary_unary`."""
        return _Rpc(self, lambda channel: channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """See `unary_unary`."""
        return _Rpc(self, lambda channel: channel.stream_stream(*args, **kwargs))

    def _close_old(self, lane: _Lane) -> None:
        self._old.discard(lane)
        task = asyncio.ensure_future(lane.channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _Lane:
    """A channel, and how many calls it has open."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._open = 0
        self._when_empty: Callable[[_Lane], None] | None = None

    def begun(self, call: Any) -> None:
        self._open += 1
        call.add_done_callback(self._ended)

    def retire(self, when_empty: Callable[[_Lane], None]) -> None:
        """No call comes any more; `when_empty` is called once, after the last."""
        self._when_empty = when_empty
        self._tell()

    def _ended(self, _: Any) -> None:
        self._open -= 1
        self._tell()

    def _tell(self) -> None:
        if self._open == 0 and self._when_empty is not None:
            when_empty, self._when_empty = self._when_empty, None
            when_empty(self)


class _Rpc:
    """What a stub calls for one RPC, on whichever channel is the newest."""

    def __init__(self, channel: RenewedChannel, bind: Callable[[grpc.aio.Channel], Any]) -> None:
        self._channel = channel
        self._bind = bind
        self._lane: _Lane | None = None
        self._call: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        lane = self._channel.lane()
        if lane is not self._lane:
            self._lane, self._call = lane, self._bind(lane.channel)
        call = self._call(*args, **kwargs)
        lane.begun(call)
        return call
