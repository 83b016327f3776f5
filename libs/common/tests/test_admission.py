"""Who is let in, and who is known to be calling."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from trackops.common.v1 import authorization_pb2
from trackops.order.v1 import order_service_pb2
from trackops.order.v1.order_service_pb2_grpc import OrderServiceStub

from trackops_common.access_tokens import AccessTokenVerifier, KeySet
from trackops_common.auth import ANYONE, caller, expect_own, principal_of
from trackops_common.clock import SystemClock
from trackops_common.contracts import rpcs
from trackops_common.current_call import call_fields
from trackops_common.errors import PermissionDenied, TokenExpired, TokenInvalid, TokenMissing
from trackops_common.grpc.admission import Access, Admission, RpcUnguarded, authorization_of
from trackops_common.grpc.endpoints import Context, RpcService, handlers_of
from trackops_common.grpc.server import Application
from trackops_common.permissions import GRANTS, Permission, Role, Scope, scope_of
from trackops_common.testing import ManualClock, error_details, serving
from trackops_common.testing_tokens import (
    SigningKey,
    access_for_tests,
    access_token,
    key_set,
)

ORDERS = order_service_pb2.DESCRIPTOR.services_by_name["OrderService"]
GET, SHIP = (ORDERS.methods_by_name[name] for name in ("GetOrder", "ShipOrder"))
ORDER_ID = "6f1c0000-0000-4000-8000-00000000000a"


def method(**option: Any) -> Any:
    """An RPC of a contract of its own, with this authorization; with none if empty."""
    file = descriptor_pb2.FileDescriptorProto(name="one.proto", package="one", syntax="proto3")
    file.dependency.append(authorization_pb2.DESCRIPTOR.name)
    file.message_type.add(name="Nothing")
    rpc = file.service.add(name="Service").method.add(
        name="Do", input_type=".one.Nothing", output_type=".one.Nothing"
    )
    if option:
        rpc.options.Extensions[authorization_pb2.authorization].CopyFrom(
            authorization_pb2.Authorization(**option)
        )
    pool = descriptor_pool.DescriptorPool()
    for imported in (descriptor_pb2.DESCRIPTOR, authorization_pb2.DESCRIPTOR):
        pool.AddSerializedFile(imported.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return _Method(pool.FindMethodByName("one.Service.Do"))


class _Method:
    """A pool of its own reads options as a message type of its own; here they are of ours."""

    def __init__(self, found: MethodDescriptor) -> None:
        self.full_name = found.full_name
        self._options = found.GetOptions().SerializeToString()

    def GetOptions(self) -> descriptor_pb2.MethodOptions:
        return descriptor_pb2.MethodOptions.FromString(self._options)


def bearer(token: str) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "x"), ("authorization", f"Bearer {token}")]


async def admitted(rpc: MethodDescriptor, *roles: str, access: Access | None = None) -> None:
    await Admission(rpc, access or access_for_tests()).admit(bearer(access_token(*roles)))


def test_a_server_whose_contract_says_nothing_of_an_rpc_does_not_start() -> None:
    health = health_pb2.DESCRIPTOR.services_by_name["Health"]

    service = RpcService(health, Servicer())
    with pytest.raises(RpcUnguarded, match=r"grpc.health.v1.Health.Check has no authorization"):
        handlers_of(service, access_for_tests())


def test_an_rpc_without_option_or_with_an_unknown_permission_is_named() -> None:
    with pytest.raises(RpcUnguarded, match=r"one\.Service\.Do has no authorization option"):
        authorization_of(method())
    with pytest.raises(RpcUnguarded, match=r"one\.Service\.Do names 'orders\.eat'"):
        authorization_of(method(permission="orders.eat"))
    with pytest.raises(RpcUnguarded, match="no authorization option"):
        authorization_of(method(public=False))


def test_every_permission_guards_an_rpc_and_every_rpc_is_guarded() -> None:
    options = [authorization_of(rpc) for rpc in rpcs()]
    assert {option.permission for option in options if not option.public} == set(Permission)


def test_a_permission_for_own_resources_is_only_granted_where_an_rpc_limits_to_them() -> None:
    """Else a role could be given something in the table that it can never use."""
    limited = {
        option.permission for rpc in rpcs() if (option := authorization_of(rpc)).own_resources
    }
    granted = {
        permission
        for grants in GRANTS.values()
        for permission, scope in grants.items()
        if scope is Scope.OWN
    }
    assert granted <= limited


def test_roles_add_up_and_unknown_ones_give_nothing() -> None:
    read = Permission.ORDERS_READ
    assert scope_of(frozenset(), read) is None
    assert scope_of(frozenset({"emperor"}), read) is None
    assert scope_of(frozenset({Role.CUSTOMER}), read) is Scope.OWN
    assert scope_of(frozenset({"emperor", Role.CUSTOMER, Role.SUPPORT}), read) is Scope.ALL


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        pytest.param([], TokenMissing, id="none"),
        pytest.param(None, TokenMissing, id="no metadata"),
        pytest.param([("authorization", "Basic abc")], TokenMissing, id="another scheme"),
        pytest.param([("authorization", "Bearer")], TokenMissing, id="scheme alone"),
        pytest.param([("authorization", "Bearer ")], TokenInvalid, id="empty"),
        pytest.param([("authorization", b"Bearer x")], TokenInvalid, id="bytes"),
        pytest.param(bearer(access_token()) * 2, TokenInvalid, id="two"),
        pytest.param(bearer(access_token(key=SigningKey())), TokenInvalid, id="unknown key"),
    ],
)
async def test_a_caller_without_a_good_token_is_not_let_in(
    metadata: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await Admission(GET, access_for_tests()).admit(metadata)


async def test_the_scheme_may_be_written_in_any_case() -> None:
    await Admission(GET, access_for_tests()).admit([("authorization", f"bearer {access_token()}")])
    assert caller().principal.name == "somebody"


async def test_an_expired_token_says_so() -> None:
    clock = ManualClock()
    access = access_for_tests(clock)
    old = access_token(now=clock.now())
    clock.advance(hours=2)
    with pytest.raises(TokenExpired):
        await Admission(GET, access).admit(bearer(old))


async def test_a_caller_without_the_permission_is_told_which() -> None:
    with pytest.raises(PermissionDenied) as denied:
        await admitted(SHIP, Role.CUSTOMER, Role.SUPPORT)
    assert denied.value.permission == "orders.fulfil"


async def test_who_has_a_permission_for_its_own_is_limited_to_that() -> None:
    await admitted(GET, Role.CUSTOMER)
    assert caller().owner == "somebody"
    expect_own("somebody")
    with pytest.raises(PermissionDenied):
        expect_own("somebody-else")

    await admitted(GET, Role.CUSTOMER, Role.SUPPORT)
    assert caller().owner == ""
    expect_own("somebody-else")


async def test_an_rpc_that_does_not_know_owners_refuses_who_has_the_permission_for_its_own() -> (
    None
):
    with pytest.raises(PermissionDenied):
        await admitted(method(permission="orders.read"), Role.CUSTOMER)


async def test_a_public_rpc_takes_anyone_and_looks_at_no_token() -> None:
    admission = Admission(method(public=True), access_for_tests())
    for metadata in ([], bearer(access_token()), bearer("nonsense")):
        await admission.admit(metadata)
        assert caller().principal == ANYONE
        assert admission.seconds_left() is None


async def test_newer_keys_are_asked_for_once_where_a_token_names_an_unknown_one() -> None:
    new = SigningKey()
    verifier = AccessTokenVerifier(
        KeySet({}), SystemClock(), issuer="trackops", audience="trackops"
    )
    asked = 0

    async def renew() -> None:
        nonlocal asked
        asked += 1
        verifier.replace_keys(KeySet.parse(key_set([new])))

    admission = Admission(GET, Access(verifier, renew))
    await admission.admit(bearer(access_token(key=new)))
    await admission.admit(bearer(access_token(key=new, subject="another")))
    assert (asked, caller().principal.name) == (1, "another")
    with pytest.raises(TokenInvalid):
        await admission.admit(bearer(access_token(key=SigningKey())))


class Servicer:
    """Remembers who called."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.logged: list[dict[str, str]] = []

    async def GetOrder(self, _: Any, context: Context) -> bytes:
        self.seen.append(principal_of(context).name)
        self.logged.append(dict(call_fields()))
        return b""

    async def WatchOrder(self, _: Any, context: Context) -> AsyncGenerator[bytes, None]:
        self.seen.append(principal_of(context).name)
        yield b""

    async def _unused(self, _: Any, __: Context) -> bytes:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)
        return self._unused


async def test_handlers_of_calls_and_streams_know_their_own_caller() -> None:
    servicer = Servicer()
    async with serving(Application([RpcService(ORDERS, servicer)]), token="") as channel:
        stub: Any = OrderServiceStub(channel)
        get = order_service_pb2.GetOrderRequest(order_id=ORDER_ID)
        watch = order_service_pb2.WatchOrderRequest(order_id=ORDER_ID)
        for name in ("ada", "ben"):
            metadata = (("authorization", f"Bearer {access_token(subject=name)}"),)
            await stub.GetOrder(get, metadata=metadata)
            await stub.WatchOrder(watch, metadata=metadata).read()
        for call in (stub.GetOrder(get), stub.WatchOrder(watch).read()):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert error_details(refused.value).reason == "TOKEN_MISSING"
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ShipOrder(
                order_service_pb2.ShipOrderRequest(),
                metadata=(("authorization", f"Bearer {access_token(Role.CUSTOMER)}"),),
            )
    assert servicer.seen == ["ada", "ada", "ben", "ben"]
    assert servicer.logged[0] == {
        "rpc": "trackops.order.v1.OrderService.GetOrder",
        "principal": "ada",
        "order_id": ORDER_ID,
    }
    details = error_details(refused.value)
    assert details.code is grpc.StatusCode.PERMISSION_DENIED
    assert (details.reason, details.metadata) == (
        "PERMISSION_DENIED",
        {"permission": "orders.fulfil"},
    )
