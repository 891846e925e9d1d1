"""Messages say what to do next, as it works where they appear."""

import sys
from pathlib import Path

import pytest

from charrnn import errors
from tests.conftest import ROOT


def test_in_a_checkout_an_extra_is_installed_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With relative paths inside the checkout, and with absolute ones anywhere else."""
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv" / "bin" / "python"))
    monkeypatch.chdir(ROOT)
    short = str(Path(".venv", "bin", "python"))
    assert errors.install_command("plot") == f'{short} -m pip install -e ".[plot]"'
    monkeypatch.chdir(tmp_path)
    command = f'{ROOT / short} -m pip install -e "{ROOT}[plot]"'
    assert errors.install_command("plot") == command
    error = errors.MissingExtraError("plot", "matplotlib", "plot")
    assert str(error) == f"`plot` needs matplotlib, which is not installed: {command}"


@pytest.mark.parametrize("project", [None, 'name = "somebody-else-s"', "\xff"])
def test_once_installed_an_extra_comes_from_the_index(
    project: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pyproject.toml above the package may be anything."""
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "charrnn" / "errors.py"))
    if project is not None:
        (tmp_path / "pyproject.toml").write_text(project, encoding="latin-1")
    assert errors.install_command("fast") == 'pip install "charrnn-lm[fast]"'
