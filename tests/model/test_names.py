"""The model names the code it stands for, and that code is there."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from . import chain, saga

_TAKES: list[Any] = [*(move.take for move in chain.MOVES), *saga.MOVES]
_IDS = [f"{take.__module__.rpartition('.')[2]}.{take.__name__}" for take in _TAKES]
_PLACES = {
    take: re.findall(r"`(trackops_[\w.]+)`", (take.__doc__ or "").partition("Stands for")[2])
    for take in _TAKES
}


def _is_there(name: str) -> bool:
    """Whether the longest prefix that is a module has all the attributes that follow it."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("take", _TAKES, ids=_IDS)
def test_a_transition_names_what_it_stands_for(take: Any) -> None:
    assert _PLACES[take] or "Environment: " in (take.__doc__ or "")
    assert [name for name in _PLACES[take] if not _is_there(name)] == []


def test_a_name_that_is_not_there_is_noticed() -> None:
    assert _is_there("trackops_common.inbox._Run._commit")
    assert not _is_there("trackops_common.inbox._Run.commits")
    assert not _is_there("trackops_common.no_such_module")
    assert not _is_there("trackops_nothing")
