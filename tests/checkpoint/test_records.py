"""Dataclasses from JSON: matching values are read, anything else is refused."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.checkpoint.records import read_record
from charrnn.settings import LARGEST
from charrnn.training.progress import LanePosition, TrainerProgress, ValidationRecord

whole = st.integers(0, LARGEST)
number = st.floats(-1e18, 1e18)
lanes = st.builds(
    LanePosition, whole, whole, whole, st.dictionaries(st.text(max_size=5), whole, max_size=3)
)
progress = st.builds(
    TrainerProgress,
    step=whole,
    seconds=number,
    train_loss=st.none() | number,
    loss_sum=number,
    loss_count=whole,
    scheduled=st.booleans(),
    record=st.builds(ValidationRecord, st.none() | number, st.none() | whole, whole, number),
    lanes=lanes,
)


@given(progress)
def test_progress_survives_a_round_trip_through_json(before: TrainerProgress) -> None:
    assert TrainerProgress.from_json(json.loads(json.dumps(before.to_json()))) == before


@pytest.mark.parametrize(
    "change",
    [
        {"step": "7"},
        {"step": 7.5},
        {"step": True},
        {"step": None},
        {"step": LARGEST + 1},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"scheduled": 1},
        {"record": None},
        {"record": {}},
        {"lanes": None},
        {"lanes": {"epoch": 0}},
        {"surprise": 1},
    ],
)
def test_values_that_do_not_fit_are_refused(change: dict[str, Any]) -> None:
    sound = asdict(TrainerProgress(lanes=LanePosition(0, 0, 0, {})))
    assert TrainerProgress.from_json(sound).step == 0
    with pytest.raises((TypeError, ValueError)):
        TrainerProgress.from_json(sound | change)


def test_a_missing_field_is_named() -> None:
    values = asdict(ValidationRecord())
    del values["stale"]
    with pytest.raises(ValueError, match="ValidationRecord lacks 'stale'"):
        read_record(ValidationRecord, values)


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_json_that_is_not_an_object_is_refused(values: Any) -> None:
    with pytest.raises(TypeError, match="not a JSON object"):
        read_record(ValidationRecord, values)
