"""The request: one object for all settings of a generation, and the rules between them."""

import json
import subprocess
import sys
from typing import Any

import pytest

import charrnn
from charrnn.errors import SettingsError
from charrnn.generation.request import BeamConfig, GenerationRequest, SamplingConfig
from charrnn.generation.rules import EXCLUSIVE, FILTERS, NEEDS, OFF, SAMPLED

# A value of each setting that the rules are about; often the default.
VALUES: dict[str, Any] = {
    "num_samples": 2,
    "temperature_range": "0.5:1:3",
    "temperatures": [0.5, 1.0],
    "temperature": 0.8,
    "temperature_schedule": "1:0.5",
    **dict.fromkeys(FILTERS, 0.5),
    "top_k": 5,
    "num_beams": 4,
    "length_penalty": 1.0,
    "early_stopping": True,
    "num_beam_groups": 2,
    "diversity_penalty": 0.5,
    "beam_sampling": True,
    "num_return_sequences": 1,
}


def request_of(**values: Any) -> GenerationRequest:
    return GenerationRequest.from_values(values)


def given(*names: str) -> dict[str, Any]:
    return {name: VALUES[name] for name in names}


@pytest.mark.parametrize(("one", "other"), EXCLUSIVE)
def test_settings_that_exclude_each_other_are_refused(one: str, other: str) -> None:
    """Both are named. Each is accepted without the other."""
    beams = {"num_beams": 4} if other in ("num_beam_groups", "beam_sampling") else {}
    with pytest.raises(SettingsError, match=f"`{one}` and `{other}`: choose one"):
        request_of(**beams, **given(one, other))
    for name in (one, other):
        request_of(**beams, **given(name))


@pytest.mark.parametrize(("name", "needed"), NEEDS)
def test_settings_without_effect_alone_are_refused(name: str, needed: str) -> None:
    others = {"num_beams": 4} if needed != "num_beams" else {}
    with pytest.raises(SettingsError, match=f"`{name}` needs `{needed}` of 2 or more"):
        request_of(**others, **given(name))


@pytest.mark.parametrize("name", SAMPLED)
def test_beams_refuse_settings_of_sampling(name: str) -> None:
    """Unless the beams are sampled."""
    with pytest.raises(SettingsError, match=f"`num_beams` and `{name}`: choose one, or draw beams"):
        request_of(**given("num_beams", name))
    request_of(beam_sampling=True, **given("num_beams", name))


def test_a_given_default_counts_as_much_as_another_value() -> None:
    for temperature in (0.3, SamplingConfig().temperature):
        with pytest.raises(SettingsError, match="`num_beams` and `temperature`"):
            request_of(num_beams=4, temperature=temperature)
    request_of(num_beams=4, temperature=None)


def test_in_python_settings_that_differ_count() -> None:
    beams = BeamConfig(num_beams=4)
    GenerationRequest(sampling=SamplingConfig(), beams=beams)
    with pytest.raises(SettingsError, match="`num_beams` and `temperature`"):
        GenerationRequest(sampling=SamplingConfig(temperature=0.3), beams=beams)
    with pytest.raises(SettingsError, match="`num_beams` and `num_samples`"):
        GenerationRequest(num_samples=2, beams=beams)
    with pytest.raises(SettingsError, match="`temperature_schedule` and `temperature`"):
        SamplingConfig(temperature=0.3, temperature_schedule="1:0.5")


@pytest.mark.parametrize("name", OFF)
def test_a_setting_that_is_off_contradicts_nothing(name: str) -> None:
    request_of(**{name: OFF[name]})
    if name != "num_beams":
        request_of(**({"num_beams": 4} | {name: OFF[name]}))
    else:
        request_of(num_beams=1, num_samples=3, top_k=5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_length": 21, "length": 20}, "`min_length=21`: more than `length=20`"),
        (
            {"num_return_sequences": 5, "num_beams": 4},
            "`num_return_sequences=5`: more than `num_beams=4`",
        ),
        ({"num_beams": 4, "num_beam_groups": 3}, "`num_beam_groups=3`: must divide `num_beams=4`"),
        ({"temperature_range": "1:2"}, "`temperature_range=1:2`: must be FROM:TO:N"),
        ({"temperature_range": "a:2:3"}, "must be FROM:TO:N"),
        ({"temperature_range": "1:2:1"}, "2 to 100 texts"),
        ({"temperatures": 0.5}, "`temperatures=0.5`: must be a list of numbers"),
        ({"temperatures": ["hot"]}, "`temperature=hot`: must be a number"),
        ({"temperatures": [-1.0]}, "`temperature=-1.0`: must be at least 0"),
        ({"unknown": "guess"}, "`unknown=guess`: must be one of error, skip, replace"),
        ({"num_samples": 0}, "`num_samples=0`: must be at least 1"),
        ({"prompt": 3}, "`prompt=3`: must be a string"),
        ({"stop": "end"}, "`stop=end`: must be"),
        ({"heat": True}, "`heat` is not a setting"),
        ({"sampling": {}}, "`sampling` is not a setting"),
        ({"given": []}, "`given` is not a setting"),
    ],
)
def test_values_that_cannot_be_met_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        request_of(**values)


@pytest.mark.parametrize("cold", [{"temperature": 0.0}, {"temperature_schedule": "1:0"}])
def test_beams_are_not_sampled_at_temperature_zero(cold: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="`beam_sampling` needs a temperature above 0"):
        request_of(num_beams=2, beam_sampling=True, **cold)


def test_a_request_can_be_made_from_json() -> None:
    text = '{"prompt": "The", "stop": ["a", "b"], "seed": null, "temperatures": [0.5, 1], "n": 3}'
    values = json.loads(text)
    with pytest.raises(SettingsError, match="`n` is not a setting"):
        GenerationRequest.from_values(values)
    del values["n"]
    request = GenerationRequest.from_values(values)
    assert request.prompt == "The"
    assert request.sampling == SamplingConfig(stop=("a", "b"))
    assert request.text_temperatures() == (0.5, 1)
    assert request.given == {"prompt", "stop", "temperatures"}
    assert (request.total, request.lanes, request.searches) == (2, 2, False)


def test_a_range_of_temperatures_includes_both_ends() -> None:
    request = request_of(temperature_range="0.3:1.2:4")
    assert request.text_temperatures() == (0.3, 0.6, 0.9, 1.2)
    assert request.total == 4


def test_a_changed_setting_makes_contradicting_ones_give_way() -> None:
    request, gave_way = request_of(temperature=0.5, top_k=3).with_setting("num_beams", 4)
    assert (request.beams.num_beams, set(gave_way)) == (4, {"temperature", "top_k"})
    assert request.sampling == SamplingConfig()
    request, gave_way = request.with_setting("num_return_sequences", 2)
    assert gave_way == []
    request, gave_way = request.with_setting("temperature", 0.8)
    assert (request.searches, set(gave_way)) == (False, {"num_beams", "num_return_sequences"})
    request, gave_way = request.with_setting("temperature_schedule", "1:0.5")
    assert gave_way == ["temperature"]
    assert request.with_setting("temperature_schedule", None) == (request_of(), [])


def test_a_changed_setting_out_of_bounds_changes_nothing() -> None:
    request = request_of(length=20)
    for name, value in (("min_length", 21), ("temperature", -1), ("length_penalty", 2.0)):
        with pytest.raises(SettingsError, match=f"`{name}"):
            request.with_setting(name, value)


def test_a_model_generates_what_its_other_methods_write(trained: charrnn.TrainingResult) -> None:
    model = charrnn.load(trained.folder)
    config = SamplingConfig(length=20, seed=1)
    request = GenerationRequest(prompt="The", num_samples=2, sampling=config)
    expected = ["".join(text) for text in model.samples(2, "The", config)]
    assert ["".join(text) for text in model.generate(request)] == expected
    assert "".join(model.sample("The", config)) == expected[0]
    beams = BeamConfig(num_beams=3, num_return_sequences=2)
    request = GenerationRequest(prompt="The", sampling=config, beams=beams)
    assert [*model.generate(request)] == model.beam_search("The", config, beams)


def test_a_beam_search_may_share_settings_with_sampling(trained: charrnn.TrainingResult) -> None:
    """`beam_search` says which settings apply to it, and leaves the others out."""
    model = charrnn.load(trained.folder)
    shared = SamplingConfig(length=10, temperature=0.5, top_p=0.9, seed=1)
    beams = BeamConfig(num_beams=3)
    plain = SamplingConfig(length=10, seed=1)
    assert model.beam_search("The", shared, beams) == model.beam_search("The", plain, beams)


def test_requests_are_checked_without_numpy() -> None:
    """So that a help page or a usage error appears at once."""
    program = (
        "import sys; from charrnn.generation.request import GenerationRequest; "
        "GenerationRequest.from_values({'top_p': 0.5}); sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_filter_is_a_setting_of_sampling() -> None:
    values = given(*FILTERS)
    assert SamplingConfig(**values).filters() == values
    assert SamplingConfig().filters() == {}
