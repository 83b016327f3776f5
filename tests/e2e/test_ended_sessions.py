"""A session that ends is heard of by whoever checks tokens."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

from trackops.identity.v1 import identity_service_pb2 as pb
from trackops.identity.v1.identity_service_pb2_grpc import IdentityServiceStub

from trackops_cli.testing import Mesh
from trackops_client import open_channel
from trackops_common.background import running
from trackops_common.revocations import RevocationFeed, RevocationSettings
from trackops_common.testing import eventually

PASSWORD = "correct horse battery staple"


class Heard:
    """When the tokens of each session that has ended are all expired."""

    def __init__(self) -> None:
        self.until: dict[str, datetime] = {}

    def __call__(self, session_id: str, /, *, until: datetime) -> None:
        self.until[session_id] = until


def log_in_and_out(target: str) -> tuple[str, datetime]:
    """The session's id, and the end of its access token."""
    email = f"{uuid.uuid4().hex}@example.com"
    with open_channel(target, wait_for_ready=True) as channel:
        identity = IdentityServiceStub(channel)
        identity.RegisterUser(pb.RegisterUserRequest(email=email, password=PASSWORD))
        answer = identity.Login(pb.LoginRequest(email=email, password=PASSWORD))
        identity.Logout(pb.LogoutRequest(refresh_token=answer.tokens.refresh_token))
    expire_time = answer.tokens.access_expire_time.ToDatetime(tzinfo=UTC)
    return answer.session.session_id, expire_time


async def test_an_ended_session_is_heard_of_until_its_tokens_have_expired(mesh: Mesh) -> None:
    heard = Heard()
    feed = RevocationFeed(RevocationSettings(kafka=mesh.kafka), heard)
    async with running({"revocations": feed.run}):
        async with asyncio.timeout(30):
            await feed.loaded()
        session_id, expire_time = await asyncio.to_thread(log_in_and_out, mesh.target("identity"))
        await eventually(lambda: session_id in heard.until, seconds=30)
    assert expire_time <= heard.until[session_id] <= expire_time + timedelta(minutes=2)

    later = Heard()
    again = RevocationFeed(RevocationSettings(kafka=mesh.kafka), later)
    async with running({"revocations": again.run}), asyncio.timeout(30):
        await again.loaded()
        assert session_id in later.until
