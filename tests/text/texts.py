"""Made-up texts of several shapes."""

import random

from tests.conftest import TEXT

VERSE = TEXT.splitlines()


def names(number: int = 300, seed: int = 0) -> list[str]:
    """Names, all different, in random order."""
    syllables = ["ka", "lo", "mi", "ren", "tu", "va", "shi", "do", "ne", "ba"]
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        found["".join(rng.choices(syllables, k=rng.randint(2, 5))).title()] = None
    return list(found)


def poems(number: int = 150) -> list[list[str]]:
    """Poems as lists of lines: a title, all different, and three lines of verse."""
    return [[name, *random.Random(name).sample(VERSE[:4], 3)] for name in names(number)]
