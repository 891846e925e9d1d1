"""Settings that change when a run is resumed: what follows, and what a run keeps."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint.store import Run
from charrnn.training.config import KEPT
from tests.conftest import Command, sealed
from tests.reliability.runs import Recorder
from tests.training.runs import assert_same_run, stopping

MODEL = charrnn.ModelConfig(hidden_size=8, embedding_size=4, dropout=0.2)
TRAINING = charrnn.TrainingConfig(
    steps=12, batch_size=4, seq_length=16, schedule="constant", warmup=0, eval_every=4,
    sample_every=0, save_every=0, learning_rate=0.01,
)  # fmt: skip
NO_LONGER = "the result is no longer that of a run that never stopped"


def stopped(corpus: Path, name: str = "r", **settings: Any) -> Path:
    """A run that was stopped after five steps."""
    return charrnn.train(
        corpus,
        model=MODEL,
        training=replace(TRAINING, **settings),
        checkpoint_dir=corpus.parent,
        run=name,
        **stopping(5),
    ).folder


def logged(folder: Path, key: str) -> list[Any]:
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [event[key] for event in lines if event["event"] == "step"]


def warned(folder: Path, **options: Any) -> list[str]:
    """What a resumed run warns of."""
    recorder = Recorder()
    charrnn.resume(folder, observers=[recorder], **options)
    return recorder.warnings


def test_unchanged_values_resume_bit_for_bit(corpus: Path) -> None:
    """Naming the values that the run has already changes nothing, and there is no notice."""
    plain, named = stopped(corpus, "plain"), stopped(corpus, "named")
    same = {"learning_rate": 0.01, "weight_decay": 0.1, "dropout": 0.2, "warmup": 0}
    assert warned(plain) == warned(named, changes=same) == []
    assert_same_run(plain, named)


def test_a_changed_rate_holds_from_the_next_step_on(corpus: Path) -> None:
    """It is kept: a later resume without changes goes on with it, and says nothing of it."""
    folder = stopped(corpus)
    changes = {"learning_rate": 0.002}
    stop = stopping(8)
    recorder = Recorder()
    charrnn.resume(
        folder, changes=changes, stop=stop["stop"], observers=[*stop["observers"], recorder]
    )
    assert recorder.warnings == [f"from here on `learning_rate=0.002` instead of 0.01; {NO_LONGER}"]
    assert warned(folder) == []
    assert logged(folder, "learning_rate") == [0.01] * 5 + [0.002] * 7


@pytest.mark.parametrize("when", ["before a step", "killed"])
def test_a_change_is_kept_before_the_next_checkpoint(corpus: Path, when: str) -> None:
    """A run that is stopped at once, or killed before it saves again, has the new settings."""
    folder = stopped(corpus, eval_every=2, patience=9)
    before = Run(folder).latest.manifest
    changes = {"learning_rate": 0.002, "dropout": 0.4, "steps": 14}

    def kill(event: charrnn.events.Event) -> None:
        if event.kind == "step":
            raise KeyboardInterrupt

    if when == "killed":
        with pytest.raises(KeyboardInterrupt):
            charrnn.resume(folder, changes=changes, observers=[kill])
    else:
        charrnn.resume(folder, changes=changes, stop=lambda: True)
    after = Run(folder).latest.manifest
    assert (after.step, after.val_loss, after.trainer) == (5, before.val_loss, before.trainer)
    assert charrnn.verify(folder)[folder / "step-00000005"] is None
    assert warned(folder) == []
    assert logged(folder, "learning_rate")[5:] == [0.002] * 9
    assert charrnn.load(folder).config == replace(MODEL, dropout=0.4)


def test_the_best_checkpoint_stays_the_best(corpus: Path) -> None:
    """Saving it again with other settings keeps its validation loss."""
    folder = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=corpus.parent
    ).folder
    best = Run(folder).best
    assert best.step == 12
    charrnn.resume(folder, steps=99, changes={"learning_rate": 1e-9}, stop=lambda: True)
    assert Run(folder).best.manifest.val_loss == best.manifest.val_loss


def test_limits_and_saving_change_without_a_notice(corpus: Path) -> None:
    """What is said of limits is on the help page; saving and sampling leave the training alone."""
    folder = stopped(corpus)
    changes = {"patience": 5, "keep": 9, "save_every": 1, "sample_every": 3, "steps": 14}
    assert warned(folder, changes=changes) == []
    assert len(Run(folder).checkpoints) >= 9
    assert warned(folder, steps=16) == []


def test_evaluations_stay_of_the_same_length(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If they come more or less often; otherwise the best could not be told by its loss."""
    monkeypatch.setattr("charrnn.training.config.SHORTEST_EVALUATION", 1)
    folder = stopped(corpus)
    charrnn.resume(folder, changes={"eval_every": 6})
    events = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    lengths = [(e["step"], e["symbols"]) for e in events if e["event"] == "evaluation"]
    assert [step for step, _ in lengths] == [4, 6, 12]
    assert len({symbols for _, symbols in lengths}) == 1


def test_a_new_rate_replaces_what_was_left_of_the_old(corpus: Path) -> None:
    """The plateau schedule had halved it, and a return to an earlier checkpoint, too."""
    folder = stopped(corpus, schedule="plateau")
    manifest = Run(folder).latest.path / "manifest.json"
    content = json.loads(manifest.read_text())
    content["trainer"]["rate_scale"] = content["trainer"]["record"]["factor"] = 0.5
    manifest.write_bytes(sealed(content))
    charrnn.resume(folder, changes={"dropout": 0.3}, **stopping(6))
    charrnn.resume(folder, changes={"learning_rate": 0.03}, **stopping(7))
    assert logged(folder, "learning_rate")[5:] == [0.0025, 0.03]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", "linear"), ("schedule", "plateau"), ("warmup", 30), ("beta1", 0.5),
        ("beta2", 0.5), ("momentum", 0.0), ("weight_decay", 0.5), ("l1", 0.01), ("grad_clip", 0.01),
        ("grad_clip_value", 0.001), ("state_reset", 1.0), ("eval_every", 2), ("dropout", 0.0),
        ("input_dropout", 0.5), ("weight_dropout", 0.5), ("learning_rate", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_change_takes_effect_and_is_announced(
    corpus: Path, name: str, value: Any, optimizer: str
) -> None:
    """Whatever the optimizer's state is; settings that an optimizer does not read do no harm."""
    plain, other = (stopped(corpus, run, optimizer=optimizer) for run in ("plain", "other"))
    charrnn.resume(plain)
    (warning,) = warned(other, changes={name: value})
    assert warning.startswith(f"from here on `{name}=")
    unread = {"adamw": {"momentum"}, "sgd": {"beta1", "beta2"}}[optimizer]
    if name not in {"eval_every", *unread} and value != "plateau":
        assert logged(plain, "loss") != logged(other, "loss")
    plain_settings, settings = (Run(f).latest.manifest for f in (plain, other))
    assert (plain_settings.training, plain_settings.model) != (settings.training, settings.model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({name: value}, f"`{name}={value}`: .*charrnn train CORPUS `init_from=.*` `{name}=")
            for name, value in zip(KEPT, (8, 8, 4, "sgd", 9, "float32", 1), strict=True)
        ),
        ({"hidden_size": 9}, "`hidden_size=9`: a run keeps its architecture; train a new one"),
        ({"tie_embeddings": True}, "charrnn train CORPUS `tie_embeddings`"),
        ({"lowercase": True}, "`lowercase` is not a setting that a run can change"),
        ({"learning_rate": "fast"}, "`learning_rate=fast`: must be a number"),
        ({"dropout": [0.1, 0.2]}, "must be a number"),
        ({"schedule": "plateau", "eval_every": 0}, "needs `eval_every` above 0"),
    ],
)
def test_what_a_run_keeps_is_refused_with_a_way_out(
    corpus: Path, changes: dict[str, Any], message: str
) -> None:
    folder = stopped(corpus)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(charrnn.SettingsError, match=message):
        charrnn.resume(folder, changes=changes)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_changes_are_flags_of_resume(command: Command, corpus: Path) -> None:
    """Those that a run keeps are not on the help page, but get an answer."""
    folder = stopped(corpus)
    where = ("r", "--checkpoint-dir", folder.parent)
    done = command("resume", *where, "--learning-rate", 0.5, "--dropout", 0)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stderr.split())
    assert "notice: from here on --learning-rate 0.5 instead of 0.01, --dropout 0.0" in words
    page = command("resume", "--help").stdout
    assert "--grad-clip-value" in page
    for name, value in [("--batch-size", 8), ("--cell", "gru")]:
        assert name not in page
        done = command("resume", *where, name, value)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"{name} {value}: a run keeps " in done.stderr
        assert (
            f"charrnn train CORPUS {'--init-from r ' * (value == 8)}{name} {value}" in done.stderr
        )
