import pytest

from ofa_pipeline.report.text import braced, show_counted, show_ms, show_number, show_power


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.021234, "0.0212"),
        (0.21234, "0.212"),
        (9.9994, "9.999"),
        (12.345, "12.35"),
        (1234.5, "1234.5"),
    ],
)
def test_milliseconds_keep_the_digits_that_matter(value, text):
    assert show_ms(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.05, "0.05"), (3.0, "3"), (1e-5, "1e-05")])
def test_numbers_have_no_needless_zeros(value, text):
    assert show_number(value) == text


def test_large_counts_are_powers_of_ten_and_small_ones_written_out():
    assert show_power(2.1e11) == "2.1 x 10<sup>11</sup>"
    assert show_power(1234.0) == "1,234"


def test_files_that_differ_in_one_part_are_joined():
    files = ["a/x/1/card.json", "a/x/2/card.json", "a/y/1/card.json", "a/y/2/card.json"]
    assert braced(files) == ["a/{x,y}/{1,2}/card.json"]


def test_files_that_have_nothing_in_common_stay_apart():
    assert braced(["a/x/card.json", "b/y/z/other.json"]) == ["a/x/card.json", "b/y/z/other.json"]


def test_repeated_files_are_named_once_and_none_is_none():
    assert braced(["a/b", "a/b"]) == ["a/b"]
    assert braced([]) == []


def test_nouns_are_counted():
    assert [show_counted(count, "round") for count in (0, 1, 2)] == [
        "0 rounds",
        "1 round",
        "2 rounds",
    ]
