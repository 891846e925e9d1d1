"""Learning curves as data: their axes, and the runs that have none."""

from types import SimpleNamespace
from typing import Any

import pytest

import charrnn
from charrnn.errors import CharrnnError
from charrnn.render.chart import Chart, chart, ticks
from charrnn.runs.curves import Curve, Point


def row(validation: list[int], train: list[int] = []) -> Any:  # noqa: B006
    """A run with losses at these steps of 10 characters and a minute each."""

    def points(steps: list[int]) -> tuple[Point, ...]:
        return tuple(Point(step, 10 * step, 60.0 * step, 3.0 - step / 1000) for step in steps)

    curve = Curve(points(validation), points(train))
    return SimpleNamespace(curve=curve, corpus_config=charrnn.CorpusConfig())


def drawn(*rows: Any, axis: str = "steps") -> Chart:
    notices: list[str] = []
    found = chart([f"run {n}" for n in range(len(rows))], rows, axis, notices.append)
    assert not notices
    return found


def test_the_axis_starts_where_the_first_curve_begins() -> None:
    """A resumed run whose log begins late leaves no empty half of a plot."""
    found = drawn(row([600, 900], [550, 700]), row([800]))
    assert (found.first, found.last) == (550, 900)
    found = drawn(row([600, 900]), axis="characters")
    assert (found.first, found.last, found.x_label) == (6000, 9000, "characters trained on")


def test_time_is_shown_in_the_unit_that_fits() -> None:
    found = drawn(row([30, 600]), axis="time")
    assert (found.first, found.last, found.x_label) == (0.5, 10, "training time in hours")


def test_a_single_point_has_an_axis_too() -> None:
    found = drawn(row([700]))
    assert (found.first, found.last) == (0, 700)


@pytest.mark.parametrize("most", [2, 5, 8])
@pytest.mark.parametrize(("first", "last"), [(0, 5500), (550, 900), (0.5, 10), (0, 1e-3)])
def test_ticks_are_round_numbers_on_the_axis(first: float, last: float, most: int) -> None:
    places = ticks(first, last, most)
    assert 1 <= len(places) <= most
    assert all(first - 1e-9 <= place <= last + 1e-9 for place in places)


def test_a_run_without_losses_is_named() -> None:
    notices: list[str] = []
    found = chart(["empty", "full"], [row([]), row([5])], "steps", notices.append)
    assert [run.name for run in found.runs] == ["full"]
    assert notices == ["empty: its log has no loss to draw over steps"]
    with pytest.raises(CharrnnError, match="nothing to draw"):
        chart(["empty"], [row([])], "steps", notices.append)
