"""Trained models: load, sample, score. Part of the public Python API.

torch is imported by the functions that need it, so that everything else starts at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.catalog.places import CorpusPlaces
from charrnn.catalog.survey import sources
from charrnn.checkpoint.layout import CHECKPOINT_DIR
from charrnn.checkpoint.manifest import Manifest, read_manifest
from charrnn.checkpoint.model_file import SavedModel, read_model
from charrnn.checkpoint.store import find_checkpoint, other_checkpoints, unreadable_beside
from charrnn.errors import CheckpointError, SettingsError
from charrnn.generation.encoding import EncodedRequest, encode_request
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
    from charrnn.checkpoint.corpus import ModelCorpora
    from charrnn.evaluation.config import DynamicConfig
    from charrnn.evaluation.copying import Report
    from charrnn.evaluation.dynamic import GradientRms
    from charrnn.evaluation.score import CharacterScore, Evaluation
    from charrnn.model.language_model import LanguageModel


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
        After config.max_seconds no further text is begun.
        on_progress: called with the number of prompt symbols read, and of all.
        """
        if len(temperatures) and number not in (1, len(temperatures)):
            raise SettingsError("`temperatures` and `num_samples`: choose one")
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
        places = CorpusPlaces.of(cache_dir, corpora_dir)
        if others := sources(corpus):
            encoded = self.corpora.other(places, others)
        elif self.manifest is None:
            return report(text, bits_per_char, self.vocabulary, None, ended=ended)
        else:
            encoded = self.corpora.learned(places)
        return report(text, bits_per_char, encoded.vocabulary, encoded.train, ended=ended)

    @cached_property
    def stepper(self) -> LaneModel[Any]:
        """The model as a function from a symbol and a state to logits, made when first needed."""
        return self._make_stepper(self._device)

    def _make_stepper(self, device: str) -> LaneModel[Any]:
        if device == "cpu":
            return Stepper(self._weights, self.config, self._kind)
        from charrnn.generation.torch_stepper import TorchStepper

        return TorchStepper(self._torch_model(device))

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
        from charrnn.evaluation.scored_text import ScoredText, check_context

        check_context(context)
        scored = ScoredText.of_text(text, self.vocabulary, self.corpus_config, unknown)
        return scored.characters(self.stepper, context, on_progress)

    def evaluate(
        self,
        text: str | None = None,
        *,
        context: int | None = None,
        dynamic: "DynamicConfig | None" = None,
        unknown: Unknown = "error",
        device: str = "auto",
        threads: int | None = None,
        corpus: str | Path | Sequence[str | Path] = (),
        val_text: str | Path | None = None,
        cache_dir: str | Path | None = None,
        corpora_dir: str | Path = CORPORA_DIR,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
        on_gradients: Callable[[int, int], None] = lambda _done, _total: None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> "Evaluation":
        """Return the nats, bits and perplexity per character of a text.

        text: None for the validation part of the run that the model is from.
        context, unknown: see `score`.
        dynamic: let the model learn from the text as it reads it (dynamic evaluation); each text
        starts from the trained weights, which stay as they are.
        device: auto is the CPU, without torch; dynamic evaluation takes an accelerator if it can.
        With the int8 weights of `prepare`, so are the figures.
        threads: of the CPU; measured by default.
        corpus, val_text: where the run's corpus and its validation text are, if they were moved or
        someone else made the run.
        cache_dir: the folder of encoded corpora; by default the user's cache folder.
        corpora_dir: the folder of fetched corpora.
        on_progress: called with the symbols predicted so far and in all. on_gradients: the same for
        the gradients that dynamic evaluation computes first. notice: called if characters are
        skipped or replaced, or read without being predicted.
        Raises UnknownCharacterError, CorpusError if there is nothing to predict, RunError if the
        run's corpus is needed and is gone or has changed, GenerationError if numbers overflow,
        SettingsError for dynamic with a context, and TrainingError if learning diverges.
        """
        if dynamic is not None and context is not None:
            raise SettingsError("`dynamic` and `context`: choose one; `dynamic` carries the state")
        if text is not None and dynamic is None and sources(corpus):
            raise SettingsError("`corpus` and a text: choose one, unless `dynamic` needs both")
        from charrnn.evaluation.scored_text import ScoredText, check_context

        check_context(context)
        val_path = None if val_text is None else str(val_text)
        where = CorpusPlaces.of(cache_dir, corpora_dir), sources(corpus), val_path
        if text is None:
            scored = ScoredText.of_symbols(self.corpora.validation_part(*where), self.vocabulary)
        else:
            scored = ScoredText.of_text(text, self.vocabulary, self.corpus_config, unknown, notice)
        scored.check_length()
        for message in scored.notices():
            notice(message)
        if dynamic is not None:
            learned = self.corpora.training_part(*where)
            from charrnn.model.device import torch_threads

            with torch_threads(threads):
                model = self._torch_model(device)
                rms = self._gradient_rms.of(model, learned, dynamic.dynamic_length, on_gradients)
                return scored.dynamic_evaluation(model, rms, dynamic, on_progress)
        stepper = self.stepper
        if device not in ("auto", self._device):
            stepper = self._make_stepper(device)
        threads = self.fastest_threads() if threads is None else threads
        with blas_threads(threads):
            return scored.evaluation(stepper, context, on_progress)

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

    @cached_property
    def _gradient_rms(self) -> "GradientRms":
        from charrnn.evaluation.dynamic import GradientRms

        return GradientRms()

    @cached_property
    def corpora(self) -> "ModelCorpora":
        """The corpora that the model can be measured on: that of its run, and others."""
        from charrnn.checkpoint.corpus import ModelCorpora

        return ModelCorpora(self.path, self.manifest, self.corpus_config, self.vocabulary)


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
    notice: called with what the user should know: runs and checkpoints that cannot be read.
    Raises RunError if there is no such model, CheckpointError if it is damaged.
    """
    while True:
        path = find_checkpoint(model, Path(checkpoint_dir), checkpoint, "best", notice)
        for folder in unreadable_beside(path):
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
