"""Settings of the text a model learns. Holds no numpy, so that help pages answer at once."""

from typing import Literal

from pydantic import BaseModel, Field


class CorpusConfig(BaseModel, frozen=True, extra="forbid"):
    """How a corpus is read, turned into ids and split."""

    unit: Literal["char", "byte"] = Field(
        "char",
        description="What one step of the model is: a character, or a byte of UTF-8 "
        "(any text can be modelled, any prompt accepted).",
    )
    min_count: int = Field(
        1,
        ge=1,
        description="Fold characters that occur fewer times into one unknown symbol, "
        "which is never generated.",
    )
    keep_newlines: bool = Field(
        False, description="Keep CRLF and lone CR instead of turning them into LF."
    )
    val_fraction: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the corpus, cut from its end, held out for validation; 0 for none.",
    )
    val_text: str | None = Field(
        None, description="A file to validate on, in place of the end of the corpus."
    )
