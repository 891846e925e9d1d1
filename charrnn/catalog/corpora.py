"""Find corpora by name, and read any text the way training does."""

import tempfile
from pathlib import Path

from charrnn.catalog.names import CORPORA, DEFAULT, PUBLIC_CORPORA
from charrnn.errors import CorpusError
from charrnn.text.config import CORPORA_DIR, CorpusConfig
from charrnn.text.corpus import read_documents
from charrnn.text.decoding import Notice
from charrnn.text.sources import find_files
from charrnn.text.streams import SourceFile


class Catalog:
    """The built-in corpora and the public ones, which are downloaded into a folder.

    charrnn.text uses it as its NamedCorpora.
    """

    default = DEFAULT

    def __init__(self, corpora_dir: str | Path = CORPORA_DIR) -> None:
        self.corpora_dir = Path(corpora_dir)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the built-in corpora first."""
        return (*CORPORA, *PUBLIC_CORPORA)

    def find(self, name: str, workspace: Path, glob: str | None) -> SourceFile:
        """Return the file of a named corpus; a built-in one is written into the workspace.

        glob: which members of an archive to read, instead of those that the catalog names.
        Raises CorpusError for a public corpus that has not been fetched.
        """
        if name in CORPORA:
            path = workspace / f"{name}.txt"
            with path.open("w", encoding="utf-8", newline="") as file:
                file.writelines(CORPORA[name].blocks())
            return SourceFile(name, path)
        corpus = PUBLIC_CORPORA[name]
        path = self.corpora_dir / corpus.file
        if not path.is_file():
            raise CorpusError(
                f"{name} is not in {self.corpora_dir} yet; download it with: charrnn corpora fetch "
                f"{name}, or save {corpus.url} as {path}"
            )
        return SourceFile(name, path, glob or corpus.glob, corpus.sha256)


def read_text(
    source: str | Path,
    corpus_config: CorpusConfig | None = None,
    *,
    corpora_dir: str | Path = CORPORA_DIR,
    notice: Notice = lambda _: None,
) -> str:
    """Read a text into memory as training would: its documents, one after the other.

    source: whatever `train` accepts: a file, a folder, an archive, a pattern, "-" for stdin, or
    the name of a corpus.
    corpus_config: how to read it; by default as UTF-8, with its line ends unchanged.
    notice: called with each message for the user.
    Raises CorpusError if the text cannot be found, read or decoded.
    """
    config = corpus_config or CorpusConfig(keep_newlines=True)
    with tempfile.TemporaryDirectory(prefix="charrnn-") as folder:
        found = find_files((str(source),), config, Catalog(corpora_dir), workspace=Path(folder))
        for message in found.notices:
            notice(message)
        return "".join(block.text for block in read_documents(found.files, config, notice=notice))
