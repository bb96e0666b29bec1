import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_pipeline.data.splits import (
    DRAWN,
    LEFT_OUT,
    SPLIT_NAMES,
    TRAIN,
    UsableImages,
    assign_splits,
)
from ofa_pipeline.errors import DatasetError

SELECTION, TEST = SPLIT_NAMES.index("selection"), SPLIT_NAMES.index("test")
FRACTIONS = {"test": 0.2, "selection": 0.2, "calibration": 0.1}


def candidates(labels, *, contents=None, fixed=None, seed=0):
    contents = range(len(labels)) if contents is None else contents
    digests = b"".join(
        hashlib.blake2b(f"{seed} {c}".encode(), digest_size=16).digest() for c in contents
    )
    return UsableImages(
        labels=np.array(labels, dtype=np.int32),
        digests=np.frombuffer(digests, np.uint8).reshape(-1, 16),
        path_keys=np.arange(len(labels), dtype=np.uint64),
        fixed=np.array(fixed if fixed is not None else [DRAWN] * len(labels), dtype=np.int8),
    )


def assigned(images, fractions=FRACTIONS):
    names = [str(label) for label in range(int(images.labels.max()) + 1)]
    return assign_splits(images, fractions=fractions, class_names=names)


def counts_of(split, labels):
    return [np.bincount(split[labels == c], minlength=4).tolist() for c in np.unique(labels)]


def test_every_class_is_divided_by_the_fractions():
    labels = np.array([0] * 100 + [1] * 50)
    split = assigned(candidates(labels)).split
    assert counts_of(split, labels) == [[50, 10, 20, 20], [25, 5, 10, 10]]


def test_every_class_is_in_every_split_even_when_it_is_small():
    labels = np.array([0] * 100 + [1] * 4)
    split = assigned(candidates(labels)).split
    assert counts_of(split, labels)[1] == [1, 1, 1, 1]


def test_class_of_copies_is_told_that_they_are_the_reason():
    labels = [0] * 20 + [1] * 20
    contents = [*range(20), *[77] * 18, 98, 99]
    with pytest.raises(DatasetError, match="18 of its 20 images have the same pixels") as error:
        assigned(candidates(labels, contents=contents))
    assert "Add images" not in str(error.value)


def test_copies_that_were_left_out_are_named_as_the_reason():
    labels = [0] * 20 + [1] * 10 + [0] * 9
    fixed = [DRAWN] * 30 + [TEST] * 9
    contents = [*range(30), *range(20, 29)]
    with pytest.raises(DatasetError, match="9 of its 10 images have the same pixels"):
        assigned(candidates(labels, contents=contents, fixed=fixed))


def test_equal_pixels_in_two_classes_are_counted():
    found = assigned(candidates([0] * 12 + [1] * 12, contents=[*range(12), 0, 0, *range(50, 60)]))
    assert found.num_contradicting == 3


def test_class_that_is_too_small_for_its_splits_is_named():
    with pytest.raises(DatasetError, match=r"class '1' has 3 usable images .* left for train"):
        assigned(candidates([0] * 20 + [1] * 3))


def test_splits_do_not_depend_on_the_order_of_the_images():
    labels = np.array([0, 1] * 50)
    order = np.random.default_rng(0).permutation(100)
    straight = assigned(candidates(labels)).split
    shuffled = assigned(candidates(labels[order], contents=order)).split
    np.testing.assert_array_equal(shuffled, straight[order])


def test_another_seed_gives_other_splits():
    labels = [0, 1] * 50
    one, other = (assigned(candidates(labels, seed=seed)).split for seed in (0, 1))
    assert (one != other).any()


def test_images_of_a_fixed_split_stay_there():
    labels = [0, 1] * 50
    fixed = [TEST if index >= 80 else DRAWN for index in range(100)]
    fractions = {"selection": 0.25, "calibration": 0.1}
    split = assigned(candidates(labels, fixed=fixed), fractions).split
    assert (split[80:] == TEST).all()
    assert np.bincount(split[:80]).tolist() == [52, 8, 20]


def test_copies_go_to_train_together():
    contents = [index // 4 for index in range(40)] + list(range(100, 160))
    labels = [0] * 50 + [1] * 50
    result = assigned(candidates(labels, contents=contents))
    assert (result.split[:40] == TRAIN).all()
    assert result.num_copies == 30


def test_copies_of_a_held_out_image_are_left_out():
    labels = [0, 1] * 20
    fixed = [DRAWN] * 30 + [TEST] * 10
    contents = [*range(38), 0, 1]
    fractions = {"selection": 0.2, "calibration": 0.1}
    result = assigned(candidates(labels, contents=contents, fixed=fixed), fractions)
    assert result.split[[0, 1]].tolist() == [LEFT_OUT, LEFT_OUT]
    assert (result.split[30:] == TEST).all()
    assert (result.split != LEFT_OUT).sum() == 38


def test_test_split_keeps_what_the_selection_split_has_too():
    labels = [0, 1] * 20
    fixed = [DRAWN] * 20 + [SELECTION] * 10 + [TEST] * 10
    contents = [*range(30), 20, *range(31, 40)]
    result = assigned(candidates(labels, contents=contents, fixed=fixed), {"calibration": 0.1})
    assert result.split[20] == LEFT_OUT
    assert result.split[30] == TEST


def test_order_is_independent_of_the_order_of_the_images():
    labels = np.array([0, 1] * 50)
    shuffle = np.random.default_rng(1).permutation(100)
    straight = assigned(candidates(labels)).order
    shuffled = assigned(candidates(labels[shuffle], contents=shuffle)).order
    np.testing.assert_array_equal(shuffle[shuffled], straight)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_content_is_ever_in_two_splits(data):
    count = data.draw(st.integers(60, 120))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    contents = generator.integers(0, 3 * count, count)
    labels = generator.integers(0, 2, count)
    fixed = generator.choice([DRAWN, DRAWN, DRAWN, TEST], count)
    images = candidates(labels, contents=contents, fixed=fixed)
    try:
        split = assigned(images, {"selection": 0.2, "calibration": 0.1}).split
    except DatasetError:
        return  # a class without images for a split: not what is asked here
    for content in np.unique(contents):
        homes = split[(contents == content) & (split != LEFT_OUT)]
        assert len(set(homes.tolist())) == 1
    assert set(split.tolist()) <= {LEFT_OUT, *range(len(SPLIT_NAMES))}
