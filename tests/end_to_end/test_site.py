"""`make docs` builds a site without a warning, whole, that loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
"""Elements that make a browser load what an attribute names."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


class Addresses(HTMLParser):
    """Collects what a page loads."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get(LOADS.get(tag))
        if address and dict(attrs).get("rel") not in {"canonical", "next", "prev"}:
            self.found.append(address)


def addresses_of(page):
    parser = Addresses()
    parser.feed(page.read_text())
    return parser.found


def test_pages_load_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 100
    for page in pages:
        outside = [one for one in addresses_of(page) if re.match("(https?:)?//", one)]
        assert outside == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//", sheet.read_text()) == [], sheet


def test_every_document_has_a_page(site):
    documents = [*ROOT.glob("docs/**/*.md"), ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
    for path in documents:
        name = path.name if path.parent == ROOT else path.relative_to(ROOT / "docs").as_posix()
        page = site / re.sub("README.md$", "index.html", name)
        assert page.with_suffix(".html").is_file(), name
    assert "make demo" in (site / "index.html").read_text()


def test_comments_for_the_walk_are_not_on_the_site(site):
    assert "<!-- walk:" not in "".join(page.read_text() for page in site.glob("guides/*.html"))


def test_every_package_has_a_page_with_what_it_offers(site):
    for init in [*ROOT.glob("ofa_pipeline/**/__init__.py"), *ROOT.glob("flows/__init__.py")]:
        name = ".".join(init.parent.relative_to(ROOT).parts)
        page = (site / "api" / f"{name}.html").read_text()
        offered = re.search(r"__all__ = \[(.*?)\]", init.read_text(), re.DOTALL)
        for member in re.findall(r'"(\w+)"', offered[1]) if offered else []:
            if (init.parent / f"{member}.py").is_file():
                assert (site / "api" / f"{name}.{member}.html").is_file(), f"{name}.{member}"
            else:
                assert f'id="{name}.{member}"' in page, f"{name}.{member}"


def test_linked_code_is_shown(site):
    assert "STAGES" in (site / "code/ofa_pipeline/stages/table.py.html").read_text()
    assert 'href="code/ofa_pipeline/stages/table.py.html"' in (site / "index.html").read_text()
