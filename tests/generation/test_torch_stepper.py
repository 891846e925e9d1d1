"""The torch stepper equals the numpy stepper, on the CPU and on a GPU if there is one."""

from typing import Any

import numpy as np
import pytest
import torch

import charrnn
from charrnn.errors import CharrnnError
from charrnn.generation.request import BeamConfig, SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.generation.torch_stepper import TorchStepper
from charrnn.model.cells import CELLS
from charrnn.model.config import ModelConfig
from charrnn.model.language_model import LanguageModel, export_weights

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("attention", [0, 4])
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_torch_and_numpy_steppers_agree(cell: Any, attention: int, device: str) -> None:
    """Steps, prompts and taken lanes; also many steps in a row, which a GPU replays as a graph."""
    config = ModelConfig(
        cell=cell, num_layers=2, hidden_size=5, embedding_size=3, attention=attention
    )
    model = LanguageModel(config, 7)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4, generator=generator)
    numpy_stepper = Stepper(export_weights(model), config)
    torch_stepper = TorchStepper(model.to(device))
    assert torch_stepper.vocabulary_size == 7
    ids = np.random.default_rng(0).integers(7, size=(20, 3))
    states = numpy_stepper.start(3), torch_stepper.start(3)

    def check(expected: Any, found: Any) -> None:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

    check(numpy_stepper.read(ids[:5], states[0]), torch_stepper.read(ids[:5], states[1]))
    for row in ids[5:10]:
        check(numpy_stepper.step(row, states[0]), torch_stepper.step(row, states[1]))
    for lanes in ([2, 0, 0], [1, 1, 2, 0]):
        taken = np.array(lanes)
        states = states[0].take(taken), states[1].take(taken)
        for row in ids[10:15]:
            row = np.resize(row, len(lanes))
            check(numpy_stepper.step(row, states[0]), torch_stepper.step(row, states[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.generation.torch_stepper.READ_STEPS", 3)
        rest = np.resize(ids, (7, 4))
        check(numpy_stepper.read_all(rest, states[0]), torch_stepper.read_all(rest, states[1]))
    check(numpy_stepper.step(rest[0], states[0]), torch_stepper.step(rest[0], states[1]))


def test_a_missing_device_is_reported(trained: charrnn.TrainingResult) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU")
    with pytest.raises(CharrnnError, match="`device=cuda`: not available"):
        charrnn.load(trained.folder).prepare("cuda")


@pytest.mark.parametrize("device", DEVICES)
def test_a_model_writes_the_same_with_torch(
    trained: charrnn.TrainingResult, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, other = charrnn.load(trained.folder), charrnn.load(trained.folder)
    other._device = f"{device}:0"  # the command line only does this with a GPU
    config = SamplingConfig(length=30, temperature=0)
    assert "".join(plain.sample("The ", config)) == "".join(other.sample("The ", config))
    beams = BeamConfig(num_beams=3)
    assert plain.beam_search("The ", config, beams)[0].text == (
        other.beam_search("The ", config, beams)[0].text
    )
