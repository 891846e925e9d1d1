"""What any text may do to a terminal. Holds no rich, so that sampling starts at once."""

import os
from collections.abc import Sequence
from typing import Any

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {
    0x7F: 0x2421
}
# Controls of eight bits, and what turns the direction of all that follows.
_PICTURES |= dict.fromkeys(
    (*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD
)


# What JSON leaves as it is and a terminal obeys; ESC and its like it escapes itself.
_ESCAPES = {code: f"\\u{code:04x}" for code in (0x7F, *range(0x80, 0xA0))}


def json_text(data: Any, indent: int | None = None) -> str:
    """Write data as JSON that cannot steer the terminal, with a line end."""
    import json

    text = json.dumps(data, ensure_ascii=False, indent=indent, default=str)
    return text.translate(_ESCAPES) + "\n"


def silence(stream: Any) -> None:
    """Let a stream whose reader is gone lead nowhere, so that it can be closed at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def harmless(text: str) -> str:
    """Show control characters as pictures, so that no text can steer the terminal."""
    return text.translate(_PICTURES)


class Heat:
    """Colours for how much characters surprised a model, in bits."""

    # Above so many bits, the background in the palette of 256 colours, under black.
    LEVELS = ((6.0, 203), (4.0, 215), (2.0, 222), (1.0, 229), (0.5, 194))

    @property
    def legend(self) -> str:
        """A line that shows what the colours mean."""
        shown = [self.coloured(f" {bits:g} ", [bits] * 5) for bits, _ in reversed(self.LEVELS)]
        return "surprise in bits, at least: " + "".join(shown)

    def coloured(self, text: str, bits: Sequence[float]) -> str:
        """Return a text with a colour for each character, given the bits of each."""
        return "".join(map(self._character, harmless(text), bits))

    def _character(self, character: str, bits: float) -> str:
        found = (colour for least, colour in self.LEVELS if bits >= least)
        colour = next(found, None)
        if colour is None or character == "\n":
            return character
        return f"\x1b[38;5;16;48;5;{colour}m{character}\x1b[0m"


def has_colours() -> bool:
    """Whether the terminal shows colours, and its user wants any (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
