"""What one model writes under different sampling settings: measurements, and the first lines.

Writes the table and the excerpts between the two marks in docs/explanation/decoding.md.

    python benchmarks/decoding.py MODEL [--checkpoint-dir FOLDER]
"""

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import charrnn

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "decoding.md"
MARKS = "<!-- made by benchmarks/decoding.py -->\n", "<!-- end -->\n"
PROMPT = "ROMEO:\n"
LENGTH, TEXTS, SHOWN = 1_000, 8, 160
SEED = 1


@dataclass(frozen=True)
class Way:
    """Flags of `charrnn sample`, and the settings that they stand for."""

    flags: str
    sampling: dict[str, Any]
    beams: dict[str, Any] | None = None


WAYS = [
    Way("-t 0", {"temperature": 0}),
    Way("--num-beams 8", {}, {"num_beams": 8}),
    Way(
        "--num-beams 8 --no-repeat-ngram-size 16",
        {"no_repeat_ngram_size": 16},
        {"num_beams": 8},
    ),
    Way(
        "--num-beams 8 --num-beam-groups 4 --diversity-penalty 1",
        {},
        {"num_beams": 8, "num_beam_groups": 4, "diversity_penalty": 1.0},
    ),
    Way(
        "--num-beams 8 --beam-sampling -t 1",
        {"temperature": 1},
        {"num_beams": 8} | {"beam_sampling": True},
    ),
    Way("-t 0.5", {"temperature": 0.5}),
    Way("-t 0.8", {"temperature": 0.8}),
    Way("-t 1", {"temperature": 1}),
    Way("-t 1.2", {"temperature": 1.2}),
    Way("-t 1 --top-p 0.9", {"temperature": 1, "top_p": 0.9}),
    Way("-t 1 --min-p 0.1", {"temperature": 1, "min_p": 0.1}),
    Way("-t 1 --typical-p 0.9", {"temperature": 1, "typical_p": 0.9}),
]


def main() -> None:
    folder = sys.argv[3] if sys.argv[2:3] == ["--checkpoint-dir"] else charrnn.CHECKPOINT_DIR
    model = charrnn.load(sys.argv[1], checkpoint_dir=folder)
    rows, excerpts = [], []
    for way in WAYS:
        texts = write(model, way)
        print(way.flags, flush=True)
        rows.append(row(way, [report(model, text) for text in texts]))
        first = "".join(f"    {line}".rstrip() + "\n" for line in texts[0][1][:SHOWN].splitlines())
        excerpts.append(f"`{way.flags}`:\n\n{first}")
    table = HEAD + "".join(rows)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    made = f"{table}\n" + "\n".join(excerpts)
    PAGE.write_text(f"{before}{MARKS[0]}\n{made}\n{MARKS[1]}{after}", encoding="utf-8")


HEAD = (
    "| flags | bits/char | distinct 4 | 8 | 16 | longest copy | known words |\n"
    "|---|---|---|---|---|---|---|\n"
)


def write(model: charrnn.Model, way: Way) -> list[tuple[charrnn.Generation | charrnn.Beam, str]]:
    config = charrnn.SamplingConfig(**({"length": LENGTH, "seed": SEED} | way.sampling))
    found: Iterable[charrnn.Generation | charrnn.Beam]
    if way.beams is not None:
        found = model.beam_search(PROMPT, config, charrnn.BeamConfig(**way.beams))
    else:
        found = model.samples(1 if config.temperature == 0 else TEXTS, PROMPT, config)
    return [(text, "".join(text)) for text in found]


def report(
    model: charrnn.Model, text: tuple[charrnn.Generation | charrnn.Beam, str]
) -> charrnn.Report:
    source, written = text
    return model.report(written, source.bits_per_char)


def row(way: Way, reports: Sequence[charrnn.Report]) -> str:
    """Return a row of the table: means over the texts, and the longest copy in any of them."""

    def mean(name: str) -> float:
        values: list[float] = [getattr(report, name) for report in reports]
        return statistics.mean(values)

    copied = max(report.copied_characters or 0 for report in reports)
    return (
        f"| `{way.flags}` | {mean('bits_per_char'):.2f} | {mean('distinct_4'):.0%} "
        f"| {mean('distinct_8'):.0%} | {mean('distinct_16'):.0%} | {copied} "
        f"| {mean('known_words'):.0%} |\n"
    )


if __name__ == "__main__":
    main()
