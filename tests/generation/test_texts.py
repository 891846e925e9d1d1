"""Generated texts: where they end, what they may contain, and their independence."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.errors import NoTextError, SettingsError
from charrnn.generation.encoding import encode_request
from charrnn.generation.filters import log_softmax
from charrnn.generation.request import MAX_LANES, GenerationRequest, SamplingConfig
from charrnn.generation.sampling import derived_seed
from charrnn.generation.stepper import Stepper
from charrnn.generation.texts import Generation, generations
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.text.vocabulary import BYTES, Vocabulary
from tests.generation.table_model import same_everywhere

LETTERS = Vocabulary("char", tuple("\n ab1。"))
PROMPT = "ab a"


def random_stepper(vocabulary: Vocabulary = LETTERS, size: float = 1.0) -> Stepper:
    """A random model in float64, in which rounding never decides a draw."""
    config = ModelConfig(num_layers=2, hidden_size=6, embedding_size=3)
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(config, len(vocabulary))
    return Stepper({k: size * rng.normal(size=shape) for k, shape in shapes.items()}, config)


STEPPER = random_stepper()
FLAT = random_stepper(size=0.1)  # all symbols are about equally probable


def begun(
    number: int = 1,
    *,
    prompt: str = PROMPT,
    stepper: Stepper = STEPPER,
    end: str = "",
    hot: Any = (),
    **values: Any,
) -> Iterator[Generation]:
    """Texts, each begun when it is asked for."""
    own = {} if hot or "temperature_schedule" in values else {"temperature": 1.0}
    request = GenerationRequest(
        prompt=prompt,
        num_samples=number,
        temperatures=tuple(hot),
        sampling=SamplingConfig(**({"length": 20, "seed": 1} | own | values)),
    )
    vocabulary = LETTERS if stepper.vocabulary_size == len(LETTERS) else BYTES
    clock = itertools.count().__next__  # a second passes each time it is read
    encoded = encode_request(request, vocabulary, end)
    return generations(stepper, encoded, clock=lambda: float(clock()))


def texts(number: int = 1, **values: Any) -> list[Generation]:
    return list(begun(number, **values))


def written(number: int = 1, **values: Any) -> list[str]:
    return ["".join(text) for text in texts(number, **values)]


@pytest.mark.parametrize("number", [2, 3, MAX_LANES + 2])
def test_a_sample_does_not_depend_on_their_number(number: int) -> None:
    together = written(number, length=12)
    assert len(set(together)) == number
    for k in (0, 1, number - 1):
        assert written(length=12, seed=derived_seed(1, k)) == [together[k]]


def test_samples_do_not_depend_on_the_order_of_reading() -> None:
    """Even if one is read character by character and others end before it."""
    in_order = written(3, stop=("b",))
    first, second, third = texts(3, stop=("b",))
    backwards = ["".join(third), "".join(itertools.chain([next(first)], first)), "".join(second)]
    assert [backwards[1], backwards[2], backwards[0]] == in_order


@settings(max_examples=40, deadline=None)
@given(
    stops=st.lists(st.text("ab1 。", min_size=1, max_size=3), min_size=1, max_size=3),
    length=st.integers(0, 40),
    seed=st.integers(0, 99),
    included=st.booleans(),
    number=st.integers(1, 3),
)
@example(stops=["b", "ab"], length=40, seed=1, included=False, number=1)
def test_a_text_ends_before_the_first_stop_text(
    stops: list[str], length: int, seed: int, included: bool, number: int
) -> None:
    """If several end at the same place, before the longest, or after it if it is included."""
    flat: dict[str, Any] = {"stepper": FLAT, "length": length, "seed": seed}
    whole = written(number, **flat)
    cut = texts(number, stop=tuple(stops), include_stop=included, **flat)
    for text, generation in zip(whole, cut, strict=True):
        found = [
            (at + len(stop), -len(stop))
            for stop in stops
            for at in range(length)
            if text.startswith(stop, at)
        ]
        # A stop text that begins in the prompt leaves nothing before it.
        found += [
            (n, -len(stop))
            for stop in stops
            for n in range(1, len(stop))
            if (PROMPT + text[:n]).endswith(stop) and n <= len(text)
        ]
        place, size = min(found, default=(length, 0))
        if not found or included:
            size = 0
        assert "".join(generation) == text[: max(place + size, 0)]
        assert generation.stop_reason == ("stop" if found else "length")


def test_no_stop_text_comes_before_min_length() -> None:
    for seed in range(20):
        (generation,) = texts(stop=("b", "1a"), min_length=12, seed=seed, stepper=FLAT)
        text = "".join(generation)
        assert len(text) >= 12
        assert "b" not in text
        assert "1a" not in text


def test_no_document_end_comes_before_min_length() -> None:
    stepper = random_stepper(BYTES, size=0.1)
    values: dict[str, Any] = {"length": 60, "min_length": 40, "seed": 3, "stop": ("e",)}
    for generation in texts(8, prompt="x", stepper=stepper, end="。", **values):
        text = "".join(generation)
        assert len(text) >= 40
        assert "e" not in text
        assert "。" not in text


def test_every_text_ends_when_the_time_is_up() -> None:
    for generation in texts(3, length=1_000, max_seconds=5):
        assert 4 <= len("".join(generation)) <= 6
        assert generation.stop_reason == "time"


def test_no_sample_is_begun_when_the_time_is_up() -> None:
    """Except the first, and those at several temperatures, which are compared with each other."""
    late = ["".join(text) for text in begun(3 * MAX_LANES, length=1_000, max_seconds=5)]
    assert len(late) == MAX_LANES
    compared = begun(hot=[0.5, 1.0] * MAX_LANES, length=1_000, max_seconds=5)
    assert len(["".join(text) for text in compared]) == 2 * MAX_LANES
    for seed in range(20):  # some are empty, and do not count
        empty: dict[str, Any] = {"prompt": "", "end": "\n", "stepper": FLAT, "seed": seed}
        assert len(["".join(text) for text in begun(1, max_seconds=1, **empty)]) == 1


@given(temperature=st.sampled_from([0.0, 0.7, 3.0]), n=st.integers(2, 4), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_no_ngram_is_written_twice(temperature: float, n: int, seed: int) -> None:
    """Not even one of the prompt; a text that has used up all of them ends."""
    (generation,) = texts(no_repeat_ngram_size=n, temperature=temperature, length=300, seed=seed)
    text = PROMPT + "".join(generation)
    grams = [text[k : k + n] for k in range(len(text) - n + 1)]
    assert len(set(grams)) == len(grams)
    assert generation.stop_reason in ("banned", "length")


def test_what_is_read_first_is_not_part_of_the_text() -> None:
    """A line end is read before an empty prompt. It can still be written if each may occur once."""
    values: dict[str, Any] = {"no_repeat_ngram_size": 1, "temperature": 50.0, "seed": 0}
    for text in texts(5, prompt="", stepper=FLAT, **values):
        assert sorted("".join(text)) == sorted(LETTERS.symbols)
        assert text.stop_reason == "banned"


def test_banned_characters_are_never_written() -> None:
    assert set(written(ban="ab", length=200, stepper=FLAT)[0]) == set("\n 1。")
    assert set(written(only="letters", length=200, stepper=FLAT)[0]) == {"a", "b"}
    assert set(written(only="digits", length=20, stepper=FLAT)[0]) == {"1"}
    assert set(written(only="[a1]", ban="a", length=20, stepper=FLAT)[0]) == {"1"}
    assert set(written(only="lower,digits", length=200, stepper=FLAT)[0]) == set("ab1")
    assert set(written(ban="space", only="", length=200, stepper=FLAT)[0]) == set("ab1。")
    assert set(written(ban="punctuation", length=200, stepper=FLAT)[0]) == set("\n ab1")
    assert set(written(ban="[^a]", length=20, stepper=FLAT)[0]) == {"a"}


def test_a_class_with_a_bracket_in_it_gives_no_warning() -> None:
    """Python warns that [[ may mean something else one day; as an error, it would be a crash."""
    assert set(written(ban="[[b-z 。é]", length=20, stepper=FLAT)[0]) <= set("a1\n")
    assert written(ban="[[a]]", length=20) == written(length=20)


def test_only_still_lets_a_document_end() -> None:
    (generation,) = texts(only="digits", end="\n", stepper=FLAT, length=1_000)
    assert set("".join(generation)) <= {"1"}
    assert generation.stop_reason == "end"


def test_without_stop_at_end_a_text_continues() -> None:
    (generation,) = texts(end="\n", stop_at_end=False, stepper=FLAT, length=200)
    assert "\n" in "".join(generation)
    assert generation.stop_reason == "length"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"only": "[é]"}, "leave no character to write"),
        ({"ban": "[^x]"}, "leave no character to write"),
        ({"ban": "[z-a]"}, r"`ban=\[z-a\]`: not a valid character class"),
        ({"stop": ("é",)}, r"`stop='é'`: the model cannot write 'é' \(U\+00E9\)"),
        ({"stop": ("ab1",), "ban": "digits"}, "`stop='ab1'`: '1' is ruled out by `ban` or `only`"),
        ({"stop": ("",)}, "`stop`: an empty text would stop everything at once"),
        ({"min_length": 21}, "`min_length=21`: more than `length=20`"),
        ({"temperature_schedule": "1"}, "`temperature_schedule=1`: must be START:END"),
        ({"temperature_schedule": "nan:1"}, "must be START:END"),
        ({"temperature_schedule": "1:-1"}, "must be START:END"),
        ({"top_k": 0}, "`top_k=0`: must be at least 1"),
        ({"top_p": 0.0}, "`top_p=0.0`: must be above 0"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        texts(**values)


def test_a_schedule_moves_the_temperature() -> None:
    """At first cold, so the most probable character comes; at last hot, so anything does."""
    greedy = written(temperature=0, length=10)[0]
    cold_first = {text[:4] for text in written(20, temperature_schedule="0:50", length=10)}
    assert cold_first != {greedy[:4]}
    assert {text[:1] for text in written(20, temperature_schedule="0:50", length=10)} == {greedy[0]}
    assert len(set(written(20, temperature_schedule="0:50", length=10))) > 10
    assert written(temperature_schedule="0:0", length=10) == [greedy]
    assert written(temperature_schedule="0.5:0.5") == written(temperature=0.5)


def test_texts_at_several_temperatures_have_one_seed() -> None:
    generation = texts(hot=[0.0, 0.5, 1.0])
    assert [text.temperature for text in generation] == [0.0, 0.5, 1.0]
    assert {text.seed for text in generation} == {1}
    for text in generation:
        assert "".join(text) == written(temperature=text.temperature)[0]


def test_texts_keep_their_temperatures_when_others_end() -> None:
    """The first three of five texts are hot and end soon, which makes the state smaller."""
    hot = [3.0, 3.0, 3.0, 0.0, 0.5]
    settings: dict[str, Any] = {"stop": ("b", "1", "。"), "length": 60}
    for seed in range(5):
        for text in texts(hot=hot, seed=seed, **settings):
            alone = written(temperature=text.temperature, seed=seed, **settings)
            assert ["".join(text)] == alone


def test_a_stop_text_may_begin_in_the_prompt() -> None:
    """Even if other symbols are banned at each step; this model writes " " or "b" next."""
    values: dict[str, Any] = {"stop": ("ab",), "no_repeat_ngram_size": 9, "length": 1}
    found = texts(60, temperature=50.0, **values)
    reasons = [text.stop_reason for text in found if "".join(text) == ""]
    assert set(reasons) == {"stop"}


@pytest.mark.parametrize(
    "values",
    [
        {"top_k": 1},
        {"top_p": 1e-9},
        {"min_p": 1.0},
        {"epsilon_cutoff": 0.999},
        {"temperature": 0.0},
    ],
)
def test_filters_that_leave_one_symbol_are_greedy(values: dict[str, Any]) -> None:
    assert written(2, **values) == 2 * written(temperature=0)


@pytest.mark.parametrize("stepper", [STEPPER, random_stepper(BYTES)])
def test_surprises_add_up_to_the_log_probability(stepper: Stepper) -> None:
    """Each is the model's own for its character."""
    (generation,) = texts(stepper=stepper, length=30, top_k=4)
    text = ""
    for piece in generation:
        text += piece
        assert len(generation.surprises()) == len(text) == generation.characters
        assert generation.surprises(len(text) - len(piece)) == generation.surprises()[-len(piece) :]
    bits = -generation.log_probability / math.log(2)
    assert sum(generation.surprises()) == pytest.approx(bits)
    if stepper is STEPPER:
        ids = LETTERS.encode(PROMPT + text)
        state = stepper.start(1)
        stepper.read(ids[: len(PROMPT) - 1, None], state)
        for k, surprise in enumerate(generation.surprises(), start=len(PROMPT)):
            log_p = log_softmax(stepper.step(ids[k - 1 : k], state))[0]
            assert surprise == pytest.approx(-log_p[ids[k]] / math.log(2))


def test_other_lanes_do_not_change_an_ended_text() -> None:
    """Its log-probability includes its stop text, and nothing drawn after it."""
    for k, generation in enumerate(texts(5, stop=("b",), length=200)):
        text = "".join(generation)
        (alone,) = texts(stop=("b",), length=200, seed=derived_seed(1, k))
        assert "".join(alone) == text
        assert generation.log_probability == pytest.approx(alone.log_probability, rel=1e-9)


def first_lines(count: int, **values: Any) -> list[tuple[str, int]]:
    """The first line that each derived seed writes, empty ones left out, and the seed."""
    found: list[tuple[str, int]] = []
    seeds = (derived_seed(1, sample) for sample in itertools.count())
    while len(found) < count:
        seed = next(seeds)
        (text,) = written(prompt="", end="\n", stop_at_end=False, seed=seed, **values)
        if line := text.partition("\n")[0]:
            found.append((line, seed))
    return found


def test_an_empty_document_is_not_a_sample() -> None:
    """The next derived seed is drawn instead, so that the number asked for is written."""
    number = MAX_LANES + 20
    found = texts(number, prompt="", end="\n", stepper=FLAT)
    lines = [("".join(text), text.seed) for text in found]
    assert lines == first_lines(number, stepper=FLAT)
    assert lines[-1][1] != derived_seed(1, number - 1), "no text was empty"
    assert [("".join(text), text.seed) for text in texts(3, prompt="", end="\n", stepper=FLAT)] == (
        lines[:3]
    )


def test_an_empty_continuation_is_a_sample() -> None:
    """A document may be complete with the prompt, and a stop text may come at once."""
    assert "" in written(30, end="\n", stepper=FLAT)
    assert "" in written(30, prompt="", stop=("a",), stepper=FLAT)
    assert written(2, prompt="", end="\n", length=0) == ["", ""]


def test_each_temperature_gets_a_text_that_is_not_empty() -> None:
    for seed in range(20):
        found = texts(prompt="", end="\n", stepper=FLAT, seed=seed, hot=[0.5, 1.0, 2.0])
        assert [text.temperature for text in found] == [0.5, 1.0, 2.0]
        assert all("".join(text) for text in found)
        for text in found:
            assert text.seed == seed or text.seed in [derived_seed(seed, k) for k in range(9)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_of_empty_documents_is_an_error(temperature: float) -> None:
    """Not an endless search for another text; a minimum length makes it write."""
    config = SamplingConfig(length=5, temperature=temperature, seed=1)
    model = same_everywhere(1 - 1e-12, *[1e-12 / 5] * 5)
    assert LETTERS.symbols[0] == "\n"
    for number in (1, 3):
        request = GenerationRequest(num_samples=number, sampling=config)
        with pytest.raises(NoTextError, match="pass a `prompt` or `min_length=1`"):
            list(generations(model, encode_request(request, LETTERS, "\n")))
    config = SamplingConfig(length=5, temperature=temperature, seed=1, min_length=1)
    request = GenerationRequest(num_samples=3, sampling=config)
    found = list(generations(model, encode_request(request, LETTERS, "\n")))
    assert [len("".join(text)) for text in found] == [1, 1, 1]


def test_a_text_knows_the_ending_that_it_leaves_out() -> None:
    for included in (False, True):
        found = texts(60, stop=("ab", "1"), end="\n", stepper=FLAT, include_stop=included)
        for text in found:
            shown = PROMPT + "".join(text) + text.ending
            match text.stop_reason:
                case "stop":
                    assert shown.endswith(("ab", "1"))
                    assert bool(text.ending) != included
                case "end":
                    assert (shown[-1], text.ending) == ("\n", "\n")
                case _:
                    assert text.ending == ""
        assert {text.stop_reason for text in found} >= {"stop", "end"}
