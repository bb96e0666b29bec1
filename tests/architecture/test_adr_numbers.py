"""The decision pages: unique numbers, the four sections, all in the index."""

import re
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "adr"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
SECTIONS = ("status", "context", "decision", "consequences")
MAX_LINES = 80


def title_of(page):
    return page.read_text().splitlines()[0]


def test_numbers_are_unique():
    counts = Counter(page.name[:4] for page in PAGES)
    assert [number for number, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_is_named_and_titled_by_its_number(page):
    assert re.fullmatch(r"\d{4}(-[a-z0-9.]+)+\.md", page.name)
    assert re.match(rf"# {page.name[:4]}\W", title_of(page)), title_of(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_the_four_sections_and_fits_on_a_page(page):
    text = page.read_text()
    headings = {line.lstrip("# ").strip().lower() for line in text.splitlines() if line[:1] == "#"}
    missing = [name for name in SECTIONS if name not in headings]
    assert missing == [], f"{page.name} lacks the headings {missing}"
    assert len(text.splitlines()) <= MAX_LINES


def test_index_lists_every_page_once():
    linked = re.findall(r"\]\((\d{4}-[^)]+\.md)\)", (FOLDER / "README.md").read_text())
    assert sorted(linked) == [page.name for page in PAGES]
