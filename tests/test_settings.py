"""Settings from anywhere: a value is refused with a SettingsError, or it is kept as it is."""

import json
import math
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.cli.config import read_config
from charrnn.errors import LONGEST, SettingsError, shortened
from charrnn.settings import LARGEST, MAX_THREADS, check_threads, make, value_type

IN_CHECKPOINTS: tuple[Any, ...] = (
    charrnn.ModelConfig,
    charrnn.TrainingConfig,
    charrnn.CorpusConfig,
)
KINDS: tuple[Any, ...] = (
    *IN_CHECKPOINTS,
    charrnn.SamplingConfig,
    charrnn.BeamConfig,
    charrnn.DynamicConfig,
    charrnn.GenerationRequest,
)
PLACES = [(kind, field.name) for kind in KINDS for field in fields(kind)]

HUGE = 10**5000
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]
VALUES: list[Any] = [
    *(0, 1, -1, 2, 2**31, 2**53 + 1, LARGEST, LARGEST + 1, 2**63, 10**308, 10**309, HUGE, -HUGE),
    *(0.0, -0.0, 0.5, 1.0, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf),
    *(True, False, None, "", "a", "utf-8", "\0", "a\nb", "\ud800", "\u202e", "🙂", "[" * 99),
    *("x" * 10**6, "9" * 5000, "0:1:" + "9" * 5000, "-", "..", "/", "[b-a]", "**", "%s", "{}"),
    *([], [1], ["a"], (), (1,), ("a",), ("",), [[HUGE]], (HUGE,), (math.nan,), [math.nan], (True,)),
    *({}, {"a": HUGE}, {1}, frozenset({"a"}), b"a", object(), DEEP, DEEP[0], np.arange(3), np.inf),
]  # fmt: skip
LITERALS = [
    *("0", "1", "-1", "2", "9" * 400, "0x" + "f" * 5000, "0.0", "1e-400", "1e400", "nan", "-inf"),
    *("true", '""', '"a"', r'"\u0000"', f'"{"x" * 10**5}"', r'"a\nb"', '"\u202e"', "1979-05-27"),
    *("07:32:00", "[]", "[1]", '["a"]', f"[0x{'f' * 5000}]", "[" * 90 + "]" * 90, "{ a = 1 }"),
]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Cf", "P"]))
    | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)


def accepted(kind: Any, name: str, value: Any) -> Any:
    """The settings with this value, None if it is refused as it should be."""
    try:
        made = make(kind, {name: value})
    except SettingsError as error:
        refusal = str(error)
    else:
        check_kept(made, name, value)
        return made
    assert len(refusal) < 5 * LONGEST
    assert "\n" not in refusal
    return None


def check_kept(made: Any, name: str, value: Any) -> None:
    kind = type(made)
    assert make(kind, dict(vars(made))) == made
    field = next(field for field in fields(kind) if field.name == name)
    if value_type(field)[0] is float and value is not None:
        assert type(getattr(made, name)) is float


@pytest.mark.parametrize(("kind", "name"), PLACES)
def test_hostile_values_are_refused_or_kept(kind: Any, name: str) -> None:
    kept = [value for value in VALUES if accepted(kind, name, value) is not None]
    assert len(kept) < len(VALUES)


@given(st.sampled_from(PLACES), anything)
def test_any_value_is_refused_or_kept(place: tuple[Any, str], value: Any) -> None:
    accepted(*place, value)


@given(st.sampled_from(PLACES), anything)
def test_requests_from_json_are_refused_or_made(place: tuple[Any, str], value: Any) -> None:
    with suppress(SettingsError):
        charrnn.GenerationRequest.from_values({place[1]: value})


@pytest.mark.parametrize("kind", IN_CHECKPOINTS)
def test_what_is_accepted_survives_a_checkpoint(kind: Any) -> None:
    for field in fields(kind):
        for value in VALUES:
            if (made := accepted(kind, field.name, value)) is not None:
                assert make(kind, json.loads(json.dumps(asdict(made)))) == made


@pytest.mark.parametrize("kind", IN_CHECKPOINTS)
def test_values_in_toml_are_refused_or_kept(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    for field in fields(kind):
        for literal in LITERALS:
            path.write_text(f"{field.name} = {literal}\n", encoding="utf-8")
            values = read_config(path, kind)
            accepted(kind, field.name, values[field.name])


def test_a_whole_number_counts_as_a_float() -> None:
    """Torch refuses whole numbers where it expects floats."""
    config = charrnn.TrainingConfig(beta1=0, minutes=3)
    assert (type(config.beta1), type(config.minutes)) == (float, float)
    assert config == charrnn.TrainingConfig(beta1=0.0, minutes=3.0)


@pytest.mark.parametrize("number", [0, -1, MAX_THREADS + 1, 2**70, True, 1.0, "1"])
def test_a_number_of_threads_out_of_bounds_is_refused(number: Any) -> None:
    with pytest.raises(SettingsError, match=r"`threads=.*must be from 1 to 1,024"):
        check_threads(number)
    with pytest.raises(SettingsError, match="threads"), charrnn.blas_threads(number):
        pass


@given(anything)
def test_a_value_in_a_message_is_short_and_on_one_line(value: Any) -> None:
    assert len(shortened(value)) < 12 * LONGEST
    assert "\n" not in shortened(value)


def test_a_value_in_a_message_is_recognized() -> None:
    assert shortened(-3) == "-3"
    assert shortened("mañana") == "mañana"
    assert shortened("a\nb\ud800") == r"'a\nb\ud800'"
    assert shortened("ab" * LONGEST) == "ab" * (LONGEST // 2) + "…"
    assert shortened(-HUGE) == "about -10^5,000"
    assert shortened([HUGE]) == shortened(DEEP) == "a list"
