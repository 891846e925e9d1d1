"""Sets of characters as users name them: the characters, a class in brackets, or a word."""

import re
import warnings
from collections.abc import Callable
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import SettingsError, UnknownCharacterError, describe, shortened
from charrnn.text.vocabulary import Vocabulary

CLASSES: dict[str, Callable[[str], bool]] = {
    "digits": str.isdecimal,
    "letters": lambda symbol: category(symbol)[0] in "LM",  # and the marks on them
    "lower": str.islower,
    "upper": str.isupper,
    "punctuation": lambda symbol: category(symbol)[0] in "PS",
    "space": str.isspace,
}


def matching(vocabulary: Vocabulary, setting: str, characters: str) -> NDArray[np.intp]:
    """Return the ids of the symbols that `characters` describes, (N,); there may be none.

    characters: names of CLASSES separated by commas, a character class of a regular expression in
    brackets, or the characters themselves. For byte models, ASCII characters.
    Raises SettingsError, naming `setting`, for an invalid class, or for a character that takes
    several symbols of a byte model.
    """
    names = characters.split(",")
    if set(names) <= CLASSES.keys():
        return _ids_of(vocabulary, lambda symbol: any(CLASSES[name](symbol) for name in names))
    pattern, shown = characters, shortened(characters)
    if len(characters) == 1 or not characters.startswith("["):
        pattern = f"[{re.escape(characters)}]"
    elif len(characters) < 3 or not characters.endswith("]"):
        raise SettingsError(f"`{setting}={shown}`: not a character class such as [a-z]")
    if vocabulary.unit == "byte" and not characters.isascii():
        raise SettingsError(f"`{setting}={shown}`: byte models only take ASCII characters here")
    try:
        with warnings.catch_warnings(action="ignore"):  # of what [[ may mean one day
            matches = re.compile(pattern).fullmatch
    except re.error as error:
        raise SettingsError(
            f"`{setting}={shown}`: not a valid character class ({error})"
        ) from error
    return _ids_of(vocabulary, lambda symbol: matches(symbol) is not None)


def stop_ids(vocabulary: Vocabulary, text: str, banned: NDArray[np.intp]) -> list[int]:
    """Return a stop text as ids. Raises SettingsError if it can never be written."""
    setting = f"`stop={shortened(repr(text))}`"
    try:
        ids: list[int] = vocabulary.encode(text).tolist()
    except UnknownCharacterError as error:
        raise SettingsError(
            f"{setting}: the model cannot write {describe(error.character)}; leave it out"
        ) from error
    for id_ in ids:
        if id_ in banned:
            raise SettingsError(
                f"{setting}: {vocabulary.symbols[id_]!r} is ruled out by `ban` or `only`"
            )
    return ids


def _ids_of(vocabulary: Vocabulary, test: Callable[[str], bool]) -> NDArray[np.intp]:
    symbols = vocabulary.symbols[:128] if vocabulary.unit == "byte" else vocabulary.symbols
    return np.array([i for i, s in enumerate(symbols) if s and test(s)], dtype=np.intp)
