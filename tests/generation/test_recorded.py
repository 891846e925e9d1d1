"""Texts of a fixed model, as they were recorded: a seed writes the same text in later versions."""

from typing import Any

import numpy as np
import pytest

from charrnn.generation.beam import search
from charrnn.generation.encoding import encode_request
from charrnn.generation.frontier import Constraints
from charrnn.generation.request import BeamConfig, GenerationRequest, SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.generation.texts import generations
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.model.specs import CellName
from charrnn.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary("char", tuple("abcdefgh"))


def fixed_stepper(cell: CellName = "lstm") -> Stepper:
    """A model whose weights do not depend on the random numbers of a version of numpy."""
    config = ModelConfig(cell=cell, num_layers=2, hidden_size=6, embedding_size=3)
    shapes = parameter_shapes(config, len(VOCABULARY))
    return Stepper(
        {
            name: 3 * np.sin(7 * k + 1.7 * np.arange(1, np.prod(shape) + 1) ** 1.5).reshape(shape)
            for k, (name, shape) in enumerate(shapes.items())
        },
        config,
    )


def written(number: int = 1, cell: CellName = "lstm", **values: Any) -> list[str]:
    sampling = SamplingConfig(**({"length": 30, "seed": 5} | values))
    request = GenerationRequest(prompt="a", num_samples=number, sampling=sampling)
    texts = generations(fixed_stepper(cell), encode_request(request, VOCABULARY))
    return ["".join(text) for text in texts]


def found(constraints: Constraints, **values: Any) -> list[str]:
    beams = BeamConfig(**({"num_beams": 4, "num_return_sequences": 2} | values))
    rng = np.random.default_rng(3)
    texts = search(fixed_stepper(), [0], SamplingConfig(length=12), beams, constraints, rng=rng)
    return [VOCABULARY.decode(text.ids) for text in texts]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("lstm", "fgfeceecdhhdhhhhhhhafdhafgdhha"),
        ("peephole-lstm", "hheeaeeaaheaehhheeeaeaeaeeaeea"),
        ("layernorm-lstm", "aaaaaaaaadaaaaaaaaaaaaaaaaaaaa"),
        ("gru", "dahddhhadhhhhhhhhhhdhhhhhhhhha"),
        ("rnn", "aadaadaaahedaafadaaddddbaaaddd"),
    ],
)
def test_a_seed_writes_its_recorded_text(cell: CellName, text: str) -> None:
    """Each cell writes what it wrote when this was recorded."""
    assert written(cell=cell) == [text]


@pytest.mark.parametrize(
    ("number", "values", "texts"),
    [
        (2, {}, ["fgfeceecdhhdhhhhhhhafdhafgdhha", "eecfefefegegeegffeeegffgeegegh"]),
        (1, {"temperature": 0.0}, ["eegeegeegeegeegeegeegeegeegeeg"]),
        (1, {"temperature_schedule": "0.5:2"}, ["fgfeceecdhhdghhhdghafegafgeggc"]),
        (1, {"top_p": 0.8}, ["fgfecghdahhdhhhhhhhdhdhafgdhhd"]),
        (1, {"top_k": 4, "no_repeat_ngram_size": 4}, ["fgfeceecehgdhhhhdhhafdhafgdhga"]),
    ],
)
def test_settings_write_their_recorded_texts(
    number: int, values: dict[str, Any], texts: list[str]
) -> None:
    """A batch, temperatures and filters draw as they did when this was recorded."""
    assert written(number, **values) == texts


@pytest.mark.parametrize(
    ("stops", "values", "texts"),
    [
        ([], {}, ["eegeghhhhhhh", "eegeghhhhhdh"]),
        ([[3, 0], [6]], {}, ["eeg", "eeeg"]),
        ([], {"num_beam_groups": 2}, ["eegeegeegeeg", "eegeegeegeeg"]),
        (
            [],
            {"num_beam_groups": 2, "diversity_penalty": 1.0},
            ["eegeegeegeeg", "gfecghhhhhhh"],
        ),
        ([], {"beam_sampling": True}, ["gegeegegfehg", "edhhdhhhhhdh"]),
    ],
)
def test_beams_find_their_recorded_texts(
    stops: list[list[int]], values: dict[str, Any], texts: list[str]
) -> None:
    """Each kind of beam search finds what it found when this was recorded."""
    assert found(Constraints(stops=stops), **values) == texts
