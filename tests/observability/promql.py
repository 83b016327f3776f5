"""What an expression of PromQL needs to be there, by Prometheus' grammar."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Expr,
    Matcher,
    MatchOp,
    VectorSelector,
    parse,
    walk,
)

__all__ = ["Labels", "Scrape", "labels_in", "strangers"]

Labels = Mapping[str, str]

Scrape = Mapping[str, Sequence[Labels]]
"""The labels of each series, by the name of its metric."""

SCRAPED_WITH = frozenset({"instance"})
"""What the one who scrapes adds to each series."""


def strangers(expression: str, scrape: Scrape) -> list[str]:
    """What the expression names that `scrape` does not have, one sentence each.

    Each selector must choose a series, and a label by which something is
    aggregated or joined must be one that every metric below it has.
    """
    nodes = list(_nodes(parse(expression)))
    found = [
        f"{node} selects nothing"
        for node in nodes
        if isinstance(node, VectorSelector) and not _selects(node, scrape)
    ]
    for node in nodes:
        for label in _grouped_by(node):
            found += [
                f"{one.name} has no label {label}, in {node}"
                for one in _selectors(node)
                if label not in labels_in(str(one), scrape)
            ]
    return found


def labels_in(expression: str, scrape: Scrape) -> set[str]:
    """Labels of the metrics that the expression names."""
    names = [one.name for one in _selectors(parse(expression))]
    series = [labels for name in names for labels in scrape.get(name or "", ())]
    return set(SCRAPED_WITH).union(*series)


def _nodes(expression: Expr) -> Iterator[Expr]:
    found: list[Expr] = []
    walk(expression, found.append)
    yield from found


def _selectors(expression: Expr) -> Iterable[VectorSelector]:
    return (node for node in _nodes(expression) if isinstance(node, VectorSelector))


def _grouped_by(node: Expr) -> Sequence[str]:
    """Only what is kept: `without` and `ignoring` may name what is not there."""
    if isinstance(node, AggregateExpr) and node.modifier is not None:
        return node.modifier.labels if node.modifier.type == AggModifierType.By else ()
    if isinstance(node, BinaryExpr) and node.modifier is not None:
        matching = node.modifier.matching
        return matching.labels if matching is not None else ()
    return ()


def _selects(selector: VectorSelector, scrape: Scrape) -> bool:
    matchers = [one for one in selector.matchers.matchers if one.name not in SCRAPED_WITH]
    return any(
        all(_matches(one, labels.get(one.name, "")) for one in matchers)
        for labels in scrape.get(selector.name or "", ())
    )


def _matches(matcher: Matcher, value: str) -> bool:
    wanted = matcher.value
    if matcher.op == MatchOp.Equal:
        return value == wanted
    if matcher.op == MatchOp.NotEqual:
        return value != wanted
    found = re.fullmatch(wanted, value) is not None
    return found if matcher.op == MatchOp.Re else not found
