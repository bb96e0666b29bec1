"""Which class of a network a label of a source means."""

import unicodedata

import pytest

from ofa_pipeline.cli.labels import Classes, match_labels
from ofa_pipeline.errors import DatasetError


def match(source, network, *, count=None, by="name", **options):
    return match_labels(
        Classes(origin="image_folder:x", count=len(source), names=tuple(source), **options),
        Classes(
            origin="the network",
            count=len(network) if count is None else count,
            names=network and tuple(network),
        ),
        by=by,
    )


def test_classes_are_found_by_name_in_any_order():
    assert match(["b", "c", "a"], ["a", "b", "c"]).index == (1, 2, 0)


def test_numbers_sorted_as_text_are_found_too():
    names = [str(number) for number in range(12)]
    assert match(sorted(names), names).index == tuple(int(name) for name in sorted(names))


def test_some_of_the_classes_are_enough_and_said():
    matching = match(["dog"], ["cat", "dog", "emu"])
    assert matching.index == (1,)
    assert "1 of the network's 3 classes" in matching.note


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_compared_whatever_their_unicode_form(form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    source = [unicodedata.normalize(form, "caf\u00e9"), "th\u00e9"]
    network = ["the", "th\u00e9", unicodedata.normalize(other, "caf\u00e9")]
    assert match(source, network).index == (2, 1)


@pytest.mark.parametrize(
    ("source", "network"),
    [
        (["cat", "dog", "fox"], ["cat", "dog", "emu"]),
        (["01", "02"], ["1", "2"]),
        (["Cat", "dog"], ["cat", "dog"]),
        (["1", "2", "3"], ["0", "1", "2"]),
        (["train", "test"], ["cat", "dog"]),
    ],
)
def test_other_classes_are_refused_with_both_lists(source, network):
    with pytest.raises(DatasetError, match="--labels index") as raised:
        match(source, network)
    unknown = [name for name in source if name not in network]
    assert all(repr(name) in str(raised.value) for name in unknown)


def test_long_lists_are_shortened():
    with pytest.raises(DatasetError, match="and 995 more") as raised:
        match([f"a{n}" for n in range(1000)], [f"b{n}" for n in range(1000)])
    assert len(str(raised.value)) < 600


def test_two_classes_are_never_one():
    forms = [unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")]
    with pytest.raises(DatasetError, match="no two classes"):
        match(forms, [forms[0], "tea"])


def test_order_counts_where_the_user_says_so():
    matching = match(["x", "y"], ["a", "b"], by="index")
    assert matching.index == (0, 1)
    assert "--labels index" in matching.note
    with pytest.raises(DatasetError, match="must have 3 classes"):
        match(["x", "y"], ["a", "b", "c"], by="index")


def test_network_without_names_takes_numbers_from_zero_on():
    names = sorted(str(number) for number in range(12))
    assert match(names, None, count=12).index == tuple(int(name) for name in names)


@pytest.mark.parametrize(
    "source",
    [
        ["a", "b", "c"],
        ["1", "2", "3"],
        ["00", "01", "02"],
    ],
)
def test_network_without_names_takes_no_other_names(source):
    with pytest.raises(DatasetError, match=r"does not name its 3 classes.*--labels index"):
        match(source, None, count=3)
    assert match(source, None, count=3, by="index").index == (0, 1, 2)


def test_wordnet_identifiers_are_taken_for_imagenet_in_their_order():
    names = [f"n{number:08d}" for number in range(1000)]
    matching = match(names, None, count=1000)
    assert matching.index == tuple(range(1000))
    assert "ImageNet" in matching.note
    for wrong in (names[::-1], [f"class {name}" for name in names]):
        with pytest.raises(DatasetError, match="--labels index"):
            match(wrong, None, count=1000)
        assert match(wrong, None, count=1000, are_numbered=True).index == tuple(range(1000))
