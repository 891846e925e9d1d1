"""What any text may do to a terminal. Holds no rich, so that sampling starts at once."""

import os
from typing import Any

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {
    0x7F: 0x2421
}
_PICTURES |= dict.fromkeys(range(128, 160), 65533)


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
