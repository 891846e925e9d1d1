"""Decode files and normalize their text, block by block."""

import codecs
import io
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.catalog.corpora import read_text
from charrnn.errors import CorpusError, SettingsError, UndecodableError
from charrnn.text import decoding
from charrnn.text.config import CorpusConfig
from charrnn.text.decoding import decode, transform, transformed
from charrnn.text.encodings import encoding_from_bom, likely_encoding

# Text in which all kinds of line ends and characters of all widths meet.
mixed = st.lists(st.sampled_from(["a", "é", "字", "😀", "\r", "\n", "\r\n", "\x00", "\u2028"])).map(
    "".join
)
# Text in which normalization and lower case depend on the characters on both sides of a cut.
delicate = st.lists(
    st.sampled_from("aE .'\n\u0301\u0323\u1161\u1100\u11a8가ΣσΑﬁİ字ｶ\uff9e\u0345½\u00ad")
).map("".join)


def decoded(data: bytes, *, notices: list[str] | None = None, **settings: Any) -> str:
    stream = io.BufferedReader(io.BytesIO(data))
    notice = (notices if notices is not None else []).append
    return "".join(decode(stream, "t.txt", CorpusConfig(**settings), notice=notice))


@given(text=mixed, block=st.integers(1, 7), bom=st.booleans())
def test_block_borders_do_not_change_the_text(text: str, block: int, bom: bool) -> None:
    """Even if a character, a CRLF or a byte order mark lies across one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BLOCK_BYTES", block)
        assert decoded(text.encode("utf-8-sig" if bom else "utf-8")) == text


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "shift_jis", "utf-16-le", "utf-7"])
@given(data=st.binary(max_size=40), block=st.integers(1, 7))
@example(data=b"\xef\xbb\xbfabc\xff", block=100)
@example(data=b"\xef\xbb\xbfabc\xff", block=2)
def test_bytes_decode_or_the_error_names_the_byte(encoding: str, data: bytes, block: int) -> None:
    """A file read in blocks gives the result, or the error, of Python's strict decoder."""
    if encoding_from_bom(data):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "BLOCK_BYTES", block)
        try:
            expected = data.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as found:
            shown = "UTF-8" if encoding == "utf-8" else encoding
            # at the end of a file, utf-7 does not report where the incomplete sequence began
            place = r"[\d,]+" if encoding == "utf-7" else f"{found.start:,}"
            with pytest.raises(CorpusError, match=rf"not {shown} at byte {place} \("):
                decoded(data, encoding=encoding)
        else:
            assert decoded(data, encoding=encoding) == expected


@given(data=st.binary(max_size=60))
def test_replace_and_ignore_accept_any_bytes(data: bytes) -> None:
    if encoding_from_bom(data):
        return
    for errors in ("replace", "ignore"):
        expected = data.decode(errors=errors).removeprefix("\ufeff")
        assert decoded(data, errors=errors) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be", "utf-32-le"])
def test_a_byte_order_mark_decides_and_is_reported(encoding: str) -> None:
    mark = "" if encoding in ("utf-16", "utf-32") else "\ufeff"
    data = (mark + "Grüße 字").encode(encoding)
    notices: list[str] = []
    assert decoded(data, notices=notices) == "Grüße 字"
    assert notices[0].startswith(f"t.txt: read as {encoding[:6].upper()}-")
    assert notices[0].endswith("E because of its byte order mark")
    assert decoded(data, encoding=encoding) == "Grüße 字"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("从前有一位年老的国王，他住在山上的一座城堡里。" * 3, "gb18030"),
        ("從前有一位年老的國王，他住在山上的一座城堡裡。" * 3, "big5"),
        ("むかしむかし、おじいさんとおばあさんが住んでいました。" * 3, "cp932"),
        ("Жил-был старый король, и было у него три сына. " * 3, "cp1251"),
        ("Il était une fois une reine très âgée, à l'étranger. " * 3, "cp1252"),
        ("Es war einmal ein König, der hatte drei Söhne. " * 3, "cp1252"),
        ("“Well,” she said, “that naïve café — it’s closed.” " * 3, "cp1252"),
        ("På våren går isen upp, och ån blir åter öppen. " * 3, "cp1252"),
        ("La città è là, e così è già più bella. " * 3, "cp1252"),
        ("Não há razão: o coração é do avô, à noite também. " * 3, "cp1252"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy. " * 3, "cp1250"),
        ("Volt egyszer egy öreg király, és annak fia, a legkisebb őrizte a tűzet. ", "cp1250"),
        ("Zażółć gęślą jaźń, pójdź w tę noc. " * 3, "cp1250"),
        ("İstanbul çok güzel, ama kışın şehir soğuk olur. " * 3, "cp1254"),
        ("El niño vivía aquí, en el jardín de su tía. " * 3, "cp1252"),
        ("нет. Нет, он не пришёл, и она ждала его до утра. " * 3, "cp1251"),
        ("Мой дядя самых честных правил, когда не в шутку занемог. " * 3, "koi8-r"),
    ],
)
def test_the_error_suggests_the_likely_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "old text.txt"
    path.write_bytes(b"Title\n" + text.encode(encoding))
    with pytest.raises(UndecodableError) as raised:
        read_text(path)
    at = 6 + next(i for i, byte in enumerate(text.encode(encoding)) if byte > 127)
    assert f"not UTF-8 at byte {at:,} (" in str(raised.value)
    assert f"it looks like {encoding}, which reads " in str(raised.value)
    assert str(raised.value).endswith(f"pass `encoding={encoding}`")
    assert raised.value.remedy == {"encoding": encoding}
    assert read_text(path, CorpusConfig(encoding=encoding)) == "Title\n" + text


def test_no_encoding_is_suggested_for_random_bytes() -> None:
    assert likely_encoding(bytes(range(256)) * 8) is None
    with pytest.raises(CorpusError, match="; if it is text, name its encoding"):
        decoded(bytes(range(256)) * 8)


@pytest.mark.parametrize(
    "data",
    [
        "the bridge — the old one — is closed".encode() * 9 + "—".encode()[:2],
        "Il était très âgé. ".encode() * 9 + b"\xff" + "Il était très âgé. ".encode() * 9,
        "春眠不觉晓，处处闻啼鸟。".encode() * 9 + "春".encode()[:2],
        "Мой дядя самых честных правил. ".encode() * 9 + b"\xe9\xe9",
        "\ufeffodd".encode("utf-16-le") + b"a",
        b"plain to the last character, which is c" + "ü".encode()[:1],
    ],
)
def test_damage_is_not_mistaken_for_another_encoding(data: bytes) -> None:
    with pytest.raises(UndecodableError, match="but valid elsewhere, so it is damaged") as raised:
        decoded(data)
    assert raised.value.remedy == {"errors": "replace"}
    notices: list[str] = []
    text = decoded(data, notices=notices, errors="replace")
    count = text.count("\N{REPLACEMENT CHARACTER}")
    plural = "s" * (count > 1)
    assert notices[-1] == f"t.txt: {count} undecodable sequence{plural} read as U+FFFD"


def test_halves_of_surrogate_pairs_are_reported() -> None:
    with pytest.raises(UndecodableError, match=r"byte 2 \(ED A0 BD ED\) but half of a surrogate"):
        decoded("a \ud83d\ude00".encode(errors="surrogatepass"))


def test_utf8_is_suggested_when_another_encoding_fails() -> None:
    """For instance if a model trained on gb18030 is given a text in UTF-8."""
    with pytest.raises(UndecodableError, match="it looks like utf-8, which reads 'déjà v"):
        decoded("déjà vu\n".encode(), encoding="ascii")
    with pytest.raises(UndecodableError, match="it looks like utf-8, which reads '常道"):
        decoded("道可道，非常道；名可名，非常名。\n".encode(), encoding="gb18030")


@pytest.mark.parametrize("named", ["utf-8", "cp1252", "gb18030", "utf-16-be"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_overrides_the_named_encoding(named: str, encoding: str) -> None:
    notices: list[str] = []
    text = decoded("déjà vu\n".encode(encoding), notices=notices, encoding=named)
    assert text == "déjà vu\n"
    own = encoding.removesuffix("-sig")
    assert notices == [] if named == own else own.upper() in notices[0]


def test_utf16_without_a_byte_order_mark_is_suspected() -> None:
    notices: list[str] = []
    decoded("the old bridge\n".encode("utf-16-le") * 9, notices=notices)
    assert "contains many NUL characters; if it is UTF-16" in notices[0]
    with pytest.raises(UndecodableError, match="`encoding=utf-16-le` or `encoding=utf-16-be`"):
        decoded("the old bridge\n".encode("utf-16-le") * 9, encoding="utf-16")


def test_utf16_without_a_byte_order_mark_is_suggested() -> None:
    assert likely_encoding("the old bridge\n".encode("utf-16-le") * 9) == "utf-16-le"


@pytest.mark.parametrize("name", ["no-such", "base64", "rot13", "utf\0-8", "undefined", "hex"])
def test_names_of_other_codecs_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="not a text encoding that Python knows"):
        CorpusConfig(encoding=name)


@given(text=mixed, cuts=st.lists(st.integers(1, 5)))
def test_line_ends_become_line_feeds_across_cuts(text: str, cuts: list[int]) -> None:
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    assert "".join(transform(pieces(text, cuts), CorpusConfig())) == expected
    assert "".join(transform(pieces(text, cuts), CorpusConfig(keep_newlines=True))) == text


@pytest.mark.parametrize("form", ["none", "nfc", "nfkc"])
@pytest.mark.parametrize("lowercase", [False, True])
@given(text=delicate, cuts=st.lists(st.integers(1, 5)))
@example(text="α'Σ", cuts=[1])
@example(text="ΑΣ.Α", cuts=[2])
@example(text="a\u0301\u0323b", cuts=[1, 1])
def test_cuts_do_not_change_normalization_and_case(
    form: Any, lowercase: bool, text: str, cuts: list[int]
) -> None:
    expected = text if form == "none" else unicodedata.normalize(form.upper(), text)
    expected = expected.lower() if lowercase else expected
    config = CorpusConfig(normalize=form, lowercase=lowercase)
    assert "".join(transform(pieces(text, cuts), config)) == expected
    assert transformed(text, config) == expected


def test_normalizing_a_long_text_takes_little_memory() -> None:
    """Each block is passed on before the next one is read."""
    config = CorpusConfig(normalize="nfc", lowercase=True)
    blocks = transform(("字" * 100 for _ in range(5)), config)
    assert len(next(blocks)) == 99


def pieces(text: str, cuts: list[int]) -> list[str]:
    found, at = [], 0
    for cut in cuts:
        found.append(text[at : at + cut])
        at += cut
    return [*found, text[at:]]


def test_byte_order_marks_are_recognized() -> None:
    assert encoding_from_bom(codecs.BOM_UTF8) == "utf-8"
    assert encoding_from_bom(b"ab") is None
