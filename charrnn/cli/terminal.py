"""What any text may do to a terminal. Holds no rich, so that sampling starts at once."""

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {
    0x7F: 0x2421
}
_PICTURES |= dict.fromkeys(range(128, 160), 65533)


def harmless(text: str) -> str:
    """Show control characters as pictures, so that no text can steer the terminal."""
    return text.translate(_PICTURES)
