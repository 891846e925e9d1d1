"""Drawing symbols and writing text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import charrnn
from charrnn.errors import SettingsError, UnknownCharacterError
from charrnn.generation.draws import sample_next, sample_one
from charrnn.generation.encoding import encode_request, first_ids
from charrnn.generation.filters import log_softmax
from charrnn.generation.request import GenerationRequest, SamplingConfig
from charrnn.generation.texts import Generation, generations
from charrnn.model.config import ModelConfig
from charrnn.text.vocabulary import BYTES, Vocabulary
from charrnn.training.config import TrainingConfig

logit_lists = st.lists(st.floats(-50, 50), min_size=1, max_size=8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(logit_lists)
def test_log_softmax_sums_to_one(logits: Sequence[float]) -> None:
    log_p = log_softmax(np.array(logits))
    assert np.exp(log_p).sum() == pytest.approx(1)
    np.testing.assert_allclose(log_p - log_p[0], np.array(logits) - logits[0], atol=1e-9)


def draw(logits: NDArray[Any], temperature: float, uniforms: NDArray[Any]) -> list[int]:
    """Draw from one row of logits, in a lane for each random number."""
    rows = np.tile(logits, (len(uniforms), 1))
    drawn: list[int] = sample_next(rows, np.array([[temperature]]), uniforms).tolist()
    return drawn


@given(logit_lists, st.floats(0, 1e3), st.integers(0, 999))
@example([0.0], 1.0, 0)
def test_a_draw_is_never_a_banned_symbol(
    logits: Sequence[float], temperature: float, seed: int
) -> None:
    """Even if the last id is banned, or temperature and random numbers are close to 0 or 1."""
    banned = np.array([*logits, -np.inf])
    uniforms = np.array([0.0, *rng(seed).random(3), 1 - 2**-53])
    drawn = draw(banned, temperature, uniforms)
    assert all(0 <= id_ < len(logits) for id_ in drawn)
    assert drawn == [sample_one(banned, temperature, uniform) for uniform in uniforms.tolist()]


@given(logit_lists)
def test_temperature_zero_is_greedy_and_near_zero_agrees(logits: Sequence[float]) -> None:
    array = np.array(logits)
    uniforms = rng().random(4)
    assert draw(array, 0, uniforms) == 4 * [int(array.argmax())]
    for id_ in draw(array, 1e-9, uniforms):
        assert array[id_] == pytest.approx(array.max(), abs=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_follow_the_probabilities(dtype: str) -> None:
    """p = softmax(logits / T): 200,000 draws lie within five standard deviations of it."""
    logits = np.log(np.array([0.1, 0.2, 0.7], dtype))
    for temperature, p in ((1.0, [0.1, 0.2, 0.7]), (0.5, [1 / 54, 4 / 54, 49 / 54])):
        draws = draw(logits, temperature, rng(1).random(200_000))
        share = np.bincount(draws, minlength=3) / len(draws)
        deviation = np.sqrt(np.array(p) * (1 - np.array(p)) / len(draws))
        assert (np.abs(share - p) < 5 * deviation).all()


def test_each_lane_has_its_own_temperature() -> None:
    logits = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    assert sample_next(logits, np.array([[0.0], [1.0]]), np.array([0.9, 0.9])).tolist() == [0, 1]


def write(model: charrnn.Model, **settings: float) -> str:
    return "".join(model.sample("The ", SamplingConfig(**({"seed": 1} | settings))))  # type: ignore[arg-type]


def test_the_same_seed_writes_the_same_text(trained: charrnn.TrainingResult) -> None:
    model = charrnn.load(trained.folder)
    assert write(model, seed=1) == write(model, seed=1) != write(model, seed=2)
    assert write(model, seed=1, temperature=0) == write(model, seed=2, temperature=0)
    drawn = model.sample()
    assert "".join(drawn) == "".join(model.sample("", SamplingConfig(seed=drawn.seed)))


@pytest.mark.parametrize("length", [0, 1, 37])
def test_the_length_is_exact(trained: charrnn.TrainingResult, length: int) -> None:
    generation = charrnn.sample(trained.folder, "The", SamplingConfig(length=length))
    text = "".join(generation)
    assert len(text) == generation.characters == length
    assert generation.stop_reason == "length"


def test_the_log_probability_is_that_of_the_text(trained: charrnn.TrainingResult) -> None:
    """Under the model at temperature 1, whatever the temperature of the draw."""
    model = charrnn.load(trained.folder)
    for temperature in (0.0, 0.5, 2.0):
        generation = model.sample("T", SamplingConfig(length=50, temperature=temperature, seed=3))
        text = "".join(generation)
        scored = model.evaluate("T" + text)
        assert generation.log_probability == pytest.approx(-50 * scored.nats_per_char, rel=1e-5)


def test_a_prompt_changes_what_follows(trained: charrnn.TrainingResult) -> None:
    model = charrnn.load(trained.folder)
    greedy = SamplingConfig(length=20, temperature=0)
    assert "".join(model.sample("The riv", greedy)) != "".join(model.sample("small w", greedy))


def test_an_unknown_prompt_character_is_named(trained: charrnn.TrainingResult) -> None:
    model = charrnn.load(trained.folder)
    with pytest.raises(UnknownCharacterError, match=r"'é' \(U\+00E9\), character 3"):
        model.sample("Thé")
    skipped = model.sample("Thé", SamplingConfig(seed=1), unknown="skip")
    assert "".join(skipped) == "".join(model.sample("Th", SamplingConfig(seed=1)))
    replaced = model.sample("Thé", SamplingConfig(seed=1), unknown="replace")
    assert "".join(replaced) == "".join(model.sample("Th ", SamplingConfig(seed=1)))


def test_a_prompt_is_normalised_like_the_corpus(trained: charrnn.TrainingResult) -> None:
    model = charrnn.load(trained.folder)
    assert "".join(model.sample("name.\r\n", SamplingConfig(seed=1))) == "".join(
        model.sample("name.\n", SamplingConfig(seed=1))
    )


def test_the_unknown_symbol_is_never_written(tmp_path: Path) -> None:
    """Half of this text is characters that occur once; a high temperature would write any."""
    text = "".join(f"ab{chr(0x4E00 + n)}" for n in range(300))
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    result = charrnn.train(
        tmp_path / "t.txt",
        corpus_config=charrnn.CorpusConfig(min_count=2),
        model=ModelConfig(hidden_size=8),
        training=TrainingConfig(steps=5),
        checkpoint_dir=tmp_path,
    )
    model = charrnn.load(result.folder)
    assert model.vocabulary.symbols == ("", "a", "b")
    generation = model.sample("", SamplingConfig(length=300, temperature=5.0, seed=0))
    assert set("".join(generation)) == {"a", "b"}
    # The other symbols share all the probability, so one of the two has at least half.
    assert min(generation.surprises()) <= 1


def test_byte_models_read_any_prompt_and_write_whole_characters(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Ä字😀 " * 100, encoding="utf-8")
    result = charrnn.train(
        tmp_path / "t.txt",
        corpus_config=charrnn.CorpusConfig(unit="byte"),
        model=ModelConfig(hidden_size=24, dropout=0.0, input_dropout=0.0),
        training=TrainingConfig(steps=200, batch_size=4, seq_length=20, learning_rate=0.01),
        checkpoint_dir=tmp_path,
    )
    model = charrnn.load(result.folder)
    pieces = list(model.sample("Ω never seen", SamplingConfig(length=40, temperature=0)))
    assert all(len(piece) >= 1 for piece in pieces)
    assert len("".join(pieces)) == 40
    assert "Ä字😀" in "".join(pieces)
    scored = model.evaluate("Ä字😀 " * 4)
    assert scored.characters == 15  # the first one is read, not predicted
    assert scored.bits_per_byte == pytest.approx(scored.bits_per_char * 15 / 38)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "`temperature=-1`: must be at least 0"),
        ({"temperature": float("nan")}, "`temperature=nan`: must be a finite number"),
        ({"length": -1}, "`length=-1`: must be at least 0"),
        ({"seed": -1}, "`seed=-1`: must be at least 0"),
    ],
)
def test_invalid_settings_are_refused_by_name(settings: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SamplingConfig(**settings)  # type: ignore[arg-type]


def test_overflow_is_an_error(trained: charrnn.TrainingResult) -> None:
    model = charrnn.load(trained.folder)
    for number in (np.nan, np.inf):
        model._weights = dict(model._weights) | {
            "output.bias": np.full(len(model.vocabulary), number, np.float32)
        }
        for settings in (
            SamplingConfig(),
            SamplingConfig(top_p=0.5),
            SamplingConfig(temperature=0),
        ):
            model.prepare()
            with pytest.raises(charrnn.CharrnnError, match="numbers have overflowed"):
                next(model.sample("The", settings))
            with pytest.raises(charrnn.CharrnnError, match="numbers have overflowed"):
                next(next(model.samples(2, "The", settings)))
        with pytest.raises(charrnn.CharrnnError, match="numbers have overflowed"):
            model.beam_search("The", SamplingConfig(length=2))


class Place:
    """The position of each lane of a Reciter in its text."""

    def __init__(self, positions: NDArray[Any]) -> None:
        self.positions = positions

    def take(self, lanes: NDArray[Any]) -> "Place":
        return Place(self.positions[lanes])


class Reciter:
    """Knows one text by heart: it must read this text, and predicts what follows."""

    def __init__(self, ids: Sequence[int], vocabulary_size: int) -> None:
        self.ids = np.array(ids)
        self.vocabulary_size = vocabulary_size

    def start(self, lanes: int) -> Place:
        return Place(np.zeros(lanes, dtype=int))

    def step(self, ids: NDArray[Any], state: Place) -> NDArray[Any]:
        assert ids.tolist() == self.ids[state.positions].tolist()
        state.positions += 1
        following = self.ids[state.positions]
        logits: NDArray[Any] = 50.0 * (np.arange(self.vocabulary_size) == following[:, None])
        return logits

    def read(self, ids: NDArray[Any], state: Place) -> NDArray[Any]:
        return [self.step(row, state) for row in ids][-1]

    def read_all(self, ids: NDArray[Any], state: Place) -> NDArray[Any]:
        return np.array([self.step(row, state).copy() for row in ids])


LETTERS = Vocabulary("char", tuple("\n-abn、。"))  # the last two differ only in their third byte


def reciting(
    text: str,
    end: str,
    *,
    prompt: str = "",
    unit: Literal["char", "byte"],
    **settings: Any,
) -> Generation:
    """A generation that draws `text` after a prompt, and fails if it draws more."""
    vocabulary = LETTERS if unit == "char" else BYTES
    before = first_ids(vocabulary, end) if end or not prompt else []
    ids = [*before, *vocabulary.encode(prompt + text).tolist()]
    config = SamplingConfig(**({"length": 1_000, "temperature": 0} | settings))
    encoded = encode_request(GenerationRequest(prompt=prompt, sampling=config), vocabulary, end)
    return next(generations(Reciter(ids, len(vocabulary)), encoded))


units = pytest.mark.parametrize("unit", ["char", "byte"])


@units
@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("anna\n", "\n", ["a", "n", "n", "a"]),
        ("\n", "\n", []),
        ("ab\n--\n", "\n--\n", ["a", "b"]),
        ("\n--\n", "\n--\n", []),
        ("a\n-b\n--\n", "\n--\n", ["a", "\n-b"]),  # only begins like an ending
        ("\n\n--\n", "\n--\n", ["\n"]),  # begins twice
        ("aaab", "aab", ["a"]),
        ("abaababb", "ababb", ["aba"]),
        ("a、b。", "。", ["a", "、", "b"]),
        ("、。。", "。。", ["、"]),
    ],
)
def test_a_sample_ends_where_its_document_does(
    text: str, end: str, expected: list[str], unit: Literal["char", "byte"]
) -> None:
    """The end is not written and nothing is drawn after it; a mere beginning of it is written."""
    generation = reciting(text, end, prompt="n", unit=unit)
    assert list(generation) == expected
    assert generation.stop_reason == "end"
    assert generation.characters == len("".join(expected))
    assert next(generation, None) is None


@units
@given(
    text=st.text("ab。", min_size=30, max_size=60),
    end=st.text("ab。", min_size=1, max_size=4),
    length=st.integers(0, 30),
)
@example(text="ba" + "。" * 28, end="aa", length=2)  # an ending may have begun at the full length
@example(text="baa" + "。" * 28, end="aa", length=2)  # and would be completed after it
@example(text="baa" + "。" * 28, end="aa", length=3)
def test_a_sample_ends_at_its_length_or_before_an_end(
    text: str, end: str, length: int, unit: Literal["char", "byte"]
) -> None:
    """Whichever comes first; the pieces together are the text up to there."""
    generation = reciting(text, end, prompt="n", length=length, unit=unit)
    pieces = list(generation)
    at = text[:length].find(end)
    assert "".join(pieces) == (text[:at] if at >= 0 else text[:length])
    assert generation.stop_reason == ("end" if at >= 0 else "length")
    assert generation.characters == len("".join(pieces))
    assert all(pieces)


@units
def test_a_document_begins_after_the_end_of_another(unit: Literal["char", "byte"]) -> None:
    """As in training; the prompt follows it. The Reciter checks what is read."""
    assert first_ids(LETTERS, "-\n") == [LETTERS.symbols.index("\n")]
    assert first_ids(BYTES, "a。") == ["。".encode()[-1]]
    for end in ("\n", "b-", "a。"):
        generation = reciting("na" + end, end, prompt="an", unit=unit)
        assert "".join(generation) == "na"
        assert generation.stop_reason == "end"


@units
def test_an_end_may_begin_in_the_prompt(unit: Literal["char", "byte"]) -> None:
    generation = reciting("\nb", "-\n", prompt="an-", unit=unit)
    assert list(generation) == []
    assert generation.stop_reason == "end"


@units
def test_without_an_end_nothing_is_held_back(unit: Literal["char", "byte"]) -> None:
    """The prompt is read unchanged."""
    generation = reciting("a\n\nb", "", prompt="n", length=4, unit=unit)
    assert list(generation) == ["a", "\n", "\n", "b"]
    assert generation.stop_reason == "length"


def test_a_model_of_lines_writes_one_line(tmp_path: Path) -> None:
    """It begins like any line, without having read another one."""
    (tmp_path / "names.txt").write_text("a\nbb\n" * 400, encoding="utf-8")
    result = charrnn.train(
        tmp_path / "names.txt",
        corpus_config=charrnn.CorpusConfig(lines=True),
        model=ModelConfig(hidden_size=8, embedding_size=4, dropout=0.0, input_dropout=0.0),
        training=TrainingConfig(steps=200, batch_size=4, seq_length=16, learning_rate=0.05),
        checkpoint_dir=tmp_path,
    )
    model = charrnn.load(result.folder)
    texts = set()
    for seed in range(20):
        generation = model.sample("", SamplingConfig(seed=seed))
        texts.add("".join(generation))
        assert generation.stop_reason == "end"
    assert texts == {"a", "bb"}, "both names begin a document, so neither follows from the other"
    assert list(model.sample("b", SamplingConfig(temperature=0))) == ["b"]
    assert list(model.sample("a", SamplingConfig(temperature=0))) == []
