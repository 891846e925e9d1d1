"""Training events in words: lines and facts that the terminal and a notebook both show."""

import math
from collections.abc import Callable, Sequence

from charrnn.errors import counted
from charrnn.render.numbers import bits, duration, size
from charrnn.training.events import EndEvent, EvaluationEvent, StartEvent, StepEvent, Verdict
from charrnn.training.limits import seconds_left

WORTH_A_BAR = 10_000_000  # bytes of a corpus that take a noticeable time to read


def run_facts(event: StartEvent) -> dict[str, str]:
    """Describe a run that begins: its corpus, its model, and what it needs."""
    unit = "characters" if event.unit == "char" else "bytes"
    documents = f" in {event.documents:,} documents" if event.documents > 1 else ""
    validation = f"{event.val_symbols:,} for validation" if event.val_symbols else "no validation"
    symbol = "character" if event.unit == "char" else "byte"
    chunk = f"{counted(event.batch_size, 'lane')} x {counted(event.seq_length, symbol)}"
    facts = {
        "run": f"{event.run} in {event.folder}",
        "corpus": f"{event.corpus}: {event.characters:,} characters{documents}",
        "split": f"{event.train_symbols:,} {unit} for training, {validation}",
        "vocabulary": f"{event.vocabulary_size:,} {unit}",
        "model": model_line(event),
        "chunks": f"{chunk}, {counted(event.steps_per_epoch, 'step')} per epoch",
        "device": f"{event.device}, {counted(event.threads, 'CPU thread')}, {event.precision}; "
        f"about {size(event.memory_bytes, 'B')} for weights and activations",
    }
    if event.step:
        facts["resumed"] = f"after step {event.step:,}"
    if event.expected_seconds is not None:
        more = " more" if event.step else ""
        time = duration(max(1.0, event.expected_seconds))
        about = "at most" if event.training["patience"] else "about"
        facts["time"] = f"{about} {time}{more}, evaluations included"
    return facts


def model_line(event: StartEvent) -> str:
    """Describe the model of a run in one line."""
    model = event.model
    size_of_input = model["embedding_size"]
    embedding = f"embedding {size_of_input}" if size_of_input else "one-hot input"
    window = model.get("attention")  # the log of an earlier version has none
    attention = f"attention over {counted(window, 'step')}, " if window else ""
    return (
        f"{model['num_layers']} x {model['hidden_size']} {model['cell']}, {embedding}, {attention}"
        f"dropout {model['dropout']:g}: {event.parameters:,} parameters"
    )


def evaluation_line(event: EvaluationEvent) -> str:
    """Describe an evaluation in one line of fixed columns, without the word for the best."""
    train = "" if not math.isfinite(event.train_loss) else f"  train {event.train_loss:.4f}"
    return (
        f"step {event.step:>6,}  epoch {event.epoch:5.2f}  {duration(event.seconds):>6}"
        f"{train}  val {event.val_loss:.4f} ({bits(event.val_loss):.3f} bits)"
    )


def end_line(event: EndEvent) -> str:
    """Say how far a run came."""
    return f"step {event.step:,} after {duration(event.seconds)} of training"


def best_line(event: EndEvent, unit: str) -> str:
    """Say what the best evaluation of a run was; there must be one. unit: char or byte."""
    assert event.best_loss is not None
    loss = f"{event.best_loss:.4f} ({bits(event.best_loss):.3f} bits/{unit})"
    line = f"validation {loss} at step {event.best_step:,}"
    if event.full_loss is None or event.full_symbols is None:
        return line
    units = counted(event.full_symbols, "character" if unit == "char" else unit)
    return f"{line}; {event.full_loss:.4f} on {units}"


def verdict_line(
    verdict: Verdict,
    steps: int,
    resume: Callable[[Sequence[str]], str],
    wording: Callable[[str], str],
) -> str:
    """Say what a run's curve shows and what to try.

    steps: of the run. resume: how it is resumed with settings as they are shown. wording: turns a
    message that names settings in backticks into what is shown.
    """
    tried = [wording(f"`{name}={_typed(value)}`") for name, value in verdict.settings.items()]
    if verdict.kind == "falling":
        assert verdict.gain is not None
        # Rounded down, since the estimate should err on the low side.
        gain = math.floor(100 * verdict.gain + 1e-6) / 100
        return f"still falling: about {gain:.2f} nats less with {resume(tried)}"
    if verdict.kind == "overfitting":
        what = f"overfitting since step {verdict.since:,} of {steps:,}, whose checkpoint is kept"
        return f"{what}; try {', '.join([*tried, 'or more text']) if tried else 'more text'}"
    since = "" if verdict.since is None else f" since step {verdict.since:,}"
    return f"the learning rate was too high{since}; try {tried[0]}"


def _typed(value: float) -> str:
    """Write a setting as a command reads it."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def time_left(event: StepEvent) -> str:
    """Estimate how long a run will take from here; "" before there is anything to go by."""
    left = seconds_left(event.seconds, event.progress)
    return f"{duration(left)} left" if left is not None and math.isfinite(left) else ""


def fitted(parts: Sequence[str], gap: str, room: int) -> str:
    """Join the parts that fit into a line; the first always does, and earlier ones go first."""
    text = parts[0]
    for part in parts[1:]:
        if part and len(text + gap + part) <= room:
            text += gap + part
    return text
