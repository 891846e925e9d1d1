"""Corpora on the command line: looked at, trained on, taken from the cache."""

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, TEXT, Command
from tests.processes import start, wait_until

TINY = ["--hidden-size", "8", "--embedding-size", "4", "--steps", "3", "--eval-every", "0"]
TINY += ["--batch-size", "4", "--seq-length", "16", "--threads", "1"]


def test_show_describes_a_corpus(command: Command, corpus: Path) -> None:
    done = command("corpora", "show", corpus)
    assert done.returncode == 0, done.stderr
    assert "1,704 bytes of UTF-8" in done.stdout
    assert "1,533 characters for training, 171" in done.stdout
    found = json.loads(command("corpora", "show", corpus, "--json").stdout)
    assert (found["name"], found["characters"], found["vocabulary"]) == (
        "river",
        len(TEXT),
        len(set(TEXT)),
    )
    assert found["most_frequent"][0] == [" ", TEXT.count(" ")]
    assert found["duplicate_lines"] == pytest.approx(11 / 12)
    assert [round(h, 3) for h in found["entropy"]] == sorted(
        [round(h, 3) for h in found["entropy"]], reverse=True
    )


def test_show_takes_the_settings_of_train(command: Command, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Anna\nBert\n\nCarla\nAnna\n")
    text = command("corpora", "show", "names.txt", "--lines", "--lowercase", "--json")
    found = json.loads(text.stdout)
    assert (found["documents"], found["lines"], found["duplicate_lines"]) == (4, 4, 0.25)
    assert found["most_frequent"][0] == ["a", 6]


def test_notices_go_to_stderr_and_can_be_silenced(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "poems"
    folder.mkdir()
    (folder / "river.txt").write_text(TEXT)
    (folder / ".hidden").write_text(TEXT)
    (folder / "photo.png").write_bytes(b"\x89PNG\0")
    done = command("corpora", "show", "poems", "--json")
    assert json.loads(done.stdout)["documents"] == 1
    assert "skipped 1 (hidden)" in done.stderr
    assert "skipped 1 (not text)" in done.stderr
    assert command("corpora", "show", "poems", "--json", "--quiet").stderr == ""
    trained = command("train", "poems", *TINY)
    assert "notice: skipped 1 (hidden)" in trained.stderr


def test_the_command_in_an_encoding_error_works(command: Command, tmp_path: Path) -> None:
    text = "Il était une fois une reine très âgée, à l'étranger.\n" * 20
    (tmp_path / "old text.txt").write_bytes(text.encode("cp1252"))
    done = command("train", "old text.txt", *TINY)
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("error: old text.txt: not UTF-8 at byte 3 (E9 74 61 69); it looks like")
    offered = shlex.split(second)
    assert offered[:-1] == ["charrnn", "train", "old text.txt", *TINY, "--encoding"]
    again = command(*offered[1:])
    assert again.returncode == 0, again.stderr
    scored = command("eval", "old-text", "old text.txt")  # the run's encoding is its texts'
    assert scored.returncode == 0, scored.stderr
    other = command("eval", "old-text", "old text.txt", "--encoding", "utf-8")
    assert other.returncode == 1
    assert "charrnn eval old-text 'old text.txt' --encoding cp1252\n" in other.stderr


def test_a_run_on_piped_text_resumes_from_the_cache(command: Command, tmp_path: Path) -> None:
    cache = ("--cache-dir", "cache")
    done = command("train", "-", *TINY, *cache, stdin=TEXT)
    assert done.returncode == 0, done.stderr
    more = command("resume", "--steps", "5", *cache)
    assert more.returncode == 0, more.stderr
    assert "step 5" in more.stderr
    assert "using its encoded copy in the cache" in more.stderr
    assert command("corpora", "cache", "--clear", *cache).returncode == 0
    gone = command("resume", "--steps", "7", *cache)
    assert gone.returncode == 1
    assert "text that came through a pipe cannot be read again" in gone.stderr
    assert "charrnn resume RUN --corpus PATH" in gone.stderr
    again = command("resume", "--steps", "7", "--corpus", "-", *cache, stdin=TEXT)
    assert again.returncode == 0, again.stderr


def test_eval_reads_what_train_reads(command: Command, corpus: Path, tmp_path: Path) -> None:
    assert command("train", corpus, *TINY).returncode == 0
    folder = tmp_path / "poems"
    folder.mkdir()
    (folder / "one.txt").write_text(TEXT)
    (folder / ".hidden").write_text("x")
    scores = []
    for source in (corpus, folder, "poems/*.txt", "-"):
        done = command("eval", "river", source, "--json", stdin=TEXT)
        assert done.returncode == 0, done.stderr
        assert ("skipped 1 (hidden)" in done.stderr) is (source == folder)
        scores.append(json.loads(done.stdout)["nats_per_char"])
    assert len(set(scores)) == 1


def test_eval_reads_the_column_that_was_trained_on(command: Command, tmp_path: Path) -> None:
    rows = "".join(f"{i},the river number {i}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("n,text\n" + rows)
    (tmp_path / "other.csv").write_text("text;n\nthe river;1\n")
    (tmp_path / "other.txt").write_text("the river\n")
    assert command("train", "t.csv", "--column", "text", *TINY).returncode == 0
    done = command("eval", "t", "other.csv", "--json")
    assert json.loads(done.stdout)["characters"] == len("the river\n"), done.stderr
    wrong = command("eval", "t", "other.txt")
    assert wrong.returncode == 1
    assert "other.txt: no column is called 'text'" in wrong.stderr


def test_the_suggested_flag_comes_before_a_double_dash(command: Command, tmp_path: Path) -> None:
    (tmp_path / "-dash.txt").write_bytes("Il était une fois à l'étranger.\n".encode("cp1252") * 9)
    done = command("corpora", "show", "--", "-dash.txt")
    offered = shlex.split(done.stderr.splitlines()[1])
    assert offered[1:] == ["corpora", "show", "--encoding", "cp1252", "--", "-dash.txt"]
    assert command(*offered[1:]).returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a shell")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(tmp_path: Path, corpus: Path, closed: str) -> None:
    line = f"{sys.executable} -m charrnn corpora show - {corpus} {closed}"
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=tmp_path, stdin=subprocess.DEVNULL,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_model_of_paragraphs_reads_and_writes_them(command: Command, tmp_path: Path) -> None:
    """Blank lines of any kind end a text when training, and scoring; a sample stops there."""
    poems = "Rain\nfalls.\n\nSnow\nmelts.\n\n\n  \nHail\nstops.\n\n" * 10
    (tmp_path / "poems.txt").write_text(poems)
    (tmp_path / "windows.txt").write_bytes(poems.replace("\n", "\r\n").encode())
    flags = ("--paragraphs", "--split-documents", *TINY)
    done = command("train", "poems.txt", *flags)
    assert done.returncode == 0, done.stderr
    assert "in 30 documents" in done.stderr
    scores = [
        json.loads(command("eval", "poems", name, "--json").stdout)
        for name in ("poems.txt", "windows.txt")
    ]
    assert scores[0]["characters"] == 10 * len("Rain\nfalls.\n\nSnow\nmelts.\n\nHail\nstops.\n\n")
    assert scores[0]["nats_per_char"] == scores[1]["nats_per_char"]
    texts = command("sample", "--num-samples", "3", "--seed", "1", "-n", "300", "--min-length", "1")
    assert texts.returncode == 0, texts.stderr
    found = json.loads(
        command(
            "sample", "--num-samples", "3", "--seed", "1", "-n", "300", "--min-length", "1",
            "--json",
        ).stdout
    )  # fmt: skip
    assert all("\n\n" not in one["text"] for one in found)
    assert texts.stdout == "\n\n".join(one["text"] for one in found) + "\n"


def test_a_sample_of_lines_is_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Anna\nBert\nCarla\n" * 20)
    done = command("train", "names.txt", "--lines", *TINY)
    assert done.returncode == 0, done.stderr
    assert "in 60 documents" in done.stderr
    for seed in range(3):
        result = json.loads(command("sample", "--json", "--seed", seed, "-n", "200").stdout)
        assert "\n" not in result["text"]
        assert result["stop_reason"] == ("end" if len(result["text"]) < 200 else "length")


def test_prompts_are_read_as_the_corpus_was(command: Command, corpus: Path) -> None:
    assert command("train", corpus, "--lowercase", "--normalize", "nfkc", *TINY).returncode == 0
    done = command("sample", "-p", "ＴＨＥ RIVER", "-n", "0")
    assert (done.returncode, done.stdout) == (0, "the river"), done.stderr


def test_a_separator_may_be_written_with_escapes(command: Command, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(TEXT)
    done = command("train", "a.txt", "b.txt", "--separator", r"\n\\\t", *TINY)
    assert done.returncode == 0, done.stderr
    facts = json.loads(command("info", "--json").stdout)
    assert facts["text"]["separator"] == "\n\\\t"
    bracketed = command("train", "a.txt", "b.txt", "--separator", r"[end]\n", "--run", "b", *TINY)
    assert bracketed.returncode == 0, bracketed.stderr
    facts = json.loads(command("info", "b", "--json").stdout)
    assert facts["text"]["separator"] == "[end]\n"


def test_the_cache_can_be_listed_and_cleared(command: Command, corpus: Path) -> None:
    cache = ("--cache-dir", "cache")
    assert command("corpora", "show", corpus, *cache).returncode == 0
    listed = json.loads(command("corpora", "cache", "--json", *cache).stdout)
    assert [entry["name"] for entry in listed["corpora"]] == ["river"]
    assert "river" in command("corpora", "cache", *cache).stdout
    cleared = command("corpora", "cache", "--clear", *cache)
    assert "freed" in cleared.stderr
    assert json.loads(command("corpora", "cache", "--json", *cache).stdout)["corpora"] == []


def test_the_books_in_the_repository_are_clean_text(command: Command) -> None:
    done = command("corpora", "show", ROOT / "corpora", "--glob", "*.txt", "--json")
    found = json.loads(done.stdout)
    assert found["documents"] == 3
    assert found["bytes"] > 100_000
    assert found["duplicate_lines"] < 0.02
    assert found["entropy"][0] > 5


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_killing_an_encoding_does_no_harm(
    command: Command, tmp_path: Path, number: int, code: int
) -> None:
    corpus = tmp_path / "long.txt"
    corpus.write_text(TEXT * 30_000)  # about 50 MB: some seconds to pack and read
    process = start("train", corpus, *TINY, "--cache-dir", "cache", cwd=tmp_path)
    store = tmp_path / "cache" / "encoded"
    wait_until(lambda: any(store.glob("tmp-*/entry/ids.bin")), process)
    process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == code, stderr
    assert b"Traceback" not in stderr
    left = list(store.glob("tmp-*"))
    assert left == [] or number == signal.SIGKILL
    done = command("corpora", "show", corpus, "--cache-dir", "cache", "--json")
    assert json.loads(done.stdout)["characters"] == len(TEXT) * 30_000
    assert len(list(store.iterdir())) == 1, "what was left is gone"
