"""Settings of the text a model learns. Holds no numpy, so that help pages answer at once."""

from dataclasses import dataclass
from typing import Literal

from charrnn.settings import check, setting


@dataclass(frozen=True)
class CorpusConfig:
    """How a corpus is read, turned into ids and split."""

    unit: Literal["char", "byte"] = setting(
        "char",
        help="What one step of the model is: a character, or a byte of UTF-8 "
        "(any text can be modelled, any prompt accepted).",
    )
    min_count: int = setting(
        1,
        ge=1,
        help="Fold characters that occur fewer times into one unknown symbol, "
        "which is never generated.",
    )
    keep_newlines: bool = setting(
        False, help="Keep CRLF and lone CR instead of turning them into LF."
    )
    val_fraction: float = setting(
        0.1,
        ge=0,
        lt=1,
        help="Share of the corpus, cut from its end, held out for validation; 0 for none.",
    )
    val_text: str | None = setting(
        None,
        help="A file to validate on, in place of the end of the corpus; its characters "
        "join the vocabulary.",
    )

    def __post_init__(self) -> None:
        check(self)

    def inherited(self) -> "CorpusConfig":
        """Return what a run takes over that starts from a model of this one: how text is read."""
        return CorpusConfig(unit=self.unit, keep_newlines=self.keep_newlines)
