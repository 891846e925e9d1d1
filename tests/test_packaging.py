"""The wheel holds what it must and nothing else, and works where nothing else is."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import charrnn
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"charrnn-{charrnn.__version__}.dist-info"
    sources = {p.relative_to(ROOT).as_posix() for p in (ROOT / "charrnn").rglob("*.py")}
    assert names == sources | {
        "charrnn/py.typed",
        f"{info}/METADATA",
        f"{info}/RECORD",
        f"{info}/WHEEL",
        f"{info}/entry_points.txt",
        f"{info}/licenses/LICENSE",
    }


def test_the_wheel_says_what_it_needs_and_what_it_installs(wheel: Path) -> None:
    info = f"charrnn-{charrnn.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{info}/METADATA").decode()
        scripts = archive.read(f"{info}/entry_points.txt").decode()
    assert "charrnn = charrnn.__main__:main" in scripts
    assert "Requires-Python: >=3.11" in metadata
    assert "Requires-Dist: torch>=2.10" in metadata
    assert "License-Expression: MIT" in metadata


def test_the_wheel_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """Dependencies are borrowed from this environment, the package is not."""
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
    where = subprocess.run(
        [python, "-c", "import charrnn; print(charrnn.__file__)"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert where.startswith(str(site))
