import pytest

from ofa_pipeline.data.sources.junk import is_junk
from ofa_pipeline.data.sources.split_names import (
    differ_in_split,
    resembles_split,
    role_of,
    splits_of,
)


@pytest.mark.parametrize(
    ("role", "names"),
    [
        (
            "train",
            "train Train TRAINING trn training_set train-set trainset Training-Data train_images "
            "train2017 trainval",
        ),
        (
            "validation",
            "val Valid validation VALIDATION_SET dev dev-set valset val2017 Development",
        ),
        ("test", "test Testing TEST test_set testset test-images tst holdout hold-out held_out"),
        ("evaluation", "eval Evaluation eval_set"),
    ],
)
def test_known_names_are_recognised_in_any_case_and_with_any_separator(role, names):
    assert {name: role_of(name) for name in names.split()} == dict.fromkeys(names.split(), role)


@pytest.mark.parametrize("name", ["Training Set", "test images", "Valid Data"])
def test_spaces_separate_too(name):
    assert role_of(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "trains",
        "trainer",
        "train_station",
        "testtube",
        "devil",
        "value",
        "valley",
        "fold1",
        "",
        "set",
    ],
)
def test_other_names_are_no_splits(name):
    assert role_of(name) is None


@pytest.mark.parametrize(
    ("roles", "splits"),
    [
        ({"train"}, {"train": "train"}),
        ({"train", "test"}, {"train": "train", "test": "test"}),
        ({"train", "validation"}, {"train": "train", "validation": "test"}),
        ({"train", "evaluation"}, {"train": "train", "evaluation": "test"}),
        (
            {"train", "validation", "test"},
            {"train": "train", "validation": "selection", "test": "test"},
        ),
        (
            {"train", "validation", "evaluation"},
            {"train": "train", "validation": "selection", "evaluation": "test"},
        ),
        (
            {"train", "evaluation", "test"},
            {"train": "train", "evaluation": "selection", "test": "test"},
        ),
    ],
)
def test_held_out_roles_become_the_test_split_first(roles, splits):
    assert splits_of(roles) == splits


@pytest.mark.parametrize(
    "name", ["fold1", "Fold_2", "pets_train", "split-a", "part3", "subset_b", "trainA", "PetsTest"]
)
def test_names_with_a_word_of_splits_resemble_one(name):
    assert resembles_split(name)


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("seg_train", "seg_test", True),
        ("PetsTrain", "PetsVal", True),
        ("train-2", "test-2", True),
        ("train_station", "test_tube", False),
        ("seg_train", "seg_pred", False),
        ("seg_train", "seg_train", False),
        ("train", "car", False),
    ],
)
def test_names_that_are_one_but_for_the_split_are_known(one, other, differ):
    assert differ_in_split(one, other) is differ
    assert differ_in_split(other, one) is differ


@pytest.mark.parametrize("name", ["cat", "partridge", "settee", "trainer", "2019"])
def test_names_that_only_begin_like_one_do_not(name):
    assert not resembles_split(name)


@pytest.mark.parametrize(
    "name", [".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", "._a.parquet", "__MACOSX"]
)
def test_what_systems_leave_behind_is_junk(name):
    assert is_junk(name)


@pytest.mark.parametrize("name", ["a.png", "_a.png", ".a.png", "thumbs.png", "MACOSX"])
def test_what_people_name_is_not(name):
    assert not is_junk(name)
