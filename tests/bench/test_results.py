"""What the benchmarks say of their figures: medians, ratios round by round, aims met or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report
from bench.figures import Figure, Plot, at_least, at_most, compared, percentile
from bench.results import Results, shown


def figure(*values: float, key: str = "orders_per_s") -> Figure:
    return Figure(key, "orders", "/s", values, "calls/s of an echo", [100.0] * len(values))


@pytest.mark.parametrize(
    ("aim", "value", "is_met"),
    [
        (at_least(0.65), 0.65, True),
        (at_least(0.65), 0.649, False),
        (at_most(40), 40, True),
        (at_most(40), 40.1, False),
    ],
)
def test_the_bound_itself_keeps_an_aim(*, aim: object, value: float, is_met: bool) -> None:
    one = Figure("k", "what", "ms", [value], aim=aim)  # type: ignore[arg-type]
    assert one.met is is_met


def test_nothing_promised_is_neither_met_nor_broken() -> None:
    assert figure(1.0).met is None


def test_a_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_medians() -> None:
    one = Figure("a", "a", "/s", [10.0, 40.0, 60.0], "b", [10.0, 20.0, 40.0])
    _, ratio = compared(one, "a_vs_b", "a ÷ b")
    assert ratio.values == [1.0, 2.0, 1.5]
    assert ratio.median == 1.5


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50.0), (90, 90.0), (99, 99.0), (100, 100.0), (0, 1.0)]
)
def test_percentiles_of_a_hundred(percent: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == expected


def test_the_percentile_of_nothing_is_an_error_not_a_zero() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567.0, "1,234,567"), (99.96, "100"), (45.67, "45.7"), (0.4567, "0.457"), (0.0, "0")],
)
def test_numbers_for_people(value: float, text: str) -> None:
    assert shown(value) == text


def results() -> Results:
    made = Results.begin(rounds=3, notes=["the generator was the limit"])
    made.add(figure(80.0, 90.0, 100.0))
    made.add(Figure("rss_mb", "memory", "MB", [150.0], aim=at_most(140)))
    made.add(Plot("by_rate", "Latency", "orders/s", "ms", ["1", "8"], {"p50": [2.0, 5.0]}))
    return made


def test_results_are_the_same_when_read_back(tmp_path: Path) -> None:
    written = results()
    written.write(tmp_path / "not" / "yet" / "bench.json")
    assert Results.read(tmp_path / "not" / "yet" / "bench.json") == written


def test_a_run_is_not_whole_until_somebody_says_so() -> None:
    assert not Results.begin(rounds=3, notes=[]).whole


def test_rows_have_median_spread_baseline_and_verdict() -> None:
    assert list(results().rows()) == [
        ("orders_per_s", "orders", "90 /s", "80 … 100", "100 calls/s of an echo", "", ""),
        ("rss_mb", "memory", "150 MB", "150 … 150", "", "≤ 140", "no"),
    ]


def test_the_page_has_every_figure_note_and_curve() -> None:
    page = report.page(results())
    assert "| `orders_per_s` | orders | 90 /s | 80 … 100 | 100 calls/s of an echo |  |  |" in page
    assert "- the generator was the limit" in page
    assert "## Latency" in page
    assert '    x-axis "orders/s" ["1", "8"]' in page
    assert '    y-axis "ms" 0 --> 5.5' in page
    assert "    line [2, 5]" in page
    assert "| p50 (ms) | 2 | 5 |" in page


def test_the_readme_gets_the_figures_that_have_an_aim() -> None:
    assert report.summary(results()).splitlines()[2:] == ["| memory | 150 MB | ≤ 140 | no |"]


def test_the_readme_has_a_place_for_them() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    assert text.count(report.BEGIN) == text.count(report.END) == 1
