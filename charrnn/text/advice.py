"""What the shape of a text suggests, in messages for the user; they change no setting."""

import shlex
from dataclasses import replace

from charrnn.errors import shortened
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus
from charrnn.text.shape import Shape, shape_of

MANY_REPEATED = 0.2  # of the validation part
UNLIKE, TIMES = 0.04, 2  # bits more than random parts of the text differ by, and how many times
FEW_DOCUMENTS = 10  # too few to hold out random ones
_WAYS = {"list": "`lines`", "titled": "`paragraphs`", "labelled": "`paragraphs`"}
_SIGNS = {"titled": ", each under a title of its own", "labelled": ", all under the same label"}


def advice(corpus: EncodedCorpus, config: CorpusConfig) -> list[str]:
    """Return what the user should know about the shape of a corpus, and about its split."""
    shape = shape_of(corpus, config)
    if shape.form in _WAYS and shape.length * corpus.documents > corpus.characters / 2:
        shape = replace(shape, form="documents")  # most files hold one line or paragraph each
    if config.paragraphs and corpus.documents == 1:
        return ["no blank line in the text, so with `paragraphs` all of it is one document"]
    return [*_documents(shape, corpus), *_split(shape, corpus, config)]


def _documents(shape: Shape, corpus: EncodedCorpus) -> list[str]:
    """Suggest another way to cut the text into documents."""
    if shape.table is not None:
        csv = shape.table.kind == "csv"
        what = "rows of a table" if csv else "JSON objects, one on each line"
        return [
            f"{what}: {_way(shape)} reads the texts in one {'column' if csv else 'field'}, each as "
            "a text of its own"
        ]
    if shape.form == "list":
        lines = int(corpus.counts[ord("\n")])
        length = corpus.characters / lines
        return [
            f"{lines:,} lines of {length:.0f} characters on average: `lines` treats each as a text "
            "of its own"
        ]
    if shape.form in _SIGNS:
        number = f"{shape.units:,} paragraphs" if shape.whole else "paragraphs"
        return [
            f"{number} of {shape.length:.0f} characters on average{_SIGNS[shape.form]}: "
            "`paragraphs` treats each as a text of its own"
        ]
    return []


def _split(shape: Shape, corpus: EncodedCorpus, config: CorpusConfig) -> list[str]:
    """Say what makes the validation loss misleading."""
    messages = []
    from_end = config.val_text is None and not config.split_documents and len(corpus.val) > 0
    part = f"the last {100 * config.val_fraction:.3g}%"
    way = f"{_way(shape)} and " if _way(shape) else ""
    if from_end and shape.order:
        how = "alphabetically" if shape.order == "alphabetical" else "by length"
        messages.append(
            f"{_what(shape)} are sorted {how}: hold out random ones with {way}`split_documents`; "
            f"otherwise the validation part, {part}, is unlike the rest"
        )
    elif from_end and shape.divergence >= max(shape.usual + UNLIKE, TIMES * shape.usual):
        messages.append(
            f"the validation part, {part} of the text{_last_documents(corpus)}, is unlike the "
            f"rest: its characters differ {shape.divergence / max(shape.usual, 1e-9):.0f} times as "
            f"much as those of a random part; choose another with {_others(corpus, way)}"
        )
    if shape.repeated >= MANY_REPEATED:
        share = f"{int(100 * shape.repeated)}%"
        if not shape.whole and shape.repeated < 1:
            share = f"at least {share}"
        messages.append(
            f"{share} of {_what(shape)} in the validation part are also in the training part, so "
            "the validation loss flatters: remove duplicates first"
        )
    return messages


def _way(shape: Shape) -> str:
    """Return the setting that cuts the text into documents, if one suggests itself."""
    if shape.table is None:
        return _WAYS.get(shape.form, "")
    name = shlex.quote(shortened(shape.table.longest).replace("`", ""))
    return f"`{'column' if shape.table.kind == 'csv' else 'field'}={name}`"


def _what(shape: Shape) -> str:
    return {"documents": "the documents", "list": "the lines"}.get(shape.form, "the paragraphs")


def _last_documents(corpus: EncodedCorpus) -> str:
    last = corpus.val.count_ends()
    if corpus.documents < 2 or not last:
        return ""
    number = f"last {last:,}" if last > 1 else "last"
    return f" (from the {number} of {corpus.documents:,} documents)"


def _others(corpus: EncodedCorpus, way: str) -> str:
    many = way or corpus.documents >= FEW_DOCUMENTS
    return f"{way}`split_documents`, or `val_text`" if many else "`val_text`"
