"""Who gets past the edge."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trackops_cli.testing import wait_for
from trackops_edge.contract import EdgeRpc, edge_rpcs

from .edge_harness import Edge, Keys, run_edge

Ports = Iterator[int]

PUBLIC = [rpc for rpc in edge_rpcs() if rpc.public]
GUARDED = [rpc for rpc in edge_rpcs() if not rpc.public]
ORDER = str(uuid.uuid4())


def path_of(rpc: EdgeRpc) -> str:
    return rpc.template.replace("{order_id}", ORDER).replace("{user_id}", ORDER)


def call(edge: Edge, rpc: EdgeRpc, token: str | None) -> tuple[int, str]:
    """Status, and the problem's reason."""
    answer = edge.call(rpc.verb, path_of(rpc), {} if rpc.verb == "POST" else None, token=token)
    return answer.status, answer.json.get("reason", "")


def unsigned(keys: Keys, algorithm: str) -> str:
    """A good token's content under a header that asks for no signature."""
    header = json.dumps({"alg": algorithm, "kid": keys.jwk["kid"], "typ": "at+jwt"}).encode()
    first = base64.urlsafe_b64encode(header).rstrip(b"=").decode()
    return f"{first}.{keys.token().split('.')[1]}."


def altered(keys: Keys) -> str:
    """A good token with other roles than were signed."""
    first, _, last = keys.token().split(".")
    return ".".join((first, keys.token(roles=["admin"]).split(".")[1], last))


def test_public_rpcs_are_those_by_which_one_gets_a_token() -> None:
    assert [rpc.method.name for rpc in PUBLIC] == [
        "RegisterUser",
        "VerifyEmail",
        "Login",
        "RefreshTokens",
        "Logout",
        "RequestPasswordReset",
        "ResetPassword",
        "IssueServiceToken",
    ]


@pytest.mark.parametrize("rpc", PUBLIC, ids=lambda rpc: rpc.method.name)
def test_a_public_rpc_needs_no_token(edge: Edge, rpc: EdgeRpc) -> None:
    assert call(edge, rpc, None) == (200, "")


@pytest.mark.parametrize("rpc", GUARDED, ids=lambda rpc: rpc.method.name)
def test_every_other_rpc_needs_one(edge: Edge, rpc: EdgeRpc) -> None:
    assert call(edge, rpc, None) == (401, "TOKEN_MISSING")
    assert edge.services.calls == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda keys: keys.token(exp=time.time() - 40), "TOKEN_EXPIRED"),
        (lambda keys: keys.token(aud="another"), "TOKEN_INVALID"),
        (lambda keys: keys.token(iss="another"), "TOKEN_INVALID"),
        (lambda keys: keys.token(nbf=time.time() + 40), "TOKEN_INVALID"),
        (lambda keys: keys.token(drop="exp"), "TOKEN_INVALID"),
        (lambda keys: keys.token(drop="aud"), "TOKEN_INVALID"),
        (lambda keys: unsigned(keys, "none"), "TOKEN_INVALID"),
        (lambda keys: unsigned(keys, "EdDSA"), "TOKEN_INVALID"),
        (lambda keys: keys.token(key=keys.public_bytes, algorithm="HS256"), "TOKEN_INVALID"),
        (lambda keys: keys.token(key=keys.jwk["x"], algorithm="HS256"), "TOKEN_INVALID"),
        (lambda keys: keys.token(key=Ed25519PrivateKey.generate()), "TOKEN_INVALID"),
        (altered, "TOKEN_INVALID"),
        (lambda keys: keys.token() + "A", "TOKEN_INVALID"),
        (lambda _: "nonsense", "TOKEN_INVALID"),
    ],
    ids=[
        "expired",
        "other audience",
        "other issuer",
        "not yet",
        "no expiry",
        "no audience",
        "alg none",
        "no signature",
        "HS256 with the public key",
        "HS256 with the public key as it is published",
        "unknown key",
        "altered",
        "longer",
        "no token",
    ],
)
def test_a_token_that_is_not_good_is_refused(
    edge: Edge, make: Callable[[Keys], str], reason: str
) -> None:
    answer = edge.call("GET", "/v1/orders", token=make(edge.keys))

    assert (answer.status, answer.json["reason"]) == (401, reason)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "www-authenticate" in answer.headers
    assert edge.services.calls == []


def test_clocks_may_be_half_a_minute_apart(edge: Edge) -> None:
    token = edge.keys.token(exp=time.time() - 20)

    assert edge.call("GET", "/v1/orders", token=token).status == 200


def test_a_new_key_is_learned_and_an_old_one_forgotten(tmp_path: Path, ports: Ports) -> None:
    with run_edge(tmp_path, ports, key_seconds=1) as edge:
        old = edge.keys.token()
        assert edge.call("GET", "/v1/orders", token=old).status == 200

        edge.keys.rotate()

        new = edge.keys.token()
        wait_for(lambda: edge.call("GET", "/v1/orders", token=new).status == 200, what="the key")
        assert edge.call("GET", "/v1/orders", token=old).status == 401


def test_known_keys_are_good_while_identity_is_away(tmp_path: Path, ports: Ports) -> None:
    with run_edge(tmp_path, ports, key_seconds=1) as edge:
        edge.keys.away, asked = True, edge.keys.times_asked
        wait_for(lambda: edge.keys.times_asked > asked + 3, what="keys to be asked for in vain")

        assert edge.call("GET", "/v1/orders").status == 200


def test_an_edge_that_starts_before_identity_learns_the_keys(tmp_path: Path, ports: Ports) -> None:
    keys = Keys()
    keys.away = True
    with run_edge(tmp_path, ports, keys=keys) as edge:
        assert edge.call("GET", "/v1/orders").status == 401

        keys.away = False

        wait_for(lambda: edge.call("GET", "/v1/orders").status == 200, what="the keys")


def test_a_token_in_the_query_is_none(edge: Edge) -> None:
    answer = edge.call("GET", f"/v1/orders?access_token={edge.token}", token=None)

    assert (answer.status, answer.json["reason"]) == (401, "TOKEN_MISSING")


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/v1/sessions:login"),
        ("GET", "/v1/users"),
        ("POST", "/v1/users:login/../orders"),
        ("POST", "/v1//orders"),
        ("POST", "/V1/sessions:login"),
        ("GET", "/v1/nothing"),
        ("POST", "/trackops.order.v1.OrderSagaService/ConfirmOrder"),
    ],
)
def test_only_the_very_path_and_verb_of_a_public_rpc_is_public(
    edge: Edge, verb: str, path: str
) -> None:
    answer = edge.call(verb, path, {} if verb == "POST" else None, token=None)

    assert answer.status == 401
    assert edge.services.calls == []


def test_the_public_keys_are_there_for_everybody(edge: Edge) -> None:
    answer = edge.call("GET", "/.well-known/jwks.json", token=None)

    assert answer.json == {"keys": [edge.keys.jwk]}
