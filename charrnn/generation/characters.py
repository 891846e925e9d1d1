"""Which symbols of a vocabulary a user means: characters, a class in brackets, or a name."""

import re
from collections.abc import Callable
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import SettingsError, UnknownCharacterError, describe
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
    """Return the ids of the symbols that `characters` names, (N,), which may be none.

    characters: names of CLASSES with commas between them, a class of a regular expression in
    brackets, or the characters themselves. For a model of bytes, those of ASCII.
    Raises SettingsError for a class that is no class, or a character that a model of bytes has in
    several symbols.
    """
    names = characters.split(",")
    if set(names) <= CLASSES.keys():
        return _where(vocabulary, lambda symbol: any(CLASSES[name](symbol) for name in names))
    pattern = characters
    if len(characters) == 1 or not characters.startswith("["):
        pattern = f"[{re.escape(characters)}]"
    elif len(characters) < 3 or not characters.endswith("]"):
        raise SettingsError(f"`{setting}={characters}`: not a character class such as [a-z]")
    if vocabulary.unit == "byte" and not characters.isascii():
        raise SettingsError(
            f"`{setting}={characters}`: for a model of bytes, ASCII characters alone"
        )
    try:
        matches = re.compile(pattern).fullmatch
    except re.error as error:
        raise SettingsError(
            f"`{setting}={characters}`: no class of characters ({error})"
        ) from error
    return _where(vocabulary, lambda symbol: matches(symbol) is not None)


def stop_ids(vocabulary: Vocabulary, text: str, banned: NDArray[np.intp]) -> list[int]:
    """Return a stop text as ids. Raises SettingsError where it can never be written."""
    try:
        ids: list[int] = vocabulary.encode(text).tolist()
    except UnknownCharacterError as error:
        raise SettingsError(
            f"`stop={text!r}`: the model never writes {describe(error.character)}; leave it out"
        ) from error
    for id_ in ids:
        if id_ in banned:
            raise SettingsError(
                f"`stop={text!r}`: {vocabulary.symbols[id_]!r} is ruled out by `ban` or `only`"
            )
    return ids


def _where(vocabulary: Vocabulary, test: Callable[[str], bool]) -> NDArray[np.intp]:
    symbols = vocabulary.symbols[:128] if vocabulary.unit == "byte" else vocabulary.symbols
    return np.array([i for i, s in enumerate(symbols) if s and test(s)], dtype=np.intp)
