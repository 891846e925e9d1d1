"""The training loop. It emits events and never prints; what it needs is handed to it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from charrnn.errors import CheckpointError, GenerationError, TrainingError
from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.training.config import TrainingConfig
from charrnn.training.events import (
    CheckpointEvent,
    EndEvent,
    EvaluationEvent,
    Observer,
    SampleEvent,
    StepEvent,
    WarningEvent,
)
from charrnn.training.lanes import Lanes
from charrnn.training.optimization import (
    Optimizer,
    ValidationRecord,
    chunk_loss,
    learning_rate,
)
from charrnn.training.progress import VALUES

# Steps in a row without a finite gradient before a run goes back to its last good checkpoint, and
# how often it does so before it gives up.
MAX_BAD_STEPS = 20
MAX_RETURNS = 5
RETURN_FACTOR = 0.5  # of the learning rate, at each return
# A loss that is so many times that of guessing, log V, is the end of what was learned.
LOST = 2.0


@dataclass(frozen=True)
class TrainerState:
    """All that a run needs, besides its weights, to go on as if nothing had happened."""

    arrays: dict[str, NDArray[Any]]
    values: dict[str, Any]


@dataclass(frozen=True)
class Hooks:
    """What a trainer calls on for what is not training.

    validate: nats per symbol of the validation part, None where a stop broke that off; None itself
    where there is no such part.
    write_sample: a text by the model as it is at a step.
    save: commit a checkpoint with train_loss and val_loss; returns its path. Raises
    CheckpointError.
    go_back: bring weights and trainer back to a checkpoint from before the step `last_good`, if
    there is one; returns whether there is any.
    stop: asked after each step, whether the run shall end here for now.
    clock: seconds, from anywhere.
    """

    validate: Callable[[], float | None] | None
    write_sample: Callable[[int], str]
    save: Callable[["Trainer"], str]
    go_back: Callable[["Trainer"], bool]
    stop: Callable[[], bool]
    clock: Callable[[], float]


class Trainer:
    """Trains a model by truncated BPTT until a limit of its configuration is reached."""

    def __init__(
        self,
        model: LanguageModel,
        lanes: Lanes,
        config: TrainingConfig,
        hooks: Hooks,
        dropout_rng: torch.Generator,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """Take a model and lanes at their beginning; dropout_rng is on the model's device.

        precision: see chunk_loss.
        """
        self.model = model
        self.lanes = lanes
        self.config = config
        self.hooks = hooks
        self.observers: Sequence[Observer] = ()
        self.optimizer = Optimizer(model, config)
        self.device = model.output.weight.device
        self.dropout_rng = dropout_rng
        self.precision = precision
        self.state: State = model.start(lanes.batch_size)
        self.record = ValidationRecord()
        self.step = 0
        self.seconds = 0.0
        self.train_loss: float | None = None
        self.val_loss: float | None = None
        self.loss_sum = 0.0  # of the steps since the last evaluation
        self.loss_count = 0
        self.save_failed = False
        self.bad_steps = 0
        self.last_good = 0  # the last step whose loss was that of a sound model
        self.returns = 0
        self.rate_scale = 1.0
        self.evaluated_at = self.sampled_at = self.saved_at = -1
        self.planned = True  # whether a save is one that the run makes, broken off or not

    def run(self, observers: Sequence[Observer] = ()) -> EndEvent:
        """Train until a limit or a stop; evaluates and saves on the way and at the end.

        observers: called with each event.

        Raises TrainingError where the loss is no longer a number, CheckpointError where the run
        cannot be saved at its end.
        """
        self.observers = observers
        self._look_up()  # a stop may have broken off what was due at this step
        while (reason := self._finished()) is None:
            self._take_step(self.hooks.clock())
            self._look_up()
        return self._finish(reason)

    def save_first(self) -> None:
        """Save the run as it begins, so that it can go on from the beginning, and untold.

        Raises CheckpointError: what cannot be saved now had better not begin.
        """
        self.hooks.save(self)
        self.saved_at = self.step

    def _look_up(self) -> None:
        """Evaluate, sample and save where that is due at this step and was not done yet."""
        if self._due(self.config.eval_every):
            self._evaluate()
            if self.lacks_evaluation():
                return  # broken off; the rest follows when the run goes on
        if self._sample_due():
            self._write_sample()
        # The last step's checkpoint waits for the last evaluation, which belongs into it. What may
        # be lost already is not saved: there has to be something to go back to.
        due = self._due(self.config.save_every) and not self.limit_reached()
        if self._is_best() or (due and self.last_good == self.step):
            self._try_to_save()

    def progress(self) -> float:
        """Return the share of the run that is over, 0 to 1, by the limit that binds first."""
        config = self.config
        shares = [0.0]
        if config.step_limit is not None:
            shares.append(self.step / config.step_limit)
        if config.epochs is not None:
            shares.append(self.lanes.epochs_done / config.epochs)
        if config.minutes is not None:
            shares.append(self.seconds / (60 * config.minutes))
        return min(1.0, max(shares))

    def _take_step(self, began: float) -> None:
        rate = learning_rate(self.config, self.step, self.progress(), self.record.factor)
        rate *= self.rate_scale
        loss, norm, good = self._learn(rate)
        self.step += 1
        if good and loss < LOST * math.log(self.model.vocabulary_size + 1):
            self.last_good = self.step
        if good:
            self.bad_steps = 0
            self.train_loss = loss
            self.loss_sum += loss
            self.loss_count += 1
        took = self.hooks.clock() - began
        self.seconds += took
        self._emit(
            StepEvent(
                step=self.step,
                epoch=self.lanes.epochs_done,
                loss=loss,
                grad_norm=norm,
                learning_rate=rate,
                symbols_per_second=self.lanes.batch_size * self.lanes.seq_length / max(took, 1e-9),
                seconds=self.seconds,
                progress=self.progress(),
            )
        )
        if not good:
            self._count_bad_step()

    def _learn(self, rate: float) -> tuple[float, float, bool]:
        """Take one truncated-BPTT step; returns its loss, the gradient's norm, and if it counts."""
        chunk = self.lanes.next()
        inputs, targets = chunk.inputs.to(self.device), chunk.targets.to(self.device)
        loss, state = chunk_loss(
            self.model,
            inputs,
            targets,
            self._start(),
            self.dropout_rng,
            chunk.resets,
            self.precision,
        )
        norm = self.optimizer.step(loss, rate)
        value = loss.item()
        good = math.isfinite(norm) and math.isfinite(value)
        if good:
            self.state = state
        else:  # what overflowed must not be carried on
            self.state = self.model.start(self.lanes.batch_size)
        return value, norm, good

    def _start(self) -> State:
        """Return the state that a chunk begins with: the carried one, in some lanes a fresh one.

        So the model learns to begin, too, which it would else meet once in an epoch.
        """
        if not self.config.state_reset:
            return self.state
        lanes = torch.empty(self.lanes.batch_size, 1, device=self.device)
        carried = lanes.bernoulli_(1 - self.config.state_reset, generator=self.dropout_rng)
        return tuple(part * carried.to(part.dtype) for part in self.state)

    def _count_bad_step(self) -> None:
        self.bad_steps += 1
        if self.bad_steps == 1:
            message = "the gradient is not a finite number; the step was not applied"
            self._emit(WarningEvent(self.step, message))
        if self.bad_steps == MAX_BAD_STEPS:
            self._go_back()

    def _go_back(self) -> None:
        """Go on from the last good checkpoint with a smaller learning rate; time goes on."""
        step, seconds, returns, scale = self.step, self.seconds, self.returns, self.rate_scale
        failure = f"step {step:,}: no finite gradient in {MAX_BAD_STEPS} steps"
        advice = "train again with a smaller `learning_rate` or with `grad_clip=1`"
        if returns == MAX_RETURNS:
            raise TrainingError(f"{failure}, after {returns} returns; {advice}")
        if not self.hooks.go_back(self):
            raise TrainingError(f"{failure}, and no good checkpoint to go back to; {advice}")
        self.seconds = seconds
        self.returns, self.rate_scale = returns + 1, scale * RETURN_FACTOR
        message = (
            f"{failure}; back to step {self.step:,} with {self.rate_scale:g} of the learning rate"
        )
        self._emit(WarningEvent(step, message))

    def _evaluate(self) -> bool:
        """Validate, unless that has been done at this step; returns whether it was done now."""
        if self.hooks.validate is None or self.evaluated_at == self.step:
            return False
        loss = self.hooks.validate()
        if loss is None:
            return False
        self.val_loss = loss
        self.evaluated_at = self.step
        self.saved_at = -1  # what is saved of this step lacks it
        best = self.record.update(self.val_loss, self.step)
        mean = self.loss_sum / self.loss_count if self.loss_count else math.nan
        self.loss_sum, self.loss_count = 0.0, 0
        self._emit(
            EvaluationEvent(
                step=self.step,
                epoch=self.lanes.epochs_done,
                seconds=self.seconds,
                val_loss=self.val_loss,
                train_loss=mean,
                best=best,
            )
        )
        return True

    def _write_sample(self) -> None:
        self.sampled_at = self.step
        try:
            self._emit(SampleEvent(self.step, self.hooks.write_sample(self.step)))
        except GenerationError as error:
            self._emit(WarningEvent(self.step, f"no sample: {error}"))

    def _try_to_save(self) -> None:
        """Save; where that fails, the run goes on and tries again the next time. Told once."""
        message = None
        try:
            self._save()
        except CheckpointError as error:
            message = None if self.save_failed else f"{error}; the run goes on, and tries again"
            self.save_failed = True
        else:
            message = "saving works again" if self.save_failed else None
            self.save_failed = False
        if message is not None:
            self._emit(WarningEvent(self.step, message))

    def _save(self) -> None:
        if self.saved_at == self.step:
            return
        path = self.hooks.save(self)
        self.saved_at = self.step
        self._emit(CheckpointEvent(self.step, path))

    def _finish(self, reason: str) -> EndEvent:
        if reason != "interrupted":
            if self._evaluate() and self.config.sample_every is None:
                self._write_sample()
            if self.lacks_evaluation():
                reason = "interrupted"
        self.planned = reason != "interrupted"
        self._save()
        end = EndEvent(
            step=self.step,
            reason=reason,
            seconds=self.seconds,
            train_loss=self.train_loss,
            best_step=self.record.best_step,
            best_loss=self.record.best_loss,
        )
        self._emit(end)
        return end

    def limit_reached(self) -> str | None:
        """Return the limit that the run has come to, None where it has not come to any."""
        config = self.config
        if config.step_limit is not None and self.step >= config.step_limit:
            return "steps"
        if config.epochs is not None and self.lanes.epochs_done >= config.epochs:
            return "epochs"
        if config.minutes is not None and self.seconds >= 60 * config.minutes:
            return "minutes"
        if 0 < config.patience <= self.record.stale:
            return "patience"
        return None

    def lacks_evaluation(self) -> bool:
        """Whether the last evaluation of a run that came to its limit is still to be made."""
        return self.hooks.validate is not None and self.evaluated_at != self.step

    def _finished(self) -> str | None:
        """Return why the run ends here, None where it goes on."""
        return self.limit_reached() or ("interrupted" if self.hooks.stop() else None)

    def _due(self, every: int) -> bool:
        return every > 0 and self.step > 0 and self.step % every == 0

    def _sample_due(self) -> bool:
        if self.sampled_at == self.step:
            return False
        if self.config.sample_every is None:
            return self.evaluated_at == self.step
        return self._due(self.config.sample_every)

    def _is_best(self) -> bool:
        return self.record.best_step == self.step

    def _emit(self, event: Any) -> None:
        for observer in self.observers:
            observer(event)

    def state_dict(self) -> TrainerState:
        """Return all but the weights and what the run was made from."""
        optimizer = {f"optimizer/{k}": v for k, v in self.optimizer.state_arrays().items()}
        carried = {f"state/{i}": part.cpu().numpy() for i, part in enumerate(self.state)}
        rng = {"dropout_rng": self.dropout_rng.get_state().numpy()}
        values = {name: getattr(self, name) for name in VALUES}
        values |= {"record": asdict(self.record), "lanes": self.lanes.state_dict()}
        return TrainerState(optimizer | carried | rng, values)

    def load_state_dict(self, saved: TrainerState, *, same_corpus: bool = True) -> None:
        """Restore what `state_dict` returned; the weights must be those of the same moment.

        same_corpus: whether the lanes are of the same text; of another, they stay at their
        beginning, and what was validated does not count. A random state of another kind of device
        does not fit and is left out.
        Raises KeyError, TypeError, ValueError or RuntimeError for what is no such state.
        """
        values = saved.values
        for name in VALUES:
            setattr(self, name, values[name])
        self.planned = True
        self.saved_at = self.step
        arrays = saved.arrays
        if same_corpus:
            self.record = ValidationRecord(**values["record"])
            self.lanes.load_state_dict(values["lanes"])
            parts = [torch.tensor(arrays[f"state/{i}"]) for i in range(len(self.state))]
            if any(part.shape != own.shape for part, own in zip(parts, self.state, strict=True)):
                raise ValueError("its carried state has another number of lanes")
            self.state = tuple(part.to(self.device) for part in parts)
        self.optimizer.load_state_arrays(
            {
                k.removeprefix("optimizer/"): v
                for k, v in arrays.items()
                if k.startswith("optimizer/")
            }
        )
        random = torch.tensor(arrays["dropout_rng"])
        if random.shape == self.dropout_rng.get_state().shape:
            self.dropout_rng.set_state(random)
