"""Which number of threads wins a race, on steps that take invented times."""

import itertools
from collections.abc import Callable, Iterator, Mapping

import pytest

from charrnn.training.threads import SECONDS, fastest_threads

Times = Mapping[int, Iterator[float]]


def race(times: Times, asked: list[int] | None = None) -> Callable[[int], float]:
    """Steps that take these seconds, by the number of threads."""

    def seconds(threads: int) -> float:
        if asked is not None:
            asked.append(threads)
        return next(times[threads])

    return seconds


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [(0.010, 0.006, 2), (0.010, 0.010, 2), (0.0095, 0.010, 2), (0.007, 0.010, 1), (9.0, 8.0, 2)],
)
def test_more_threads_win_unless_fewer_are_clearly_faster(
    one: float, two: float, expected: int
) -> None:
    """On an idle machine, where steps are even and nothing is said."""
    times = {1: itertools.repeat(one), 2: itertools.repeat(two)}
    choice = fastest_threads(2, race(times))
    assert (choice.number, choice.most, choice.held_up) == (expected, 2, False)


def test_rare_long_waits_count_against_threads() -> None:
    """Two threads have the fastest step and the lower median, and still take longer in all."""
    times = {
        1: itertools.repeat(0.010),
        2: itertools.cycle([0.006, 0.006, 0.006, 0.090]),
    }
    choice = fastest_threads(2, race(times))
    assert choice.number == 1
    assert choice.held_up


def test_a_single_long_wait_decides_nothing() -> None:
    times = {
        1: itertools.repeat(0.010),
        2: itertools.chain([0.006] * 4, [0.2], itertools.repeat(0.006)),
    }
    assert fastest_threads(2, race(times)).number == 2


def test_one_step_of_a_second_is_enough() -> None:
    """Start-up may not take longer. So much slower than one thread, two are held up."""
    asked: list[int] = []
    times = {1: itertools.repeat(0.010), 2: itertools.repeat(1.0)}
    choice = fastest_threads(2, race(times, asked))
    assert (choice.number, choice.held_up) == (1, True)
    assert asked == [1, 2]


def test_fewer_threads_on_an_idle_machine_blame_nobody() -> None:
    """A small model may be slower with many threads, in steps that all take the same time."""
    seconds = {8: 0.009, 4: 0.003, 2: 0.004, 1: 0.006}
    times = {number: itertools.repeat(took) for number, took in seconds.items()}
    choice = fastest_threads(8, race(times))
    assert (choice.number, choice.held_up) == (4, False)


def test_the_numbers_of_threads_take_turns() -> None:
    """They are halved down to one; the hopeless drop out, and the rest is over in time."""
    asked: list[int] = []
    seconds = {12: 0.002, 6: 0.0025, 3: 0.003, 1: 0.009}
    times = {number: itertools.repeat(took) for number, took in seconds.items()}
    assert fastest_threads(12, race(times, asked)).number == 12
    assert asked[:8] == [1, 3, 6, 12, 1, 3, 6, 12]
    assert asked.count(1) < asked.count(6) == asked.count(12)
    assert sum(seconds[number] for number in asked) < SECONDS + sum(seconds.values())


def test_a_single_thread_is_not_measured() -> None:
    assert fastest_threads(1, lambda _: pytest.fail("measured")).number == 1
