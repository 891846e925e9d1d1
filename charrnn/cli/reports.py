"""Reports on repetition and copying, in words."""

import charrnn

SHOWN = 60  # characters of a copy to show


def report_facts(report: "charrnn.Report") -> dict[str, str]:
    """Return the figures of a report as names and words."""
    facts = {
        "bits/char": _figure(report.bits_per_char, ".4f"),
        "distinct 4-grams": _figure(report.distinct_4, ".1%"),
        "distinct 8-grams": _figure(report.distinct_8, ".1%"),
        "distinct 16-grams": _figure(report.distinct_16, ".1%"),
    }
    if report.copied is None:
        return facts | {"longest copy": "unknown without the training corpus; pass --corpus PATH"}
    copied = "nothing"
    if report.copied_at is not None:
        copied = (
            f"{charrnn.counted(len(report.copied), 'character')} "
            f"({report.copied_share:.0%} of the text) from character {report.copied_at + 1:,} of "
            f"the corpus: {_shortened(report.copied)}"
        )
    known = "no words to look up"
    if report.known_words is not None:
        known = f"{report.known_words:.1%} of {report.words:,}"
    return facts | {"longest copy": copied, "known words": known}


def _figure(value: float | None, form: str) -> str:
    return "the text is too short" if value is None else f"{value:{form}}"


def _shortened(text: str) -> str:
    shown = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return repr(shown)
