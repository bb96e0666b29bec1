import shutil

import pytest

from ofa_pipeline.data.sources import ImageFolderSource
from ofa_pipeline.errors import DatasetError
from tests.support.images import encoded, noise, write_image_folder


def listed(root):
    return [(image.path, image.label, image.split) for image in ImageFolderSource(root).images()]


def test_classes_are_the_folders_in_order_of_their_names(tmp_path):
    source = ImageFolderSource(write_image_folder(tmp_path, classes=("dog", "ant", "cat")))
    assert source.class_names == ("ant", "cat", "dog")
    assert source.num_images == 30
    assert source.fixed_splits == frozenset()


def test_images_come_with_path_label_and_content(tmp_path):
    root = write_image_folder(tmp_path, images_a_class=2)
    images = list(ImageFolderSource(root).images())
    assert [image.path for image in images] == [
        "cat/00.png",
        "cat/01.png",
        "dog/00.png",
        "dog/01.png",
    ]
    assert [image.label for image in images] == [0, 0, 1, 1]
    assert images[3].read() == (root / "dog" / "01.png").read_bytes()


def test_train_and_test_folders_are_splits(tmp_path):
    for name in ("train", "test"):
        write_image_folder(tmp_path / name, images_a_class=1)
    assert listed(tmp_path) == [
        ("train/cat/00.png", 0, None),
        ("train/dog/00.png", 1, None),
        ("test/cat/00.png", 0, "test"),
        ("test/dog/00.png", 1, "test"),
    ]


def test_val_folder_is_the_test_split_where_there_is_no_other(tmp_path):
    for name in ("train", "val"):
        write_image_folder(tmp_path / name)
    assert ImageFolderSource(tmp_path).fixed_splits == {"test"}


def test_val_folder_is_the_selection_split_beside_a_test_split(tmp_path):
    for name in ("train", "val", "test"):
        write_image_folder(tmp_path / name)
    assert ImageFolderSource(tmp_path).fixed_splits == {"test", "selection"}


def test_test_folder_without_classes_is_no_split(tmp_path):
    for name in ("train", "val"):
        write_image_folder(tmp_path / name)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "unlabelled.png").write_bytes(encoded(noise(0)))
    assert ImageFolderSource(tmp_path).fixed_splits == {"test"}
    assert all(
        image.path.startswith(("train", "val")) for image in ImageFolderSource(tmp_path).images()
    )


def test_train_folder_alone_is_divided(tmp_path):
    write_image_folder(tmp_path / "train")
    assert ImageFolderSource(tmp_path).fixed_splits == frozenset()
    assert ImageFolderSource(tmp_path).class_names == ("cat", "dog")


def test_folders_within_a_class_belong_to_it(tmp_path):
    write_image_folder(tmp_path, images_a_class=1)
    shutil.move(tmp_path / "cat" / "00.png", tmp_path / "cat" / "images.png")
    (tmp_path / "cat" / "more").mkdir()
    (tmp_path / "cat" / "more" / "1.png").write_bytes(encoded(noise(7)))
    assert [path for path, _, _ in listed(tmp_path)] == [
        "cat/images.png",
        "cat/more/1.png",
        "dog/00.png",
    ]


def test_files_that_are_no_images_are_skipped_and_listed(tmp_path):
    write_image_folder(tmp_path, images_a_class=1)
    (tmp_path / "cat" / "notes.txt").write_text("good boy")
    (tmp_path / "README.md").write_text("cats and dogs")
    source = ImageFolderSource(tmp_path)
    assert source.num_images == 2
    assert {file.path: file.reason for file in source.skipped} == {
        "README.md": "lies outside the class folders",
        "cat/notes.txt": "no image format has the ending .txt",
    }


def test_hidden_files_and_folders_are_no_part_of_it(tmp_path):
    write_image_folder(tmp_path, images_a_class=1)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "cat" / ".DS_Store").write_text("")
    source = ImageFolderSource(tmp_path)
    assert source.class_names == ("cat", "dog")
    assert source.skipped == ()


def test_name_that_is_not_utf8_is_shown_with_escapes(tmp_path):
    write_image_folder(tmp_path, images_a_class=1)
    (tmp_path / "cat" / "00.png").rename(tmp_path / "cat" / "caf\udce9.png")
    assert listed(tmp_path)[0][0] == "cat/caf\\xe9.png"


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"must be a folder of class folders, .* is nothing"):
        ImageFolderSource(tmp_path / "nowhere")


def test_file_instead_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(DatasetError, match="is a file"):
        ImageFolderSource(tmp_path / "data")


def test_folder_without_class_folders_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(noise(0)))
    with pytest.raises(DatasetError, match="one folder of images a class, it has no folders"):
        ImageFolderSource(tmp_path)


def test_folders_without_images_are_an_error(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("")
    with pytest.raises(DatasetError, match="holds no images"):
        ImageFolderSource(tmp_path)


def test_empty_class_is_named(tmp_path):
    write_image_folder(tmp_path)
    (tmp_path / "emu").mkdir()
    with pytest.raises(DatasetError, match="there are none of 'emu'"):
        ImageFolderSource(tmp_path)


def test_many_empty_classes_are_counted(tmp_path):
    write_image_folder(tmp_path)
    for index in range(9):
        (tmp_path / f"empty{index}").mkdir()
    with pytest.raises(DatasetError, match="'empty4' and 4 more"):
        ImageFolderSource(tmp_path)


def test_one_class_is_not_enough(tmp_path):
    with pytest.raises(DatasetError, match="at least two classes, it has one: 'cat'"):
        ImageFolderSource(write_image_folder(tmp_path, classes=("cat",)))


def test_splits_with_different_classes_are_an_error(tmp_path):
    write_image_folder(tmp_path / "train", classes=("cat", "dog"))
    write_image_folder(tmp_path / "test", classes=("cat", "emu"))
    with pytest.raises(DatasetError, match="missing: dog; unknown: emu"):
        ImageFolderSource(tmp_path)
