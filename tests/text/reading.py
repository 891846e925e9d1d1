"""Read corpora in the tests of charrnn.text, with a catalog of one corpus."""

from pathlib import Path
from typing import Any

from charrnn.text.config import CorpusConfig
from charrnn.text.corpus import read_documents
from charrnn.text.encoded import EncodedCorpus, encode_corpus
from charrnn.text.sources import Found, find_files
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


def find(*sources: str | Path, folder: Path, recorded: bool = False, **settings: Any) -> Found:
    """Find the files of a corpus; folder: where to put its workspace."""
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    return find_files(
        tuple(map(str, sources)),
        CorpusConfig(**settings),
        OneTale(),
        workspace=workspace,
        recorded=recorded,
    )


def text_of(found: Found, notices: list[str] | None = None, **settings: Any) -> str:
    """Read all files into one text; append notices to the list."""
    notice = (notices if notices is not None else []).append
    blocks = read_documents(found.files, CorpusConfig(**settings), notice=notice)
    return "".join(block.text for block in blocks)


def write(path: Path, text: str) -> tuple[str]:
    """Write a text as it is; returns the sources of a corpus."""
    path.write_text(text, encoding="utf-8", newline="")
    return (str(path),)


def both(corpus: EncodedCorpus) -> tuple[str, str]:
    """Return the text to train on and the text to validate on."""
    decode = corpus.vocabulary.decode
    return decode(corpus.train[:].tolist()), decode(corpus.val[:].tolist())
