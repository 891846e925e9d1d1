"""The corpora that a model can be measured on: that of its run, read again, and others."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from charrnn.catalog.corpora import Catalog
from charrnn.catalog.places import CorpusPlaces
from charrnn.checkpoint.manifest import CorpusRecord, Manifest
from charrnn.checkpoint.origin import is_own
from charrnn.errors import CorpusError, RunError
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus, encode_corpus, find_encoded
from charrnn.text.entries import Progress
from charrnn.text.store import Symbols
from charrnn.text.vocabulary import Vocabulary


def corpus_of(
    manifest: Manifest,
    vocabulary: Vocabulary,
    places: CorpusPlaces,
    *,
    sources: tuple[str, ...] = (),
    val_text: str | None = None,
    force: bool = False,
    on_progress: Progress = lambda _what, _done, _total: None,
) -> EncodedCorpus:
    """Read a run's corpus again, and make sure that it is the same.

    sources, val_text: where it and its validation text are now; by default where they were. A
    corpus that came through a pipe, or is no longer there, is taken from the cache if that has it.
    So is that of a run which someone else made: files that only such a run names are not opened.
    force: accept a corpus that has changed, as long as the vocabulary covers it.
    Raises RunError if it cannot be read or is not the same.
    """
    record, catalog = manifest.corpus, Catalog(places.corpora_dir)
    config = manifest.corpus_config
    if val_text is not None:
        config = replace(config, val_text=val_text)
    cached_copy = partial(_cached_copy, record, config, vocabulary, places)
    named_by_run = [] if sources else list(record.sources)
    if val_text is None and config.val_text is not None:
        named_by_run.append(config.val_text)
    if not set(named_by_run) <= set(catalog.names) and not is_own(manifest):
        if not sources and (copy := cached_copy()) is not None:
            return copy
        raise RunError(
            "charrnn cannot tell that you made this run on this machine, so it does not open the "
            f"files that the run names; name its corpus {record.name} yourself: `corpus=PATH`"
            + (" and `val_text=PATH`" if manifest.corpus_config.val_text is not None else "")
        )
    try:
        corpus = encode_corpus(
            sources or record.sources,
            config,
            catalog,
            vocabulary,
            cache_dir=places.cache_dir,
            recorded=not sources,
            on_progress=on_progress,
        )
    except CorpusError as error:
        if not sources and (copy := cached_copy()) is not None:
            notice = f"{error}; using its encoded copy in the cache"
            return replace(copy, notices=(*copy.notices, notice))
        raise RunError(
            f"the run's corpus {record.name} cannot be read: {error}\n"
            "  If it was moved, say where: charrnn resume RUN `corpus=PATH` (or `val_text=PATH`); "
            "charrnn eval RUN `corpus=PATH`"
        ) from error
    _check_same(corpus, record, vocabulary, force=force)
    return replace(corpus, sources=corpus.sources if sources else record.sources)


def _cached_copy(
    record: CorpusRecord, config: CorpusConfig, vocabulary: Vocabulary, places: CorpusPlaces
) -> EncodedCorpus | None:
    """Return a run's corpus from the cache, where it is known by its hash; None if not there."""
    kept = find_encoded(record.sha256, config, vocabulary, places.cache_dir)
    return None if kept is None else replace(kept, name=record.name, sources=record.sources)


def _check_same(
    corpus: EncodedCorpus, record: CorpusRecord, vocabulary: Vocabulary, *, force: bool
) -> None:
    """Raise RunError if a corpus is not the one that a run learned, or force cannot accept it."""
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


@dataclass
class ModelCorpora:
    """The corpora that a model can be measured on. Each is read once.

    path: the model file. manifest: None if it is not in a run.
    """

    path: Path
    manifest: Manifest | None
    config: CorpusConfig
    vocabulary: Vocabulary
    _learned: tuple[tuple[tuple[str, ...], str | None], EncodedCorpus] | None = field(
        default=None, init=False
    )
    _other: tuple[tuple[str, ...], EncodedCorpus] | None = field(default=None, init=False)

    def learned(
        self, places: CorpusPlaces, sources: tuple[str, ...] = (), val_text: str | None = None
    ) -> EncodedCorpus:
        """Return the corpus of the model's run.

        sources, val_text: where it and its validation text are now, if not where they were.
        Raises RunError if it is gone, has changed, or belongs to a stranger's run.
        """
        if self._learned is None or self._learned[0] != (sources, val_text):
            if self.manifest is None:
                raise RunError(
                    f"{self.path} is a model without its run, so the text it learned is not known"
                )
            corpus = corpus_of(
                self.manifest, self.vocabulary, places, sources=sources, val_text=val_text
            )
            self._learned = (sources, val_text), corpus
        return self._learned[1]

    def training_part(
        self, places: CorpusPlaces, sources: tuple[str, ...] = (), val_text: str | None = None
    ) -> Symbols:
        """Return what the run was trained on. Raises RunError."""
        try:
            return self.learned(places, sources, val_text).train
        except RunError as error:
            raise RunError(f"`dynamic` needs the text that the run learned: {error}") from error

    def validation_part(
        self, places: CorpusPlaces, sources: tuple[str, ...] = (), val_text: str | None = None
    ) -> Symbols:
        """Return what the run is validated on. Raises RunError, also if there is none."""
        if self.manifest is None:
            raise RunError(
                f"{self.path} is a model without its run, so it has no validation text; name a text"
            )
        corpus = self.learned(places, sources, val_text)
        if len(corpus.val) == 0:
            raise RunError("the run has no validation part (`val_fraction=0`); name a text")
        return corpus.val

    def other(self, places: CorpusPlaces, sources: tuple[str, ...]) -> EncodedCorpus:
        """Return another corpus, all of it in its training part. Raises CorpusError."""
        if self._other is None or self._other[0] != sources:
            whole = replace(
                self.config, val_fraction=0.0, val_text=None, split_documents=False, min_count=1
            )
            catalog = Catalog(places.corpora_dir)
            encoded = encode_corpus(
                sources, whole, catalog, self.vocabulary, cache_dir=places.cache_dir
            )
            self._other = sources, encoded
        return self._other[1]
