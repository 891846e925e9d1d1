"""The public names of charrnn, each once, with the module it lives in.

__init__.py reads this file to import a name when it is first used; type checkers and the API pages
read it, too.
"""

__version__: str
__all__: list[str]

from .catalog.corpora import read_text as read_text
from .catalog.download import fetch as fetch
from .catalog.names import CORPORA as CORPORA
from .catalog.names import PUBLIC_CORPORA as PUBLIC_CORPORA
from .catalog.names import NamedCorpus as NamedCorpus
from .catalog.names import PublicCorpus as PublicCorpus
from .catalog.survey import cached_corpora as cached_corpora
from .catalog.survey import clear_cache as clear_cache
from .catalog.survey import survey as survey
from .checkpoint.layout import CHECKPOINT_DIR as CHECKPOINT_DIR
from .checkpoint.layout import run_names as run_names
from .checkpoint.manifest import Manifest as Manifest
from .checkpoint.store import Checkpoint as Checkpoint
from .checkpoint.store import Run as Run
from .errors import CharrnnError as CharrnnError
from .errors import CorpusError as CorpusError
from .errors import SettingsError as SettingsError
from .errors import UndecodableError as UndecodableError
from .errors import UnknownCharacterError as UnknownCharacterError
from .errors import counted as counted
from .errors import shown_character as shown_character
from .evaluation.config import DynamicConfig as DynamicConfig
from .evaluation.copying import Report as Report
from .evaluation.score import CharacterScore as CharacterScore
from .evaluation.score import Evaluation as Evaluation
from .generation.request import BeamConfig as BeamConfig
from .generation.request import GenerationRequest as GenerationRequest
from .generation.request import SamplingConfig as SamplingConfig
from .generation.search import Beam as Beam
from .generation.stepper import blas_threads as blas_threads
from .generation.texts import Generation as Generation
from .model.config import ModelConfig as ModelConfig
from .models import Model as Model
from .models import evaluate as evaluate
from .models import load as load
from .models import sample as sample
from .runs.changes import CHANGEABLE as CHANGEABLE
from .runs.choice import PRESETS as PRESETS
from .runs.compare import Comparison as Comparison
from .runs.compare import compare as compare
from .runs.curves import Curve as Curve
from .runs.existing import is_finished as is_finished
from .runs.existing import list_runs as list_runs
from .runs.existing import remove_runs as remove_runs
from .runs.existing import rename_run as rename_run
from .runs.existing import verify as verify
from .runs.joined import joined as joined
from .runs.resume import resume as resume
from .runs.start import TrainingResult as TrainingResult
from .runs.start import train as train
from .runs.variants import Variant as Variant
from .runs.variants import variants as variants
from .text.config import CORPORA_DIR as CORPORA_DIR
from .text.config import CorpusConfig as CorpusConfig
from .text.statistics import CorpusStatistics as CorpusStatistics
from .training import events as events
from .training.config import TrainingConfig as TrainingConfig
