"""Numbers as people read them."""

import math

_SMOOTHING = 0.05  # weight of the newest value in a running mean


def duration(seconds: float) -> str:
    """Show a time as 0:07, 9:41 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size(number: float, unit: str = "") -> str:
    """Show a large number with three digits: 34.1k, 1.22M."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * factor:
            return f"{number / factor:.3g}{letter}{unit}"
    return f"{number:.3g}{unit}"


def bits(nats: float) -> float:
    """Convert nats to bits."""
    return nats / math.log(2)


def smoothed(before: float | None, now: float) -> float:
    """Return the running mean after one more value; `before` is None for the first."""
    return now if before is None else before + _SMOOTHING * (now - before)
