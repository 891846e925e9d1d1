"""Several runs on one text that differ in some settings: `charrnn.variants`."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.catalog.places import CorpusPlaces
from charrnn.checkpoint.layout import CHECKPOINT_DIR
from charrnn.errors import SettingsError
from charrnn.model.config import ModelConfig
from charrnn.runs.choice import Requested
from charrnn.runs.start import TrainingResult, origin, request_for
from charrnn.runs.watching import with_progress
from charrnn.settings import value_type
from charrnn.text.config import CORPORA_DIR, CorpusConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.events import Observer

if TYPE_CHECKING:
    from charrnn.runs.begin import Basis

MOST = 50  # runs in one call; a slip of the finger can ask for thousands


@dataclass(frozen=True)
class Variant:
    """One of several runs, ready to be trained.

    stem: what the names of all of them begin with. settings: those that differ between the runs,
    name to value of this one, in the order of `ModelConfig` and `TrainingConfig`.
    """

    stem: str
    settings: Mapping[str, Any]
    request: Requested = field(repr=False)
    basis: "Basis" = field(repr=False)
    device: str = field(repr=False)
    threads: int | None = field(repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells this run from the others, see `label`."""
        return labels(self.settings)

    @property
    def name(self) -> str:
        """The run's name: the stem and the labels, such as novel-gru-learning-rate-0.01."""
        return "-".join((self.stem, *self.labels))

    def train(
        self,
        *,
        progress: bool = False,
        observers: Sequence[Observer] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> TrainingResult:
        """Train the run; the arguments are those of `train`. Raises CharrnnError."""
        from charrnn.runs.begin import begin
        from charrnn.runs.threads import computing_on

        with with_progress(observers, progress=progress) as everyone:
            computing = computing_on(self.device, self.threads, stop)
            run, end = begin(self.basis, self.request, self.name, computing, everyone)
        return TrainingResult(run.name, run.path, end)


def variants(
    corpus: str | Path | Sequence[str | Path] = (),
    *,
    corpus_config: CorpusConfig | Mapping[str, Any] | None = None,
    model: ModelConfig | Mapping[str, Any] | None = None,
    training: TrainingConfig | Mapping[str, Any] | None = None,
    preset: str | None = None,
    run: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    init_from: str | Path | None = None,
    cache_dir: str | Path | None = None,
    corpora_dir: str | Path = CORPORA_DIR,
    device: str = "auto",
    threads: int | None = None,
    progress: bool = False,
    observers: Sequence[Observer] = (),
) -> list[Variant]:
    """Prepare one run for each combination of settings that have several values.

    model, training: names and values of settings; a list or tuple stands for several values, such
    as `{"cell": ["gru", "lstm"]}`. What is not given is chosen for each run by itself, see `train`.
    run: what the runs' names begin with; by default the name of the corpus. A word follows as it
    is, a number after the name of its setting: novel-gru-learning-rate-0.01.
    For the other arguments see `train`.
    All settings and names are checked and the corpus is read now, so that training the first run
    for an hour does not end in an error about the second. All runs have the same seed, unless
    several are given.
    Raises CharrnnError, also for more than 50 combinations.
    """
    runs = Path(checkpoint_dir)
    parent, config = origin(init_from, corpus_config, runs)
    several = _several(model or {}, training or {})
    requests = []
    for values in itertools.product(*several.values()):
        chosen = dict(zip(several, values, strict=True))
        one, other = (_with_one_of_each(given, chosen) for given in (model, training))
        requests.append(request_for(parent, config, one, other, preset))
    _check_distinct(several)
    differing = [_differing(several, request) for request in requests]
    # numpy and torch are imported now, when no mistake in the settings is left to be reported.
    from charrnn.catalog.survey import sources
    from charrnn.checkpoint.lifecycle import new_stem
    from charrnn.runs.begin import read_basis
    from charrnn.runs.threads import computing_on

    computing_on(device, threads, lambda: False)  # a device that is missing: say so first
    endings = ["".join(f"-{label}" for label in labels(settings)) for settings in differing]
    if run is not None:
        new_stem(runs, run, run, endings)  # so with names that are taken
    places = CorpusPlaces.of(cache_dir, corpora_dir)
    with with_progress(observers, progress=progress) as everyone:
        basis = read_basis(sources(corpus), config, parent, runs, places, everyone)
    stem = new_stem(runs, run, basis.corpus.name, endings)
    return [
        Variant(stem, settings, request, basis, device, threads)
        for settings, request in zip(differing, requests, strict=True)
    ]


def labels(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a run's name says of each setting: gru, learning-rate-0.01."""
    return tuple(
        value
        if isinstance(value, str)
        else f"{name.replace('_', '-')}-{str(value).removesuffix('.0')}"
        for name, value in settings.items()
    )


def _several(
    model: ModelConfig | Mapping[str, Any], training: TrainingConfig | Mapping[str, Any]
) -> dict[str, Sequence[Any]]:
    """Return the settings that have a list of values. Raises SettingsError."""
    several = _lists(ModelConfig, model) | _lists(TrainingConfig, training)
    number = math.prod(map(len, several.values()))
    if number > MOST:
        names = [f"`{name}`" for name, values in several.items() if len(values) > 1]
        raise SettingsError(
            f"{' x '.join(names)}: {number:,} runs are too many; train at most {MOST} at a time"
        )
    return several


def _lists(kind: Any, given: Any) -> dict[str, Sequence[Any]]:
    """Return the lists among some settings, in the order in which the settings are declared."""
    found: dict[str, Sequence[Any]] = {}
    for declared in fields(kind) if isinstance(given, Mapping) else ():
        values = given.get(declared.name)
        if not isinstance(values, list | tuple):
            continue
        if not values:
            raise SettingsError(f"`{declared.name}` is an empty list; name at least one value")
        if value_type(declared)[0] is bool:
            raise SettingsError(
                f"`{declared.name}` cannot have several values; train a run for each in turn"
            )
        found[declared.name] = values
    return found


def _differing(several: Mapping[str, Sequence[Any]], request: Requested) -> dict[str, Any]:
    """Return what sets a run apart, with its values as they were checked: 0 may be 0.0 now."""
    values = vars(request.model) | vars(request.training)
    return {name: values[name] for name, given in several.items() if len(given) > 1}


def _with_one_of_each(given: Any, chosen: Mapping[str, Any]) -> Any:
    """Return settings with a single value in place of each list."""
    if not isinstance(given, Mapping):
        return given
    return {name: chosen.get(name, value) for name, value in given.items()}


def _check_distinct(several: Mapping[str, Sequence[Any]]) -> None:
    """Raise SettingsError if two runs would have the same settings. The values are valid."""
    for name, values in several.items():
        for value in values:
            if values.count(value) > 1:
                raise SettingsError(f"`{name}={value}` is given twice; name each value once")
