"""How many CPU threads are fastest: a short race between numbers of them."""

from collections.abc import Callable
from dataclasses import dataclass

# The race ends after so many seconds of steps, or as soon as one number is left in it.
SECONDS = 0.4
# A number that is so many times slower than the fastest, after so many steps, drops out.
HOPELESS, FEWEST_STEPS = 1.5, 12
# A smaller number has to need less than this fraction of the time of a larger one.
CLEARLY_FASTER = 0.9
# Steps are held up by other programs if their mean is so many times the fastest of them, or that
# with one thread if one is fastest. More threads than are useful are not slower than one.
HELD_UP = 1.5


@dataclass(frozen=True)
class ThreadChoice:
    """A number of CPU threads out of as many as torch would use by itself.

    held_up: whether other programs make more threads slower now.
    """

    number: int
    most: int
    held_up: bool = False


def fastest_threads(most: int, seconds: Callable[[int], float]) -> ThreadChoice:
    """Race most, most / 2, ..., 1 threads against each other.

    seconds: takes a step with so many threads and returns how long it took. The numbers take turns,
    so that a short burst of work of another program holds up all of them.

    The mean step decides, and neither the fastest nor the median: threads wait for each other many
    times in a step, and as long as the processor of one is busy with another program, all do. A few
    steps then take hundreds of times as long as the others, and most of the time of a run.
    """
    times: dict[int, list[float]] = {number: [] for number in _halves(most)}
    racing, spent = list(times), 0.0
    while len(racing) > 1 and spent < SECONDS:
        for number in racing:
            times[number].append(seconds(number))
            spent += times[number][-1]
        racing = _still_racing({number: times[number] for number in racing})
    means = {number: _mean(times[number]) for number in racing}
    fastest = min(means.values(), default=0.0)
    number = max(n for n in racing if CLEARLY_FASTER * means[n] <= fastest)
    even = min([*times[most], means[1]] if number == 1 else times[most], default=0.0)
    held_up = number < most and _mean(times[most]) > HELD_UP * even
    return ThreadChoice(number, most, held_up)


def _halves(most: int) -> list[int]:
    """Return 1, ..., most / 2, most: one thread first, since it waits for nobody."""
    numbers = [most]
    while numbers[0] > 1:
        numbers.insert(0, numbers[0] // 2)
    return numbers


def _still_racing(times: dict[int, list[float]]) -> list[int]:
    """Return the numbers of threads that may still turn out to be the fastest."""
    means = {number: _mean(taken) for number, taken in times.items()}
    if min(map(len, times.values())) < FEWEST_STEPS:
        return list(times)
    return [number for number, mean in means.items() if mean <= HOPELESS * min(means.values())]


def _mean(times: list[float]) -> float:
    """Return the mean without the first step, which prepares, and the slowest, a chance event."""
    counted = sorted(times[1:] or times)
    counted = counted[:-1] or counted
    return sum(counted) / max(len(counted), 1)
