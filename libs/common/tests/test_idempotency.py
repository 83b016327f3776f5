from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trackops_common.database import Database
from trackops_common.errors import BatchRefused, RequestIdReused
from trackops_common.idempotency import (
    JsonValue,
    RequestLedger,
    RequestStore,
    StoredRequest,
    fingerprint,
    request_key,
)
from trackops_common.request_store import PostgresRequestStore
from trackops_common.testing import InMemoryRequestStore

REQUEST_ID = "6f1c0000-0000-4000-8000-00000000000a"
Json = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(some.characters(codec="utf-8")),
    lambda inner: some.lists(inner) | some.dictionaries(some.text("ab"), inner),
    max_leaves=10,
)


@dataclass(frozen=True)
class Command:
    request_id: str = REQUEST_ID
    body: str = "body"

    @property
    def request_key(self) -> uuid.UUID:
        return request_key("somebody", self.request_id)

    @property
    def request_hash(self) -> bytes:
        return fingerprint(self.body)


class Refused(Exception):
    pass


def _refuse(_: Command) -> bytes:
    raise Refused


def _never(_: Command) -> bytes:
    raise AssertionError("done twice")


def test_a_fingerprint_is_the_same_in_every_release() -> None:
    """Stored hashes are compared with those of later releases: a change here refuses repeats."""
    command: JsonValue = {"b": [1, "é", None, True], "a": {"y": "2", "x": "1"}}

    assert fingerprint(command).hex() == "6c0d037e1a4a34cd1743e9c2a57b9b18"


def test_a_request_key_is_the_same_in_every_release() -> None:
    """It is the id of what the request created: a change here creates a second one."""
    assert request_key("anyone", "6F1C0000-0000-4000-8000-000000000001") == uuid.UUID(
        "e7b64d4c-fb38-5352-b6f2-9261889b089b"
    )
    assert request_key(
        "anyone", "6f1c0000-0000-4000-8000-000000000001", method="ConfirmOrder"
    ) == uuid.UUID("309ad8a2-041a-57a7-82be-8a7bd31367de")


def test_a_request_id_means_the_same_in_either_case() -> None:
    assert request_key("a", REQUEST_ID.upper()) == request_key("a", REQUEST_ID)


def test_principals_methods_and_ids_have_keys_of_their_own() -> None:
    keys = {
        request_key(principal, request_id, method=method)
        for principal in ("a", "b")
        for method in ("", "ConfirmOrder", "CloseOrder")
        for request_id in (REQUEST_ID, str(uuid.uuid4()))
    }

    assert len(keys) == 12


def test_maps_count_as_sorted() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint([1, 2]) != fingerprint([2, 1])


@given(Json, Json)
def test_other_commands_have_other_fingerprints(one: JsonValue, other: JsonValue) -> None:
    assert len(fingerprint(one)) == 16
    assert (fingerprint(one) == fingerprint(other)) == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value: JsonValue) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(cast("JsonValue", element)) for element in value]
    return value


def test_a_new_request_is_done_and_remembered() -> None:
    ledger = RequestLedger()

    assert ledger.answer(Command(), lambda _: b"done", Refused) == b"done"
    assert ledger.new == [StoredRequest(Command().request_key, Command().request_hash, b"done")]


def test_a_stored_request_gets_its_response_and_is_not_done_again() -> None:
    stored = StoredRequest(Command().request_key, Command().request_hash, b"first")
    ledger = RequestLedger([stored])

    assert ledger.answer(Command(), _never, Refused) == b"first"
    assert ledger.new == []


def test_equal_requests_of_one_batch_are_done_once() -> None:
    ledger = RequestLedger()
    ledger.answer(Command(), lambda _: b"done", Refused)

    assert ledger.answer(Command(), _never, Refused) == b"done"
    assert len(ledger.new) == 1


@pytest.mark.parametrize("same_batch", [False, True])
def test_another_body_under_the_same_id_is_refused(same_batch: bool) -> None:
    ledger = RequestLedger()
    ledger.answer(Command(), lambda _: b"done", Refused)
    if not same_batch:
        ledger = RequestLedger(ledger.new)
    before = list(ledger.new)

    answer = ledger.answer(Command(body="other"), _never, Refused)

    assert isinstance(answer, RequestIdReused)
    assert answer.request_id == REQUEST_ID
    assert ledger.new == before


def test_a_refused_command_leaves_nothing_behind() -> None:
    ledger = RequestLedger()

    assert isinstance(ledger.answer(Command(), _refuse, Refused), Refused)
    assert ledger.new == []
    assert ledger.answer(Command(body="other"), lambda _: b"done", Refused) == b"done"


def test_an_error_that_is_no_refusal_is_not_an_answer() -> None:
    with pytest.raises(Refused):
        RequestLedger().answer(Command(), _refuse, LookupError)


Stores = Callable[[], AbstractContextManager[RequestStore]]


@pytest.fixture(params=["in memory", "Postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "in memory":
        rows: dict[uuid.UUID, StoredRequest] = {}
        return lambda: nullcontext(InMemoryRequestStore(rows))
    schema: Database = request.getfixturevalue("schema")

    @contextmanager
    def in_transaction() -> Iterator[RequestStore]:
        with schema.transaction() as transaction:
            yield PostgresRequestStore(transaction)
            transaction.commit()

    return in_transaction


def _requests(count: int) -> Sequence[StoredRequest]:
    return [
        StoredRequest(uuid.uuid4(), bytes([number]) * 16, b"\x00\xff'\\" + bytes([number]))
        for number in range(count)
    ]


def test_a_store_finds_what_was_saved_and_nothing_else(stores: Stores) -> None:
    requests = _requests(3)
    with stores() as store:
        store.save(requests)

    with stores() as store:
        wanted = [requests[0].request_key, requests[2].request_key, uuid.uuid4()]
        found = store.find(wanted)
        assert {one.request_key: one for one in found} == {
            one.request_key: one for one in (requests[0], requests[2])
        }
        assert list(store.find([])) == []


def test_a_store_is_given_nothing_to_save_and_saves_nothing(stores: Stores) -> None:
    with stores() as store:
        store.save([])


def test_a_store_does_not_answer_one_request_twice(stores: Stores) -> None:
    (request,) = _requests(1)
    with stores() as store:
        store.save([request])

    with pytest.raises(BatchRefused), stores() as store:
        store.save([replace(request, response=b"other")])

    with stores() as store:
        assert list(store.find([request.request_key])) == [request]
