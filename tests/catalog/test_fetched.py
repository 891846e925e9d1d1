"""Reading corpora that were downloaded, and archives in particular."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from charrnn.catalog.corpora import Catalog
from charrnn.catalog.download import fetch
from charrnn.errors import CorpusError
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus, encode_corpus
from tests.catalog.site import CONTENT, NAME, Publish, send

Pack = Callable[[dict[str, bytes]], bytes]


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


ARCHIVES = pytest.mark.parametrize(
    ("file", "pack"), [("river.zip", zipped), ("river.tar.gz", tarred)], ids=["zip", "tar.gz"]
)


def text_of(corpus: EncodedCorpus) -> str:
    return corpus.vocabulary.decode(np.concatenate([corpus.train[:], corpus.val[:]]).tolist())


@ARCHIVES
def test_matching_members_become_documents(
    file: str, pack: Pack, publish: Publish, folder: Path, tmp_path: Path
) -> None:
    packed = pack(
        {
            "set/poems/one.txt": b"first poem\n",
            "set/README.md": b"about the poems\n",
            "set/poems/two.txt": "zweites Gedicht: schön\n".encode(),
            "set/cover.png": b"\x89PNG\0\0",
        }
    )
    publish(send(packed), hashlib.sha256(packed).hexdigest(), file=file, glob="*.txt")
    fetch(NAME, folder)
    corpus = encode_corpus((NAME,), CorpusConfig(), Catalog(folder), cache_dir=tmp_path / "cache")
    assert text_of(corpus) == "first poem\nzweites Gedicht: schön\n"
    assert corpus.documents == 2
    assert (corpus.name, corpus.sources) == (NAME, (NAME,))


@ARCHIVES
def test_archives_are_never_extracted(
    file: str,
    pack: Pack,
    publish: Publish,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither beside the archive, nor in a parent folder, nor at an absolute path."""
    here = tmp_path / "a" / "b" / "c"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    absolute = tmp_path / "absolute.txt"
    packed = pack(
        {
            "plain.txt": b"a plain member\n",
            "../../evil.txt": b"an evil member\n",
            "x/../../../evil.txt": b"an evil member\n",
            str(absolute): b"an absolute member\n",
        }
    )
    publish(send(packed), hashlib.sha256(packed).hexdigest(), file=file, glob="*.txt")
    cache = tmp_path / "cache"
    fetch(NAME, folder)
    corpus = encode_corpus((NAME,), CorpusConfig(), Catalog(folder), cache_dir=cache)
    assert text_of(corpus) == "a plain member\n" + 2 * "an evil member\n" + "an absolute member\n"
    written = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(cache)]
    assert written == [folder / file]
    assert not [p for p in cache.rglob("*") if p.suffix == ".txt"]


def test_a_missing_corpus_explains_how_to_fetch_it(
    publish: Publish, folder: Path, tmp_path: Path
) -> None:
    publish(send(CONTENT))
    with pytest.raises(CorpusError, match=f"charrnn corpora fetch {NAME}, or save http"):
        encode_corpus((NAME,), CorpusConfig(), Catalog(folder), cache_dir=tmp_path / "cache")
