"""Wheel and sdist hold what they must and nothing else, and the wheel works on its own."""

import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import charrnn
from tests.conftest import ROOT

INFO = f"charrnn_lm-{charrnn.__version__}.dist-info"


def built(kind: str, folder: Path) -> Path:
    """A wheel or an sdist of the repository."""
    subprocess.run(
        [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("dist"))


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a git repository"
)
def test_the_sdist_holds_what_the_repository_holds(tmp_path: Path) -> None:
    """And nothing that git ignores, such as a fetched corpus or a run."""
    with tarfile.open(built("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked, new = (
        subprocess.run(
            ["git", "-C", ROOT, "ls-files", "-z", *which],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\0")[:-1]
        for which in (["--cached"], ["--others", "--exclude-standard"])
    )
    assert {*tracked} - {".ci/run", ".gitattributes"} <= names
    assert names <= {*tracked, *new, "PKG-INFO"}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {p.relative_to(ROOT).as_posix() for p in (ROOT / "charrnn").rglob("*.py")}
    assert names == sources | {
        "charrnn/__init__.pyi",  # lazy_loader reads it at run time
        "charrnn/py.typed",
        f"{INFO}/METADATA",
        f"{INFO}/RECORD",
        f"{INFO}/WHEEL",
        f"{INFO}/entry_points.txt",
        f"{INFO}/licenses/LICENSE",
    }


def test_the_wheel_says_what_it_needs_and_what_it_installs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{INFO}/METADATA").decode()
        scripts = archive.read(f"{INFO}/entry_points.txt").decode()
    assert "charrnn = charrnn.__main__:main" in scripts
    assert "\nName: charrnn-lm\n" in metadata
    assert "\nAuthor: The charrnn authors\n" in metadata
    for page in ("Homepage", "Documentation", "Source", "Issues", "Changelog"):
        assert f"\nProject-URL: {page}, https://" in metadata
    for extra in ("fast", "plot"):
        assert f"\nProvides-Extra: {extra}\n" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "Requires-Dist: torch>=2.10" in metadata
    assert "License-Expression: MIT" in metadata


def test_the_wheel_works_in_an_environment_of_its_own(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dependencies are borrowed from this environment, the package is not."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    bin_folder = environment / ("Scripts" if sys.platform == "win32" else "bin")
    python = bin_folder / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--no-deps",
            "--no-index",
            wheel,
        ],
        check=True,
        capture_output=True,
    )
    import typer

    (Path(site) / "borrowed.pth").write_text(str(Path(typer.__file__).parents[1]))
    done = subprocess.run(
        [bin_folder / "charrnn", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == f"charrnn {charrnn.__version__}\n"
    every_name = "import charrnn; [getattr(charrnn, name) for name in charrnn.__all__]"
    where = subprocess.run(
        [python, "-c", f"{every_name}; print(charrnn.__file__)"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert where.startswith(str(site))
