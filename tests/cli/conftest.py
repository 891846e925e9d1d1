"""Models that the tests of several commands share."""

import pytest

import charrnn


@pytest.fixture(scope="session")
def where(trained: charrnn.TrainingResult) -> tuple[object, ...]:
    return ("--checkpoint-dir", trained.folder.parent)


@pytest.fixture(scope="session")
def names(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """A model of lines."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "names.txt").write_text("anna\nbert\n" * 200, encoding="utf-8")
    charrnn.train(
        folder / "names.txt",
        corpus_config=charrnn.CorpusConfig(lines=True),
        model=charrnn.ModelConfig(hidden_size=16, embedding_size=4, dropout=0.0, input_dropout=0.0),
        training=charrnn.TrainingConfig(
            steps=80, batch_size=4, seq_length=16, learning_rate=0.05, sample_every=0
        ),
        checkpoint_dir=folder,
    )
    return ("--checkpoint-dir", folder)
