"""Text and JSON on a terminal or in a pipe. Imports neither rich nor tqdm: sampling needs it."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {
    0x7F: 0x2421
}
# What steers a terminal besides: eight-bit controls, ends of lines and paragraphs, characters that
# change the direction or the shape of the text after them, and those around annotations.
_STEERING = (
    *range(0x80, 0xA0),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x2070),
    *range(0xFFF9, 0xFFFC),
)
_PICTURES |= dict.fromkeys(_STEERING, 0xFFFD)
# JSON escapes ESC and the like by itself. These three direction marks belong to ordinary Hebrew and
# Arabic text, which is shown as it is; in JSON an escape does not change the text. The joiners of
# emoji and of Indic scripts steer nothing.
_MARKS = (0x061C, 0x200E, 0x200F)
_ESCAPES = {code: f"\\u{code:04x}" for code in (0x7F, *_STEERING, *_MARKS)}


def harmless(text: str) -> str:
    """Replace what steers a terminal with visible symbols, one for each character."""
    return text.translate(_PICTURES)


def json_text(data: Any, indent: int | None = None) -> str:
    """Return data as JSON in which what steers a terminal is escaped, ending in a newline."""
    import json  # here, because every command imports this module and few write JSON

    text = json.dumps(data, ensure_ascii=False, indent=indent, default=str)
    return text.translate(_ESCAPES) + "\n"


def print_json(data: Any) -> None:
    """Write JSON to stdout."""
    sys.stdout.write(json_text(data, indent=2))


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout."""
    for line in lines:
        sys.stdout.write(f"{harmless(line)}\n")


def silence(stream: Any) -> None:
    """Redirect a stream whose reader is gone to nowhere, so that closing it cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def has_colours() -> bool:
    """Whether the terminal shows colours and the user wants them (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def takes_unicode(stream: Any) -> bool:
    """Whether a stream can encode box-drawing characters and the like."""
    return "utf" in (getattr(stream, "encoding", None) or "").lower()


class Heat:
    """Background colours that show how much each character surprised a model, in bits."""

    # From so many bits on, this background of the 256-colour palette, under black text.
    LEVELS = ((6.0, 203), (4.0, 215), (2.0, 222), (1.0, 229), (0.5, 194))

    @property
    def legend(self) -> str:
        """A line that explains the colours."""
        shown = [self.coloured(f" {bits:g} ", [bits] * 5) for bits, _ in reversed(self.LEVELS)]
        return "surprise in bits, at least: " + "".join(shown)

    def coloured(self, text: str, bits: Sequence[float]) -> str:
        """Return a text with each character coloured by its bits."""
        return "".join(map(self._character, harmless(text), bits))

    def _character(self, character: str, bits: float) -> str:
        found = (colour for least, colour in self.LEVELS if bits >= least)
        colour = next(found, None)
        if colour is None or character == "\n":
            return character
        return f"\x1b[38;5;16;48;5;{colour}m{character}\x1b[0m"
