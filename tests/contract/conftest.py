"""The participants of sagas as processes, each started when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing

import pytest

from trackops_cli.testing import DatabaseTemplate

from .participant import Participant

ParticipantOf = Callable[[str], Participant]
"""The participant of a module, say `trackops_order`."""


@pytest.fixture(scope="session")
def participant_of(
    database_template: DatabaseTemplate,
    redis_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ParticipantOf]:
    settings: Mapping[str, Mapping[str, str]] = {
        "trackops_order": {
            "TRACKOPS_REDIS_URL": redis_server,
            "TRACKOPS_PAGE_TOKEN_KEY": "a key for tests, which is no secret",
            "TRACKOPS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",  # for watchers; here are none
        }
    }
    started: dict[str, Participant] = {}
    with ExitStack() as stack:
        database = stack.enter_context(database_template.database())
        folder = tmp_path_factory.mktemp("participants")

        def participant_of(module: str) -> Participant:
            if module not in started:
                url, extra = database.url(module), settings.get(module, {})
                made = stack.enter_context(closing(Participant(module, url, extra, folder)))
                made.wait_serving()
                started[module] = made
            return started[module]

        yield participant_of
