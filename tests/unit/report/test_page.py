import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ofa_pipeline.report.cost import StageCost
from ofa_pipeline.report.page import (
    confusion_rows,
    most_confused,
)
from ofa_pipeline.run_warnings import RunWarning
from ofa_pipeline.stopwatch import Seconds
from tests.support.dataset_summary import sample_summary
from tests.support.report import page_of, sample_contents

VOID = {"meta", "link", "br", "img"}


class Outline(HTMLParser):
    """Collects the tags of a page and checks that they nest."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.problems = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append((tag, self.getpos()))


def outline(html):
    parser = Outline()
    parser.feed(html)
    return parser


@pytest.fixture(scope="module")
def page():
    return page_of(sample_contents())


def test_page_needs_nothing_beside_it(page):
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page
    references = {
        values[name]
        for _, values in outline(page).tags
        for name in ("src", "href")
        if name in values
    }
    assert all(reference.startswith(("#", "data:")) for reference in references)


def test_tags_nest_and_every_link_has_its_target(page):
    found = outline(page)
    assert found.problems == []
    assert found.open == []
    ids = [values["id"] for _, values in found.tags if "id" in values]
    assert len(ids) == len(set(ids))
    links = [values["href"][1:] for tag, values in found.tags if tag == "a"]
    assert set(links) <= set(ids)


def test_equal_contents_give_equal_pages(page):
    assert page_of(sample_contents()) == page


def test_every_chart_has_a_text_for_those_who_cannot_see_it(page):
    charts = [
        values for tag, values in outline(page).tags if "chart" in values.get("class", "").split()
    ]
    assert len(charts) == 6 + 3
    assert all(values["aria-label"] and values["role"] == "img" for values in charts)


def test_every_table_has_a_caption_and_scrolls_within_itself(page):
    found = [tag for tag, _ in outline(page).tags]
    assert found.count("table") == found.count("caption")
    scrolls = [values for _, values in outline(page).tags if values.get("role") == "region"]
    assert len(scrolls) == found.count("table")
    assert all(values["aria-label"] and values["tabindex"] == "0" for values in scrolls)


def test_page_names_every_subnet_with_its_figures(page):
    for subnet in sample_contents().subnets:
        assert subnet.arch.arch_id in page
        assert f"{100 * subnet.accuracy_top1:.2f}" in page
        assert f"{subnet.p50_ms:.3f}" in page


def test_page_names_the_files_that_its_numbers_come_from(page):
    assert "artifacts/predictor/{cross_validation.parquet,report.json}" in page
    assert "artifacts/search/{cpu-onnxruntime,cpu-pytorch}" not in page
    assert "artifacts/search/cpu-pytorch/{front.parquet,picks.json}" in page


def test_text_from_outside_cannot_become_markup():
    contents = sample_contents()
    dataset = replace(contents.dataset, class_names=("<script>alert(1)</script>", "b"))
    page = page_of(replace(contents, dataset=dataset, title="A & B <i>"))
    assert "<script" not in page
    assert "A &amp; B &lt;i&gt;" in page


def test_subnet_over_its_budget_is_shown_as_such_and_the_verdict_says_so(page):
    contents = sample_contents()
    device = contents.devices[0]
    over = replace(device.subnets[0], verdict="over")
    changed = replace(device, subnets=(over, *device.subnets[1:]))
    other = page_of(replace(contents, devices=(changed, contents.devices[1])))
    assert 'level-poor">over' in other
    assert 'level-poor">over' not in page
    assert "Do not rely on 1 of the 6 picks." in other


def test_many_classes_are_listed_by_their_confusions():
    contents = sample_contents()
    names = tuple(f"class {index}" for index in range(30))
    counts = tuple(tuple(9 if i == j else int(j == i + 1) for j in range(30)) for i in range(30))
    confusion = replace(contents.confusion, class_names=names, counts=counts)
    page = page_of(replace(contents, confusion=confusion))
    assert 'class="confusion"' not in page
    assert "<td>class 11</td>" in page


def test_page_without_confusion_matrix_leaves_the_section_out():
    page = page_of(replace(sample_contents(), confusion=None))
    assert not re.search(r'id="confusion"|href="#confusion"', page)


def test_confusion_rows_shade_hits_and_misses_and_know_the_recall():
    confusion = replace(
        sample_contents().confusion, class_names=("a", "b"), counts=((3, 1), (0, 0))
    )
    first, second = confusion_rows(confusion)
    assert [cell.style for cell in first.cells] == ["hit", "miss"]
    assert [cell.share for cell in first.cells] == ["0.750", "0.500"]
    assert first.recall == 0.75
    assert second.recall == 0.0


def test_most_confused_starts_with_the_most_frequent():
    confusion = replace(
        sample_contents().confusion, class_names=("a", "b"), counts=((3, 1), (2, 8))
    )
    found = most_confused(confusion)
    assert [(item.true, item.predicted, item.count) for item in found] == [
        ("b", "a", 2),
        ("a", "b", 1),
    ]
    assert found[0].share == 0.2


def test_page_says_what_was_found_in_the_dataset():
    contents = sample_contents()
    summary = sample_summary(warnings=("few <images>",))
    dataset = replace(contents.dataset, summary=summary)
    page = page_of(replace(contents, dataset=dataset))
    for text in ("(of the source)", "cat/bad.png", "20 x 30 (20)", "few &lt;images&gt;"):
        assert text in page


WARNING = RunWarning(
    stage="train_supernet", item="kernel", message="It got <worse>.", advice="Lower the rate."
)


def test_warnings_stand_in_the_head_of_the_page():
    html = page_of(replace(sample_contents(), warnings=(WARNING, WARNING)))
    assert outline(html).problems == []
    head = html[html.index("<header>") : html.index("</header>")]
    assert "2 warnings: look at them before you trust the results" in head
    assert "<code>train_supernet@kernel</code>" in head
    assert "It got &lt;worse&gt;." in head
    assert "Lower the rate." in head
    assert ": report, 2 warnings</title>" in html
    assert 'href="#warnings"' in head


def test_page_without_warnings_has_no_box(page):
    assert 'id="warnings"' not in page
    assert "#warnings" not in page
    assert ": report</title>" in page


def test_page_begins_with_the_verdict_and_what_to_deploy(page):
    head = page[page.index("<header>") : page.index("</header>")]
    assert "Ready to deploy, with care." in head
    assert head.index('id="verdict"') < head.index("What to deploy to cpu-pytorch")
    assert "Nobody has measured what the same architectures reach when trained alone." in head


def test_values_of_wide_tables_name_their_column_for_small_screens(page):
    tables = re.findall(r'<table class="(?:rules )?stack">(.*?)</table>', page, re.DOTALL)
    assert len(tables) == 8
    cells = [cell for table in tables for cell in re.findall(r"<td\b[^>]*>", table)]
    assert all('data-label="' in cell for cell in cells)


def test_page_says_when_subnets_were_made_and_what_all_of_it_took():
    contents = sample_contents()
    made = tuple(
        StageCost(
            stage="specialize",
            item=device.name,
            seconds=Seconds(cpu_s=60.0, wall_s=30.0),
            finished="2026-01-31T12:59:07+00:00",
        )
        for device in contents.devices
    )
    html = page_of(replace(contents, cost=replace(contents.cost, specialized=made)))
    assert "ended 2026-01-31 12:59 UTC" in html
    assert html.count("2026-01-31 12:59 UTC") == 1 + 6
    assert "all of it took 10\N{NO-BREAK SPACE}min" in html
    assert "when, nobody noted" in page_of(contents)


def test_what_comes_before_the_first_answer_is_said_or_that_nobody_measured_it(page):
    contents = sample_contents()
    assert page.count("not measured") == 4 * len(contents.subnets)
    device = contents.devices[0]
    first = replace(device.subnets[0], load_ms=12.34, network_memory_mb=2.25)
    changed = replace(device, subnets=(first, *device.subnets[1:]))
    noted = page_of(replace(contents, devices=(changed, *contents.devices[1:])))
    assert noted.count("not measured") == page.count("not measured") - 2
    assert '(ms)" class="number">12.3</td>' in noted
