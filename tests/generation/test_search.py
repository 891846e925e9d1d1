"""Beam search, from a request to texts."""

from typing import Any

import pytest

from charrnn.errors import SettingsError
from charrnn.generation.encoding import encode_request
from charrnn.generation.request import BeamConfig, GenerationRequest, SamplingConfig
from charrnn.generation.search import Beam, check_memory, search_text
from charrnn.generation.texts import generations
from charrnn.model.config import ModelConfig
from charrnn.text.vocabulary import BYTES
from tests.generation.test_sampling import Reciter
from tests.generation.test_texts import LETTERS, STEPPER

ALL = len(LETTERS) ** 3  # texts of three characters


def found(
    prompt: str = "ab a",
    *,
    end: str = "",
    unknown: Any = "error",
    beams: int = 6,
    **values: Any,
) -> list[Beam]:
    request = GenerationRequest(
        prompt=prompt,
        unknown=unknown,
        sampling=SamplingConfig(**({"length": 6} | values)),
        beams=BeamConfig(num_beams=beams, num_return_sequences=beams),
    )
    return search_text(STEPPER, encode_request(request, LETTERS, end))


@pytest.mark.parametrize("included", [False, True])
def test_a_text_ends_before_or_after_its_stop_text(included: bool) -> None:
    texts = found(stop=("b", "1a"), include_stop=included, length=3, beams=ALL)
    assert {text.stop_reason for text in texts} == {"length", "stop"}
    for beam in texts:
        if beam.stop_reason == "stop":
            assert beam.text.endswith(("b", "1a")) == included
        assert beam.characters == len(beam.text)
        assert "b" not in beam.text[:-1]


def test_the_end_of_a_document_is_not_written() -> None:
    texts = found(end="\n", length=3, beams=ALL)
    assert "end" in {beam.stop_reason for beam in texts}
    assert not any("\n" in beam.text for beam in texts)


def test_an_end_does_not_begin_before_the_document() -> None:
    """The end is two line ends, and one of them is read before the first character."""
    for beam in found("", end="\n\n", length=3, beams=ALL):
        assert beam.stop_reason in ("end", "length")
        assert beam.stop_reason == "length" or not beam.text.endswith("\n")


def test_a_stop_text_may_begin_in_the_prompt_as_read() -> None:
    """The é of the prompt is replaced by a space, in which a stop text may begin."""
    texts = found("bé", unknown="replace", stop=(" a",), length=3, beams=ALL)
    assert "stop" in {beam.stop_reason for beam in texts}
    for beam in texts:
        assert beam.prompt == "bé"
        assert not (" " + beam.text).endswith(" a") or beam.stop_reason != "stop"
    request = GenerationRequest(
        prompt="bé",
        unknown="replace",
        sampling=SamplingConfig(length=50, stop=(" a",), temperature=0),
    )
    for generation in generations(STEPPER, encode_request(request, LETTERS)):
        assert " a" not in " " + "".join(generation)


def test_a_text_of_bytes_ends_with_a_whole_character() -> None:
    """This model knows two characters of three bytes each by heart; the length is four bytes."""
    request = GenerationRequest(prompt="x", sampling=SamplingConfig(length=4))
    reciter = Reciter([*BYTES.encode("x日本").tolist()], len(BYTES))
    (beam,) = search_text(reciter, encode_request(request, BYTES))
    assert (beam.text, beam.stop_reason) == ("日", "length")


def test_the_bits_count_what_was_drawn() -> None:
    for beam in found(stop=("b",)):
        drawn = len(beam.text) + (beam.stop_reason == "stop")
        assert beam.bits_per_char == pytest.approx(-beam.log_probability / drawn / 0.69314718)


def test_beams_that_exceed_the_memory_are_refused() -> None:
    def check(length: int, beams: int) -> None:
        model = ModelConfig(num_layers=2, hidden_size=512)
        sampling, search = SamplingConfig(length=length), BeamConfig(num_beams=beams)
        check_memory(model, 65, GenerationRequest(sampling=sampling, beams=search))

    check(100, 8_000)
    for length, beams in ((100, 65_536), (10**7, 8_000)):
        with pytest.raises(SettingsError, match=rf"`num_beams={beams:,}`: needs about .* GiB"):
            check(length, beams)


def test_a_search_does_not_find_an_empty_document() -> None:
    """But a prompt may already be complete, and a stop text may come at once."""

    def empty(prompt: str = "", **values: Any) -> list[Beam]:
        return [beam for beam in found(prompt, length=3, beams=ALL, **values) if not beam.text]

    assert empty(end="\n") == []
    assert [beam.stop_reason for beam in empty("a", end="\n")] == ["end"]
    assert [beam.stop_reason for beam in empty(stop=("a",), end="\n")] == ["stop"]


def test_a_found_text_knows_the_ending_that_it_leaves_out() -> None:
    for beam in found("a", stop=("b", "1a"), end="\n", length=3, beams=ALL):
        whole = "a" + beam.text + beam.ending
        assert bool(beam.ending) == (beam.stop_reason != "length")
        assert beam.stop_reason == "length" or whole.endswith(("b", "1a", "\n"))
