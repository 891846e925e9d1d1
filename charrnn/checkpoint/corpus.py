"""The corpus that a run learned, read again."""

from dataclasses import replace
from pathlib import Path

from charrnn.catalog.corpora import Catalog
from charrnn.checkpoint.manifest import Manifest
from charrnn.errors import CorpusError, RunError
from charrnn.text.config import CORPORA_DIR
from charrnn.text.encoded import EncodedCorpus, encode_corpus, find_encoded
from charrnn.text.entries import Progress
from charrnn.text.vocabulary import Vocabulary


def corpus_of(
    manifest: Manifest,
    vocabulary: Vocabulary,
    sources: tuple[str, ...] = (),
    *,
    cache_dir: Path | None = None,
    corpora_dir: Path = Path(CORPORA_DIR),
    force: bool = False,
    on_progress: Progress = lambda _what, _done, _total: None,
) -> EncodedCorpus:
    """Read a run's corpus again, and make sure that it is the same.

    sources: where it is now; by default where it was. A corpus that came through a pipe, or is no
    longer there, is taken from the cache if that has it. force: accept a corpus that has changed,
    as long as the vocabulary covers it.
    Raises RunError if it cannot be read or is not the same.
    """
    record = manifest.corpus
    try:
        corpus = encode_corpus(
            sources or record.sources,
            manifest.corpus_config,
            Catalog(corpora_dir),
            vocabulary,
            cache_dir=cache_dir,
            recorded=not sources,
            on_progress=on_progress,
        )
    except CorpusError as error:
        kept = find_encoded(record.sha256, manifest.corpus_config, vocabulary, cache_dir)
        if kept is not None and not sources:
            notice = f"{error}; using its encoded copy in the cache"
            return replace(
                kept,
                name=record.name,
                sources=record.sources,
                notices=(*kept.notices, notice),
            )
        raise RunError(
            f"the run's corpus {record.name} cannot be read: {error}\n"
            "  If it was moved, say where: charrnn resume RUN `corpus=PATH` (or `val_text=PATH`); "
            "charrnn eval RUN PATH"
        ) from error
    if len(corpus.vocabulary) > len(vocabulary) and force:
        raise RunError(
            f"the corpus {record.name} has characters that are new to the run; start a new run "
            "from its weights: charrnn train TEXT `init_from=RUN`"
        )
    if corpus.sha256 != record.sha256 and not force:
        raise RunError(
            f"the corpus {record.name} is not the one the run learned (its hash differs); restore "
            "the old text, continue with the new one by `force`, or start a new run from its "
            "weights: charrnn train TEXT `init_from=RUN`"
        )
    return replace(corpus, sources=corpus.sources if sources else record.sources)
