import json
from dataclasses import asdict

import pytest

from ofa_pipeline.dataset_summary import (
    ClassSummary,
    Passed,
    SizeSummary,
    quoted,
    read_summary,
    summary_lines,
    write_summary,
)
from ofa_pipeline.errors import ManifestMismatchError
from tests.support.dataset_summary import sample_summary


def text_of(summary, width=80):
    return "\n".join(line.text for line in summary_lines(summary, width=width))


def classes(*names, train=3):
    return tuple(ClassSummary(name=name, num_images={"train": train, "test": 1}) for name in names)


def test_summary_survives_its_document_in_the_same_order(tmp_path):
    summary = sample_summary(modes={"RGB": 15, "L": 5}, warnings=("odd",))
    write_summary(summary, tmp_path)
    assert read_summary(tmp_path) == summary
    assert text_of(read_summary(tmp_path)) == text_of(summary)


def test_there_is_none_where_an_earlier_version_wrote_none(tmp_path):
    assert read_summary(tmp_path) is None


@pytest.mark.parametrize("missing", sorted(asdict(sample_summary()).keys() - {"format"}))
def test_document_that_lacks_something_is_an_error(tmp_path, missing):
    values = asdict(sample_summary())
    del values[missing]
    (tmp_path / "summary.json").write_text(json.dumps(values))
    with pytest.raises(ManifestMismatchError, match=missing):
        read_summary(tmp_path)


def test_text_says_what_was_read_divided_and_passed_over():
    assert text_of(sample_summary()).splitlines() == [
        "dataset image_folder:pets",
        "  images    20 read, 2 copies among them, 1 lost; stored at 20 px",
        "  splits    train 10 (of the source), calibration 2 (drawn), selection 4",
        "            (drawn), test 4 (of the source)",
        "  classes   2 of 10 images each",
        "            cat: train 5, calibration 1, selection 2, test 2",
        "            dog: train 5, calibration 1, selection 2, test 2",
        "  sizes     20 x 30 (20)",
        "  modes     RGB (20)",
        "  lost      1: not an image (cat/bad.png)",
        "  left out  2: a copy (cat/a.png, b)",
    ]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100])
def test_no_line_is_wider_than_the_terminal(width):
    long = Passed(fate="lost", reason="not an image", count=1, examples=("x" * 300,))
    summary = sample_summary(passed=(long,), warnings=("a warning " * 30,))
    assert max(len(line.text) for line in summary_lines(summary, width=width)) <= width


def test_warnings_come_last_and_are_marked():
    lines = summary_lines(sample_summary(warnings=("too few",)), width=80)
    assert [line.text for line in lines if line.is_warning] == ["  warning   too few"]
    assert lines[-1].is_warning


def test_many_classes_are_shown_by_the_first_the_last_and_the_smallest():
    [smallest] = classes("rare", train=1)
    shown = classes("a", "b", "y", "z")
    text = text_of(
        sample_summary(
            num_classes=900, classes=shown, smallest_class=smallest, largest_class=shown[0]
        ),
        width=100,
    )
    assert "... 896 more ..." in text
    assert "900; the largest has 4 images (a), the smallest 2 (rare: train 1, test 1)" in text


def test_different_sizes_are_shown_as_a_span_with_the_most_frequent():
    sizes = SizeSummary(smallest=(1, 2), largest=(50, 40), frequent=((3, 4, 9),))
    assert "1 x 2 to 50 x 40; most often 3 x 4 (9)" in text_of(sample_summary(sizes=sizes))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("T-shirt/top", "T-shirt/top"),
        (" cat ", '" cat "'),
        ("a, b", '"a, b"'),
        ('say "a"', '"say \\"a\\""'),
        ("x" * 50, "x" * 37 + "..."),
        ("\u05d7\u05ea", "\u05d7\u05ea"),
    ],
)
def test_names_that_run_into_the_text_are_quoted(name, shown):
    assert quoted(name) == shown
