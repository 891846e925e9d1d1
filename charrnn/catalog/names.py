"""Corpora that have a name: built-in ones, and public ones to download.

The hashes come from public checksum files and from projects that pin the same download:
TensorFlow Datasets (tiny-shakespeare), Hugging Face datasets (enwik8, wikitext-103), ruTS
(russian-classics), kernel.org's sha256sums as others quote it (linux), and independent projects
that agree (text8, enwik9, the books of Project Gutenberg); nottingham from one project alone.
"""

import hashlib
import sys
import sysconfig
import tokenize
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charrnn.errors import CorpusError

PYTHON_CAP_BYTES = 5_000_000
# Folders of the standard library with third-party packages, tests or generated files.
_EXCLUDED = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idle_test",
    "__pycache__",
    "_bundled",
}
# Names that are a prefix and a running number: 100,000 lines from which there is nothing to learn.
_NUMBERED = (
    "CJK UNIFIED IDEOGRAPH-", "CJK COMPATIBILITY IDEOGRAPH-", "HANGUL SYLLABLE ",
    "TANGUT IDEOGRAPH-", "NUSHU CHARACTER-", "KHITAN SMALL SCRIPT CHARACTER-",
    "EGYPTIAN HIEROGLYPH-",
)  # fmt: skip


@dataclass(frozen=True)
class NamedCorpus:
    """A built-in corpus. blocks: yields its text, in pieces of any length."""

    name: str
    description: str
    blocks: Callable[[], Iterator[str]]


def _shuffle_key(name: str) -> bytes:
    """Return a sort key that shuffles names in the same way on every machine.

    Otherwise the validation part, the end of the corpus, would differ in kind from the rest.
    """
    return hashlib.sha256(name.encode()).digest()


def python_source() -> Iterator[str]:
    """Yield the source code of the running interpreter's standard library, module by module.

    Without third-party packages and tests, in a shuffled but fixed order, up to PYTHON_CAP_BYTES of
    UTF-8. Raises CorpusError if there is no source code to read.
    """
    root = Path(sysconfig.get_path("stdlib"))
    modules = {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*.py")
        if not _EXCLUDED & set(path.relative_to(root).parts)
    }
    size = 0
    for name in sorted(modules, key=_shuffle_key):
        try:
            with tokenize.open(modules[name]) as file:
                source = file.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue  # unreadable, or broken on purpose
        size += len(source.encode())
        if size > PYTHON_CAP_BYTES:
            return
        yield source
    if size == 0:
        raise CorpusError(
            f"there is no Python source code under {root}; name a text file to train on"
        )


def unicode_names() -> Iterator[str]:
    """Yield the names of all Unicode characters with an individual name, one per line."""
    names = (unicodedata.name(chr(code), "") for code in range(sys.maxunicode + 1))
    kept = (name for name in names if name and not name.startswith(_NUMBERED))
    yield "".join(f"{name}\n" for name in sorted(kept, key=_shuffle_key))


CORPORA = {
    corpus.name: corpus
    for corpus in (
        NamedCorpus(
            "python",
            "source code of the Python standard library, "
            f"up to {PYTHON_CAP_BYTES // 1_000_000} MB, without tests",
            python_source,
        ),
        NamedCorpus("unicode-names", "names of Unicode characters, one per line", unicode_names),
    )
}
DEFAULT = "python"


@dataclass(frozen=True)
class PublicCorpus:
    """A corpus to download.

    file: its name in the corpora folder. bytes, sha256: size and hash of the download, if known.
    glob: which members of an archive belong to the corpus.
    """

    name: str
    description: str
    url: str
    file: str
    source: str
    licence: str
    bytes: int | None = None
    sha256: str | None = None
    glob: str | None = None


_GUTENBERG = "public domain in the USA; Project Gutenberg License"


def _gutenberg(name: str, number: int, description: str, size: int, sha256: str) -> PublicCorpus:
    return PublicCorpus(
        name,
        description,
        f"https://www.gutenberg.org/cache/epub/{number}/pg{number}.txt",
        f"{name}.txt",
        f"https://www.gutenberg.org/ebooks/{number}",
        _GUTENBERG,
        size,
        sha256,
    )


PUBLIC_CORPORA = {
    corpus.name: corpus
    for corpus in (
        PublicCorpus(
            "tiny-shakespeare",
            "1.1 MB of Shakespeare's plays, the usual first corpus",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            "tiny-shakespeare.txt",
            "https://github.com/karpathy/char-rnn",
            "text in the public domain",
            1_115_394,
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
        _gutenberg(
            "alice", 11, "Alice's Adventures in Wonderland", 174_311,
            "01b38ea4c710a84bc18d0bd41271a5a1a92b94e97b2812f4dece97d4a694725e",
        ),
        _gutenberg(
            "sherlock-holmes", 1661, "The Adventures of Sherlock Holmes", 607_606,
            "922e2a12ccb43a4c9544c260b2166c6ad2097aeb5957faeee113f173bb857cd0",
        ),
        _gutenberg(
            "war-and-peace", 2600, "War and Peace in English", 3_359_610,
            "2d5bb2ad5f422765e714617e21fa31bbaf8958aa79682c86fca6660fcc5d1b2b",
        ),
        _gutenberg(
            "hongloumeng", 24264, "紅樓夢, Dream of the Red Chamber, Chinese", 2_663_455,
            "ff1526996bf4b81807651921a85e5c1c0f1d1d123c9fa4553057ba6a3ec72011",
        ),
        _gutenberg(
            "xiyouji", 23962, "西遊記, Journey to the West, Chinese", 2_264_069,
            "af3c9e408c0c58595b666ed9981b6fa1e9343f4bbc78309b1cb0818c32fc1f58",
        ),
        PublicCorpus(
            "russian-classics",
            "Russian prose, verse and plays of the 19th and 20th centuries",
            "https://github.com/d0rj/RusLit/archive/4509680428729da225a73a22008133660f92bb7e.zip",
            "russian-classics.zip",
            "https://github.com/d0rj/RusLit",
            "public domain",
            None,
            "76cf8a91353c62b49dad7c282c5a6d42dcc5f8b0ab27f910ebdc8009579c8993",
            "*.txt",
        ),
        PublicCorpus(
            "nottingham",
            "folk tunes in ABC notation, music as text",
            "https://codeload.github.com/jukedeck/nottingham-dataset/zip/"
            "0992bb6cd864f6d4b90d6663e08c0ef53ffaa08f",
            "nottingham.zip",
            "https://github.com/jukedeck/nottingham-dataset",
            "GPL-3.0",
            1_828_800,
            "9c9c87d745779af617ad4cd0d715210bfc17ff89bc427928593462872542f9a8",
            "ABC_cleaned/*.abc",
        ),
        PublicCorpus(
            "names",
            "32,000 first names, one per line; train with `lines`",
            "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt",
            "names.txt",
            "https://github.com/karpathy/makemore",
            "MIT; names from ssa.gov",
        ),
        PublicCorpus(
            "linux",
            "C source code of the Linux kernel 6.6",
            "https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.6.tar.xz",
            "linux-6.6.tar.xz",
            "https://kernel.org",
            "GPL-2.0 with Linux-syscall-note",
            140_064_536,
            "d926a06c63dd8ac7df3f86ee1ffc2ce2a3b81a2d168484e76b5b389aba8e56d0",
            "*.[ch]",
        ),
        PublicCorpus(
            "wikitext-103",
            "good and featured articles from the English Wikipedia",
            "https://huggingface.co/datasets/mattdangerw/wikitext-103-raw/resolve/"
            "3555105b17ae31cc619a136fac72dbe2865c3738/wikitext-103-raw-v1.zip",
            "wikitext-103-raw-v1.zip",
            "https://huggingface.co/datasets/mattdangerw/wikitext-103-raw",
            "CC BY-SA",
            191_984_949,
            "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794",
            "*.raw",
        ),
        PublicCorpus(
            "text8",
            "100 MB of Wikipedia in lower case, only letters and spaces",
            "http://mattmahoney.net/dc/text8.zip",
            "text8.zip",
            "http://mattmahoney.net/dc/textdata.html",
            "Wikipedia text, GFDL",
            31_344_016,
            "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
        ),
        PublicCorpus(
            "enwik8",
            "the first 100 MB of the English Wikipedia of 2006, as XML",
            "http://mattmahoney.net/dc/enwik8.zip",
            "enwik8.zip",
            "http://mattmahoney.net/dc/textdata.html",
            "Wikipedia text, GFDL",
            36_445_475,
            "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
        ),
        PublicCorpus(
            "enwik9",
            "the first 1 GB of the English Wikipedia of 2006, as XML",
            "http://mattmahoney.net/dc/enwik9.zip",
            "enwik9.zip",
            "http://mattmahoney.net/dc/textdata.html",
            "Wikipedia text, GFDL",
            322_592_222,
            "99cdb5ac84392252d3f0912ccedd195bc95bd80cbef3b0cdf2eee4ad9a3b7a51",
        ),
    )
}  # fmt: skip
