"""Settings for reading a corpus: bounds, since they may come from a stranger's checkpoint."""

import time
from dataclasses import fields

import pytest

from charrnn.errors import SettingsError
from charrnn.text.config import CorpusConfig

STRINGS = [field for field in fields(CorpusConfig) if field.type in (str, str | None)]


@pytest.mark.parametrize("name", [field.name for field in STRINGS])
def test_no_string_is_longer_than_its_bound(name: str) -> None:
    (field,) = [field for field in STRINGS if field.name == name]
    longest = field.metadata["max_length"]
    if name != "encoding":  # none has so long a name
        assert getattr(CorpusConfig(**{name: "x" * longest}), name) == "x" * longest
    with pytest.raises(SettingsError, match=f"must be at most {longest:,} characters long"):
        CorpusConfig(**{name: "x" * (longest + 1)})


@pytest.mark.parametrize("name", ["punycode", "Punycode", "idna", "zlib", "hex", "nonsense"])
def test_only_encodings_of_texts_are_accepted(name: str) -> None:
    """Decoding punycode takes quadratic time: hours for a corpus."""
    with pytest.raises(SettingsError, match="not a text encoding that Python knows"):
        CorpusConfig(encoding=name)


@pytest.mark.parametrize("piece", ["a/", "*", "[a", "**/"])
def test_a_glob_of_megabytes_is_refused_at_once(piece: str) -> None:
    """It once took half a minute and 1.5 GB."""
    began = time.process_time()
    with pytest.raises(SettingsError) as raised:
        CorpusConfig(glob=piece * 1_000_000)
    assert time.process_time() - began < 1
    assert len(str(raised.value)) < 200
