"""A catalog for the tests of charrnn.text, which itself knows no corpus by name."""

from pathlib import Path
from typing import Any

from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus, encode_corpus
from charrnn.text.streams import SourceFile
from charrnn.text.vocabulary import Vocabulary

TALE = "Once upon a time there was a river.\n" * 20


class OneTale:
    """A catalog with a single corpus, named tale."""

    default = "tale"
    names = ("tale",)

    def find(self, name: str, workspace: Path, glob: str | None) -> SourceFile:
        path = workspace / "tale.txt"
        path.write_text(TALE, encoding="utf-8", newline="")
        return SourceFile(name, path, glob)


def encode(
    sources: tuple[str, ...],
    config: CorpusConfig | None = None,
    base: Vocabulary | None = None,
    **options: Any,
) -> EncodedCorpus:
    """Encode a corpus with the defaults, and with the catalog of these tests."""
    return encode_corpus(sources, config or CorpusConfig(), OneTale(), base, **options)
