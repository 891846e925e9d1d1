"""One symbol at a time on a GPU, by the model's own forward pass, captured in a CUDA graph."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from charrnn.generation.layers import Floats
from charrnn.model.language_model import LanguageModel
from charrnn.text.vocabulary import Ids

WARM_UPS = 3  # steps before a capture, as torch's notes on CUDA graphs ask for
READ_STEPS = 1024  # symbols of a text in one forward pass
WORTH_A_GRAPH = 32  # steps of one state, after which more are likely to come


class TorchStepper:
    """A language model on a device, with the interface of stepper.Stepper.

    As exact as the device's own kernels: cuDNN may multiply with fewer digits (TF32).
    """

    def __init__(self, model: LanguageModel) -> None:
        """Take a model that is on its device."""
        self.model = model.eval()

    @property
    def vocabulary_size(self) -> int:
        """The number of symbols, V."""
        return len(self.model.output.bias)

    def start(self, lanes: int) -> "TorchState":
        """Return the state before any symbol: zeros, in each of B lanes."""
        return TorchState(self.model, self.model.start(lanes))

    def step(self, ids: Ids, state: "TorchState") -> Floats:
        """Read one symbol in each lane, ids (B,); return logits (B, V)."""
        return state.step(torch.from_numpy(np.asarray(ids, dtype=np.int64)))

    def read(self, ids: Ids, state: "TorchState") -> Floats:
        """Read ids (T, B), T at least 1, and return the last logits, (B, V)."""
        assert len(ids)
        for logits in self._passes(ids, state):
            last = logits[-1]
        found: Floats = last.cpu().numpy()
        return found

    def read_all(self, ids: Ids, state: "TorchState") -> Floats:
        """Read ids (T, B) and return the logits after each symbol, (T, B, V); see Stepper."""
        logits = torch.empty((*ids.shape, self.vocabulary_size), dtype=self.model.output.bias.dtype)
        done = 0
        for part in self._passes(ids, state):
            logits[done : done + len(part)] = part
            done += len(part)
        found: Floats = logits.numpy()
        return found

    def _passes(self, ids: Ids, state: "TorchState") -> Iterator[Tensor]:
        """Yield the logits (T, B, V) of READ_STEPS symbols at a time, which bounds the memory."""
        for start in range(0, len(ids), READ_STEPS):
            part = np.asarray(ids[start : start + READ_STEPS], dtype=np.int64)
            with torch.inference_mode():
                text = torch.from_numpy(part).to(state.parts[0].device)
                logits, after = self.model(text, state.parts)
                state.replace(after)
            yield logits


class TorchState:
    """A model's state in B lanes: tensors (L, B, H) that are written over by each step."""

    def __init__(self, model: LanguageModel, parts: tuple[Tensor, ...]) -> None:
        self.parts = parts
        self._model = model
        self._ids = torch.zeros((1, parts[0].shape[1]), dtype=torch.long, device=parts[0].device)
        self._logits = torch.empty(0)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._steps = 0

    def take(self, lanes: Ids) -> "TorchState":
        """Return the state with these lanes in place of its own."""
        index = torch.from_numpy(np.asarray(lanes, dtype=np.int64)).to(self.parts[0].device)
        taken = tuple(part.index_select(1, index) for part in self.parts)
        if len(lanes) != self._ids.shape[1]:
            return TorchState(self._model, taken)
        self.replace(taken)
        return self

    def replace(self, parts: tuple[Tensor, ...]) -> None:
        """Write over the state, whose place a graph knows."""
        for mine, other in zip(self.parts, parts, strict=True):
            mine.copy_(other)

    def step(self, ids: Tensor) -> Floats:
        """Read ids, (B,), and return the logits of the next symbol, (B, V)."""
        self._ids.copy_(ids[None])
        self._steps += 1
        with torch.inference_mode():
            if self._ids.is_cuda and self._steps == WORTH_A_GRAPH:
                with torch.cuda.device(self._ids.device):
                    self._graph = self._captured()
            if self._graph is None:
                self._forward()
            else:
                self._graph.replay()
        logits: Floats = self._logits.cpu().numpy()
        return logits

    def _forward(self) -> None:
        logits, after = self._model(self._ids, self.parts)
        self._logits = logits[0]
        self.replace(after)

    def _captured(self) -> "torch.cuda.CUDAGraph":
        """Record a step's kernels, which then start together: small ones take longer to start."""
        before = [part.clone() for part in self.parts]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._forward()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            self._forward()
        self.replace(tuple(before))
        return graph
