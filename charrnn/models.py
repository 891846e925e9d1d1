"""Trained models: load, sample, score, list, verify. Part of the public Python API.

torch is imported by the functions that need it, so that everything else starts at once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.checkpoint.format import read_checkpoint
from charrnn.checkpoint.layout import CHECKPOINT_DIR
from charrnn.checkpoint.manifest import Manifest, read_manifest
from charrnn.checkpoint.model_file import SavedModel, read_model
from charrnn.checkpoint.store import (
    Run,
    find_checkpoint,
    find_checkpoints,
    find_run_of,
    other_checkpoints,
    saved_runs,
)
from charrnn.errors import CharrnnError, CheckpointError, CorpusError, RunError, SettingsError
from charrnn.generation.encoding import EncodedRequest, encode_request, first_ids
from charrnn.generation.lane_model import LaneModel
from charrnn.generation.layers import Dense, MatrixKind
from charrnn.generation.request import BeamConfig, GenerationRequest, SamplingConfig
from charrnn.generation.search import Beam, check_memory, search_text
from charrnn.generation.stepper import Stepper, blas_threads, fastest_threads, matrix_kind
from charrnn.generation.texts import Generation, generations
from charrnn.text.config import CORPORA_DIR
from charrnn.text.decoding import transformed
from charrnn.text.vocabulary import Unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from charrnn.evaluation.config import DynamicConfig
    from charrnn.evaluation.copying import Report
    from charrnn.evaluation.score import CharacterScore, Evaluation
    from charrnn.model.language_model import LanguageModel
    from charrnn.text.encoded import EncodedCorpus
    from charrnn.text.store import Symbols


class Model:
    """A trained model, read from a checkpoint. Writes text in numpy, without torch."""

    def __init__(self, path: Path, saved: SavedModel) -> None:
        """Take what `load` read from a model.safetensors."""
        self.path = path
        self.step = saved.step
        self.config = saved.config
        self.vocabulary = saved.vocabulary
        self.corpus_config = saved.corpus_config
        self._weights = saved.weights
        self._kind: MatrixKind = Dense
        self._device = "cpu"
        self._learned: EncodedCorpus | None = None
        self._comparison: tuple[tuple[str, ...], EncodedCorpus] | None = None
        self._gradient_rms: dict[tuple[int, str], list[Tensor]] = {}  # by chunk length and device

    def prepare(self, device: str = "auto", weights: str = "float32") -> None:
        """Choose what the model runs on.

        device: auto, cpu, cuda or mps; auto is the CPU, without torch. weights: float32, or int8,
        which is faster on the CPU and slightly less exact. Raises DeviceError for a device that
        does not exist here, and SettingsError for int8 on another device or without numba.
        """
        self.__dict__.pop("stepper", None)  # one made for another device
        self._device = "cpu" if device == "auto" else device
        if weights == "int8" and self._device != "cpu":
            raise SettingsError(f"`weights=int8` and `device={device}`: int8 is for the CPU")
        self._kind = matrix_kind(weights)
        if self._device != "cpu":
            from charrnn.model.device import resolve_device

            resolve_device(self._device)

    def generate(
        self,
        request: GenerationRequest,
        *,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Iterator[Generation] | Iterator[Beam]:
        """Write the texts of a request: samples, or the results of a beam search, best first.

        on_progress: called with the number of symbols done and of all: symbols of the prompt read,
        or steps of the beam search.
        Raises UnknownCharacterError for a prompt that the model cannot read, and SettingsError for
        settings that this model cannot meet.
        """
        encoded = self._encoded_request(request)
        if request.searches:
            return iter(self._search(encoded, on_progress))
        return generations(self.stepper, encoded, on_progress=on_progress)

    def sample(
        self,
        prompt: str = "",
        config: SamplingConfig | None = None,
        *,
        unknown: Unknown = "error",
    ) -> Generation:
        """Write text after a prompt; iterate over the result for its pieces.

        unknown: what to do with prompt characters that the model does not know: "error" raises
        UnknownCharacterError, "skip" leaves them out, "replace" reads another one instead.
        """
        return next(self.samples(1, prompt, config, unknown=unknown))

    def samples(
        self,
        number: int,
        prompt: str = "",
        config: SamplingConfig | None = None,
        *,
        temperatures: Sequence[float] = (),
        unknown: Unknown = "error",
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Iterator[Generation]:
        """Write several texts after a prompt, up to 64 side by side, each with its own seed.

        The first has the seed of config; the others' seeds are derived from it, whatever the
        number. temperatures: one for each text, instead of a number; the texts then share a seed.
        on_progress: called with the number of prompt symbols read, and of all.
        """
        request = GenerationRequest(
            prompt=prompt,
            num_samples=1 if len(temperatures) else number,
            temperatures=tuple(temperatures),
            unknown=unknown,
            sampling=config or SamplingConfig(),
        )
        return generations(self.stepper, self._encoded_request(request), on_progress=on_progress)

    def beam_search(
        self,
        prompt: str = "",
        config: SamplingConfig | None = None,
        beams: BeamConfig | None = None,
        *,
        unknown: Unknown = "error",
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[Beam]:
        """Search for the most probable texts after a prompt; the best comes first.

        config: its length, stop texts, bans, n-grams and time limit apply; temperature, filters and
        seed only apply to stochastic beam search. on_progress: called with the number of steps
        done, and of all.
        """
        config, beams = config or SamplingConfig(), beams or BeamConfig()
        if not beams.beam_sampling:
            config = config.for_search()
        request = GenerationRequest(prompt=prompt, unknown=unknown, sampling=config, beams=beams)
        return self._search(self._encoded_request(request), on_progress)

    def fastest_threads(self, lanes: int = 1) -> int | None:
        """Return the number of threads to write with, for `blas_threads`: measured, 1 or all.

        lanes: how many texts are written in step.
        """
        if not isinstance(self.stepper, Stepper):
            return None
        return fastest_threads(self.stepper, lanes)

    def report(
        self,
        text: str,
        bits_per_char: float | None = None,
        *,
        ended: bool = False,
        corpus: str | Path | Sequence[str | Path] = (),
        cache_dir: str | Path | None = None,
        corpora_dir: str | Path = CORPORA_DIR,
    ) -> "Report":
        """Measure how much a text repeats itself, and how much it copies from a corpus.

        bits_per_char: how well the model predicts the text, if that is known. ended: whether the
        text is complete, so that its last word is. corpus: paths or names to compare with, as
        `train` takes them; by default the training part of the model's run. A model without its run
        then has no figures of copying. cache_dir, corpora_dir: see `evaluate`.
        Raises RunError if the run's corpus is gone or has changed, and CorpusError if a corpus
        cannot be read.
        """
        from charrnn.evaluation.copying import report

        text = transformed(text, self.corpus_config)
        if isinstance(corpus, str | Path) or len(corpus):
            encoded = self._compared(corpus, cache_dir, corpora_dir)
        elif self.manifest is None:
            return report(text, bits_per_char, self.vocabulary, None, ended=ended)
        else:
            encoded = self.learned(cache_dir, corpora_dir)
        return report(text, bits_per_char, encoded.vocabulary, encoded.train, ended=ended)

    def _compared(
        self,
        corpus: str | Path | Sequence[str | Path],
        cache_dir: str | Path | None,
        corpora_dir: str | Path,
    ) -> "EncodedCorpus":
        """Return a corpus to compare with, all of it in its training part; the last is kept."""
        from charrnn.catalog.corpora import Catalog
        from charrnn.catalog.survey import path_or_none, sources
        from charrnn.text.encoded import encode_corpus

        paths = sources(corpus)
        if self._comparison is None or self._comparison[0] != paths:
            whole = replace(
                self.corpus_config,
                val_fraction=0.0,
                val_text=None,
                split_documents=False,
                min_count=1,
            )
            catalog, cache = Catalog(corpora_dir), path_or_none(cache_dir)
            encoded = encode_corpus(paths, whole, catalog, self.vocabulary, cache_dir=cache)
            self._comparison = paths, encoded
        return self._comparison[1]

    @cached_property
    def stepper(self) -> LaneModel[Any]:
        """The model as a function from a symbol and a state to logits, made when first needed."""
        if self._device == "cpu":
            return Stepper(self._weights, self.config, self._kind)
        from charrnn.generation.torch_stepper import TorchStepper

        return TorchStepper(self._torch_model(self._device))

    def _encoded_request(self, request: GenerationRequest) -> EncodedRequest:
        request = replace(request, prompt=transformed(request.prompt, self.corpus_config))
        return encode_request(request, self.vocabulary, self.corpus_config.document_end)

    def _search(
        self, encoded: EncodedRequest, on_progress: Callable[[int, int], None]
    ) -> list[Beam]:
        check_memory(self.config, len(self.vocabulary), encoded.request)
        return search_text(self.stepper, encoded, on_progress=on_progress)

    def score(
        self,
        text: str,
        *,
        context: int | None = None,
        unknown: Unknown = "error",
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> "Iterator[CharacterScore]":
        """Yield each character of a text with its log-probability, given those before it.

        Needs no torch. `evaluate` is the sum of these. If the model learned documents or lines, the
        end of another one is read first, as in sampling; otherwise the first character is read, not
        predicted, and left out.
        context: None carries the state through the whole text; a number starts a fresh one every so
        many characters (bytes, for a byte model).
        unknown: what to do with characters that the model does not know; see `sample`. Skipped ones
        are left out.
        on_progress: called with the symbols predicted so far and in all.
        Raises UnknownCharacterError and GenerationError.
        """
        from charrnn.evaluation.score import character_scores

        symbols = self._encoded(text, unknown)
        predicted = symbols.cut(self._unpredicted(symbols), len(symbols))
        scores = self._symbol_scores(symbols, context, on_progress)
        return character_scores(predicted, self.vocabulary, scores)

    def evaluate(
        self,
        text: str | None = None,
        *,
        context: int | None = None,
        dynamic: "DynamicConfig | None" = None,
        unknown: Unknown = "error",
        device: str = "auto",
        threads: int | None = None,
        cache_dir: str | Path | None = None,
        corpora_dir: str | Path = CORPORA_DIR,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
        on_gradients: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> "Evaluation":
        """Return the nats, bits and perplexity per character of a text.

        text: None for the validation part of the run that the model is from.
        context, unknown: see `score`.
        dynamic: let the model learn from the text as it reads it (dynamic evaluation); each text
        starts from the trained weights, which stay as they are.
        device: auto is the CPU, without torch; dynamic evaluation takes an accelerator if it can.
        threads: of the CPU; measured by default.
        cache_dir: the folder of encoded corpora; by default the user's cache folder.
        corpora_dir: the folder of fetched corpora.
        on_progress: called with the symbols predicted so far and in all. on_gradients: before that,
        the first time for a dynamic_length, with the chunks that gradients were computed for.
        Raises UnknownCharacterError, CorpusError for a text with nothing to predict, RunError if
        the run's corpus is needed and is gone or has changed, GenerationError if the model's
        numbers overflow, SettingsError for dynamic with a context, and TrainingError if learning
        diverges.
        """
        if dynamic is not None and context is not None:
            raise SettingsError(
                "`dynamic` and `context=N`: choose one; `dynamic` carries the state"
            )
        if text is None:
            symbols = self._validation_part(cache_dir, corpora_dir)
        else:
            symbols = self._encoded(text, unknown)
        first = self._unpredicted(symbols)
        if len(symbols) <= first:
            raise CorpusError(
                f"a text of at least {2 if text is None or not self._lead else 1} characters that "
                "the model knows is needed"
            )
        from charrnn.evaluation.score import evaluation

        if dynamic is None:
            if device not in ("auto", self._device):
                self.prepare(device)
            with blas_threads(threads or self.fastest_threads()):
                scores = self._symbol_scores(symbols, context, on_progress)
                log_probability = math.fsum(float(block.sum()) for block in scores)
        else:
            learned = self._training_part(cache_dir, corpora_dir)
            log_probability = self._dynamic(
                symbols, learned, dynamic, device, threads, on_progress, on_gradients
            )
            first = 1
        return evaluation(log_probability, symbols.cut(first, len(symbols)), self.vocabulary)

    @property
    def _lead(self) -> list[int]:
        """What is read before a text: the end of another document, if the model learned any."""
        end = self.corpus_config.document_end
        return first_ids(self.vocabulary, end) if end else []

    def _encoded(self, text: str, unknown: Unknown) -> "Symbols":
        from charrnn.text.encoded import encode_text

        return encode_text(text, self.vocabulary, self.corpus_config, unknown, lead=self._lead)

    def _unpredicted(self, symbols: "Symbols") -> int:
        """Return how many symbols at the beginning are only read: the bytes of one character."""
        first = symbols[:4].tolist()
        if self.vocabulary.unit == "char":
            return min(len(first), 1)
        return next((i for i, byte in enumerate(first) if i and byte & 0xC0 != 0x80), len(first))

    def _symbol_scores(
        self, symbols: "Symbols", context: int | None, on_progress: Callable[[int, int], None]
    ) -> "Iterator[NDArray[np.float64]]":
        """Yield ln p of the symbols behind those that are only read."""
        from charrnn.evaluation.score import symbol_scores

        skipped = self._unpredicted(symbols) - 1
        for block in symbol_scores(self.stepper, symbols, context=context, on_progress=on_progress):
            yield block[skipped:]
            skipped = max(skipped - len(block), 0)

    def _dynamic(
        self,
        symbols: "Symbols",
        learned: "Symbols",
        config: "DynamicConfig",
        device: str,
        threads: int | None,
        on_progress: Callable[[int, int], None],
        on_gradients: Callable[[int, int], None],
    ) -> float:
        """Return ln p of a text under dynamic evaluation."""
        from charrnn.evaluation.dynamic import dynamic_nats, gradient_rms
        from charrnn.model.device import torch_threads

        model = self._torch_model(device)
        done = 0

        def report(predicted: int) -> None:
            nonlocal done
            done += predicted
            on_progress(done, len(symbols) - 1)

        with torch_threads(threads):
            length, rms = config.dynamic_length, self._gradient_rms
            if (key := (length, str(model.output.weight.device))) not in rms:
                rms[key] = gradient_rms(model, learned, length, on_gradients)
            return -dynamic_nats(model, symbols, rms[key], config, report)

    def _torch_model(self, device: str) -> "LanguageModel":
        from charrnn.model.device import resolve_device
        from charrnn.model.language_model import LanguageModel, load_weights

        model = LanguageModel(self.config, len(self.vocabulary))
        load_weights(model, self._weights)
        return model.to(resolve_device(device))

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(array.size for array in self._weights.values())

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest of its checkpoint; None for a model.safetensors by itself."""
        try:
            return read_manifest(self.path.parent)
        except CheckpointError:
            return None

    def learned(
        self, cache_dir: str | Path | None = None, corpora_dir: str | Path = CORPORA_DIR
    ) -> "EncodedCorpus":
        """Return the corpus of the model's run; it is read once.

        Raises RunError if it is gone or has changed.
        """
        if self._learned is None:
            if self.manifest is None:
                raise RunError(
                    f"{self.path} is a model without its run, so the text it learned is not known"
                )
            from charrnn.checkpoint.corpus import corpus_of

            self._learned = corpus_of(
                self.manifest,
                self.vocabulary,
                cache_dir=None if cache_dir is None else Path(cache_dir),
                corpora_dir=Path(corpora_dir),
            )
        return self._learned

    def _training_part(self, cache_dir: str | Path | None, corpora_dir: str | Path) -> "Symbols":
        try:
            return self.learned(cache_dir, corpora_dir).train
        except RunError as error:
            raise RunError(f"`dynamic` needs the text that the run learned: {error}") from error

    def _validation_part(self, cache_dir: str | Path | None, corpora_dir: str | Path) -> "Symbols":
        if self.manifest is None:
            raise RunError(
                f"{self.path} is a model without its run, so it has no validation text; name a text"
            )
        corpus = self.learned(cache_dir, corpora_dir)
        if len(corpus.val) == 0:
            raise RunError("the run has no validation part (`val_fraction=0`); name a text")
        return corpus.val


def load(
    model: str | Path | None = None,
    *,
    checkpoint: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    notice: Callable[[str], None] = lambda _: None,
) -> Model:
    """Read a model.

    model: a run's name, a run's folder, a checkpoint's folder or a model.safetensors; by default
    the newest run. checkpoint: latest, best or a step, of a run; by default the best.
    notice: called with what the user should know: checkpoints that cannot be read.
    Raises RunError if there is no such model, CheckpointError if it is damaged.
    """
    while True:
        path = find_checkpoint(model, Path(checkpoint_dir), checkpoint, "best")
        for folder in find_run_of(path).unreadable:
            notice(f"{folder}: cannot be read and is skipped; charrnn info `verify` says why")
        try:
            return Model(path, read_model(path))
        except CheckpointError as error:
            if not path.parent.exists():  # deleted just now by the run, which is still training
                continue
            raise CheckpointError(f"{error}{other_checkpoints(path)}") from error


def sample(
    model: str | Path | None = None,
    prompt: str = "",
    config: SamplingConfig | None = None,
    *,
    checkpoint: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    unknown: Unknown = "error",
) -> Generation:
    """Write text with a model: `load` and `Model.sample` in one."""
    loaded = load(model, checkpoint=checkpoint, checkpoint_dir=checkpoint_dir)
    return loaded.sample(prompt, config, unknown=unknown)


def evaluate(
    model: str | Path | None = None,
    text: str | None = None,
    *,
    checkpoint: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    context: int | None = None,
    dynamic: "DynamicConfig | None" = None,
    unknown: Unknown = "error",
    device: str = "auto",
    threads: int | None = None,
) -> "Evaluation":
    """Score a text, or the run's own validation part: `load` and `Model.evaluate` in one."""
    loaded = load(model, checkpoint=checkpoint, checkpoint_dir=checkpoint_dir)
    return loaded.evaluate(
        text, context=context, dynamic=dynamic, unknown=unknown, device=device, threads=threads
    )


def list_runs(checkpoint_dir: str | Path = CHECKPOINT_DIR) -> list[Run]:
    """Return the runs under a folder that have a checkpoint, the newest first."""
    return saved_runs(Path(checkpoint_dir))


def verify(
    model: str | Path | None = None, *, checkpoint_dir: str | Path = CHECKPOINT_DIR
) -> dict[Path, str | None]:
    """Check every checkpoint of the run that MODEL means, or a single model file.

    Returns each path with None if it is sound, else with what is wrong.
    """
    findings: dict[Path, str | None] = {}
    for path in find_checkpoints(model, Path(checkpoint_dir)):
        try:
            if path.is_file():
                read_model(path)
            else:
                read_checkpoint(path)
            findings[path] = None
        except CharrnnError as error:
            if path.exists():  # not deleted just now by the run, which may still be training
                findings[path] = str(error)
    return findings
