"""The site is built without a warning, and asks no other host for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("mkdocs", reason="the site needs the extra docs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        check=True,
    )
    return folder


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    """A link may lead elsewhere; a script, a style, a font or a picture must not."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]* src=\"(?:https?:)?//[^>]*>", text), page
        loaded = re.findall(r"<link [^>]*>", text)
        outside = [link for link in loaded if re.search(r"href=\"(?:https?:)?//", link)]
        assert all('rel="canonical"' in link or 'rel="alternate"' in link for link in outside), page
        assert 'data-md-component="source"' not in text, f"{page}: the theme would ask GitHub"


def test_the_api_pages_describe_every_setting(site: Path) -> None:
    page = (site / "reference" / "api" / "training" / "index.html").read_text(encoding="utf-8")
    shown = page.partition('id="charrnn.ModelConfig.hidden_size"')[2][:2000]
    assert "Units per recurrent layer." in shown
