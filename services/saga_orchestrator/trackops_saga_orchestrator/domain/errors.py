"""What can go wrong with sagas.

    SagaNotFound       no saga has this id
    InvalidPageToken   the page token is none of ours

Errors in a definition are in `domain.rules` and `domain.saga`; what goes wrong
within a saga is an `Outcome`.
"""

from __future__ import annotations

import uuid

__all__ = ["InvalidPageToken", "SagaNotFound"]


class SagaNotFound(Exception):
    """No saga has this id."""

    def __init__(self, saga_id: uuid.UUID) -> None:
        super().__init__(f"no saga has the id {saga_id}")
        self.saga_id = saga_id


class InvalidPageToken(Exception):
    """The page token is not the `next_page_token` of any page."""

    def __init__(self) -> None:
        super().__init__("page_token is not the next_page_token of any page")
