import os
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
        "cat/notes.txt": "not an image: a text",
    }


def test_hidden_files_and_folders_are_no_part_of_it(tmp_path):
    write_image_folder(tmp_path, images_a_class=1)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "cat" / ".DS_Store").write_text("")
    source = ImageFolderSource(tmp_path)
    assert source.class_names == ("cat", "dog")
    assert source.skipped == ()


def test_other_hidden_files_are_listed(tmp_path):
    write_image_folder(tmp_path, images_a_class=1)
    (tmp_path / "cat" / ".a.png.icloud").write_text("")
    (tmp_path / ".dog").mkdir()
    assert [file.path for file in ImageFolderSource(tmp_path).skipped] == [
        ".dog",
        "cat/.a.png.icloud",
    ]


def test_name_that_is_not_utf8_is_shown_with_escapes(tmp_path):
    write_image_folder(tmp_path, images_a_class=1)
    (tmp_path / "cat" / "00.png").rename(tmp_path / "cat" / "caf\udce9.png")
    assert listed(tmp_path)[0][0] == "cat/caf\\xe9.png"


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"must be a folder of class folders, .* does not exist"):
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


# ---- splits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("training_set", "test_set"), {None, "test"}),
        (("train", "dev"), {None, "test"}),
        (("training", "testing"), {None, "test"}),
        (("Train", "Valid", "Test"), {None, "test", "selection"}),
        (("TRAIN", "DEV-SET", "Test Images"), {None, "test", "selection"}),
        (("train2017", "val2017"), {None, "test"}),
        (("trn", "eval", "holdout"), {None, "test", "selection"}),
        (("Training Set",), {None}),
    ],
)
def test_known_split_names_are_understood(tmp_path, names, splits):
    for name in names:
        write_image_folder(tmp_path / name, images_a_class=1)
    source = ImageFolderSource(tmp_path)
    assert source.class_names == ("cat", "dog")
    assert source.num_images == 2 * len(names)
    assert {image.split for image in source.images()} == splits


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train", "more_images"), "beside them more_images/ with images"),
        (("train", "dev", "foo"), "beside them foo/ with images"),
        (("val", "dev", "train"), "dev/ and val/ mean the same one"),
        (("train", "Training"), "Training/ and train/ mean the same one"),
        (("train", "val", "eval", "test"), "eval/ and val/ mean the same one"),
        (("val", "test"), "must have a folder to train on, it has only test/, val/"),
        (("fold1", "fold2", "fold3"), "not understood: fold1/, fold2/, fold3/"),
        (("pets_train", "pets_test"), "not understood: pets_test/, pets_train/"),
        (("split_a", "holiday"), "not understood: split_a/"),
    ],
)
def test_what_looks_like_splits_and_is_not_understood_is_an_error(tmp_path, names, message):
    for name in names:
        write_image_folder(tmp_path / name, images_a_class=1)
    with pytest.raises(DatasetError, match=message) as error:
        ImageFolderSource(tmp_path)
    assert "Splits are called train, val" in str(error.value)


def write_flat(root, *names):
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(2):
            (root / name / f"{index}.png").write_bytes(encoded(noise(10 * number + index)))


def test_class_called_train_is_a_class(tmp_path):
    write_flat(tmp_path, "car", "plane", "train")
    assert ImageFolderSource(tmp_path).class_names == ("car", "plane", "train")


def test_circle_in_a_class_called_train_makes_it_no_split(tmp_path):
    write_flat(tmp_path, "car", "train")
    (tmp_path / "train" / "loop").symlink_to("..")
    assert ImageFolderSource(tmp_path).class_names == ("car", "train")


def test_classes_with_words_of_splits_are_classes(tmp_path):
    write_flat(tmp_path, "train station", "test tube", "valley")
    assert len(ImageFolderSource(tmp_path).class_names) == 3


def test_class_called_test_is_a_class_within_a_split(tmp_path):
    write_flat(tmp_path / "train", "test", "exam")
    write_flat(tmp_path / "test", "test", "exam")
    assert ImageFolderSource(tmp_path).class_names == ("exam", "test")


@pytest.mark.parametrize(
    "names",
    [
        ("train", "test"),
        ("train", "val", "cat"),
        ("fold1", "fold2"),
        ("trainA", "trainB", "testA", "testB"),
        ("seg_train", "seg_test", "seg_pred"),
    ],
)
def test_splits_that_hold_images_directly_are_an_error(tmp_path, names):
    write_flat(tmp_path, *names)
    with pytest.raises(DatasetError, match=r"without a class|not understood"):
        ImageFolderSource(tmp_path)


def test_split_that_holds_images_directly_beside_others_is_an_error(tmp_path):
    write_image_folder(tmp_path / "train")
    write_flat(tmp_path, "test")
    with pytest.raises(DatasetError, match=r"test holds images without a class"):
        ImageFolderSource(tmp_path)


@pytest.mark.parametrize("splits", [("train", "test"), ("Training", "val", "images")])
def test_splits_within_the_classes_are_an_error(tmp_path, splits):
    for name in ("cat", "dog"):
        write_flat(tmp_path / name, *splits)
    with pytest.raises(DatasetError, match=r"Turn them around: (train|Training)/cat/"):
        ImageFolderSource(tmp_path)


@pytest.mark.parametrize("names", [("tr", "te"), ("seen", "unseen"), ("a", "b", "c")])
def test_two_or_three_folders_of_the_same_folders_look_like_splits(tmp_path, names):
    for name in names:
        write_flat(tmp_path / name, "cat", "dog")
    with pytest.raises(DatasetError, match="look like splits and are not understood"):
        ImageFolderSource(tmp_path)


def test_images_in_folders_within_classes_are_noted(tmp_path):
    write_flat(tmp_path / "animal", "cat", "dog")
    write_flat(tmp_path / "plant", "rose")
    write_flat(tmp_path, "stone")
    assert ImageFolderSource(tmp_path).notes == (
        "6 images lie in folders within class folders (animal/cat, animal/dog, plant/rose): they "
        "are images of the class above",
    )
    assert ImageFolderSource(tmp_path / "animal").notes == ()


def test_more_folders_of_the_same_folders_are_classes(tmp_path):
    for name in ("cat", "dog", "emu", "fox"):
        write_flat(tmp_path / name, "front", "back")
    assert ImageFolderSource(tmp_path).class_names == ("cat", "dog", "emu", "fox")


def test_folder_around_the_splits_is_named(tmp_path):
    for name in ("train", "test"):
        write_image_folder(tmp_path / "dataset" / name, images_a_class=1)
    with pytest.raises(DatasetError, match=r"Name image_folder:.*/dataset$"):
        ImageFolderSource(tmp_path)


def test_class_names_that_differ_in_unicode_alone_are_told_so(tmp_path):
    for name in ("caf\u00e9", "cafe\u0301"):
        write_flat(tmp_path, name)
    with pytest.raises(DatasetError, match="but for how its accents are written in Unicode"):
        ImageFolderSource(tmp_path)


def test_folders_within_classes_that_are_no_splits_are_not(tmp_path):
    write_flat(tmp_path / "cat", "test", "exam")
    write_flat(tmp_path / "dog", "2019", "train")
    assert ImageFolderSource(tmp_path).num_images == 8


def test_folder_without_images_beside_splits_is_listed(tmp_path):
    for name in ("train", "test"):
        write_image_folder(tmp_path / name, images_a_class=1)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "0.xml").write_text("<annotation/>")
    (tmp_path / "readme.txt").write_text("pets")
    (tmp_path / "cover.png").write_bytes(encoded(noise(0)))
    assert {file.path: file.reason for file in ImageFolderSource(tmp_path).skipped} == {
        "annotations": "a folder beside those of the splits, without images",
        "readme.txt": "a file beside the folders of the splits",
        "cover.png": "an image beside the folders of the splits",
    }


def test_folder_around_the_classes_is_named(tmp_path):
    write_image_folder(tmp_path / "data" / "train")
    with pytest.raises(DatasetError, match=r"one: data/.*\(train\).*image_folder:.*/data"):
        ImageFolderSource(tmp_path)


# ---- links ------------------------------------------------------------------------------------


def test_linked_folders_belong_to_the_class(tmp_path):
    root = write_image_folder(tmp_path / "data", images_a_class=20)
    more = write_image_folder(tmp_path / "more", classes=("cat",), images_a_class=20, seed=500)
    (root / "cat" / "batch2").symlink_to(more / "cat")
    source = ImageFolderSource(root)
    assert source.num_images == 60
    assert {image.path for image in source.images() if "batch2" in image.path} == {
        f"cat/batch2/{index:02d}.png" for index in range(20)
    }


def test_linked_class_and_split_folders_are_followed(tmp_path):
    elsewhere = write_image_folder(tmp_path / "elsewhere", images_a_class=1)
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).symlink_to(elsewhere / name)
    (tmp_path / "data" / "val").symlink_to(elsewhere)
    assert ImageFolderSource(tmp_path / "data").fixed_splits == {"test", "selection"}
    assert len(listed(tmp_path / "data")) == 6


@pytest.mark.parametrize("target", ["..", ".", "../..", "../../..", "../cat"])
def test_circle_ends_and_is_listed(tmp_path, target):
    root = write_image_folder(tmp_path / "a" / "b", images_a_class=1)
    (root / "cat" / "loop").symlink_to(target)
    source = ImageFolderSource(root)
    assert [path for path, _, _ in listed(root)] == ["cat/00.png", "dog/00.png"]
    assert [file.path for file in source.skipped] == ["cat/loop"]
    assert source.skipped[0].reason.endswith("a circle")


def test_circle_through_other_links_ends(tmp_path):
    root = write_image_folder(tmp_path / "data", images_a_class=1)
    other = write_image_folder(tmp_path / "other", classes=("more",), images_a_class=1, seed=9)
    (root / "cat" / "more").symlink_to(other / "more")
    (other / "more" / "back").symlink_to(root / "cat")
    (other / "more" / "up").symlink_to(root)
    paths = [path for path, _, _ in listed(root)]
    assert paths == ["cat/00.png", "cat/more/00.png", "dog/00.png"]
    assert len(ImageFolderSource(root).skipped) == 2


def test_circle_among_the_class_folders_is_no_class(tmp_path):
    root = write_image_folder(tmp_path / "data", images_a_class=1)
    (root / "self").symlink_to(".")
    source = ImageFolderSource(root)
    assert source.class_names == ("cat", "dog")
    assert [file.path for file in source.skipped] == ["self"]


def test_link_to_a_folder_of_the_class_counts_its_images_once(tmp_path):
    root = write_image_folder(tmp_path, images_a_class=1)
    write_flat(root / "cat", "z")
    (root / "cat" / "a").symlink_to("z")
    assert [path for path, label, _ in listed(root) if not label] == [
        "cat/00.png",
        "cat/z/0.png",
        "cat/z/1.png",
    ]
    assert [file.path for file in ImageFolderSource(root).skipped] == ["cat/a"]


def test_two_names_of_one_class_folder_are_an_error(tmp_path):
    root = write_image_folder(tmp_path)
    (root / "kitty").symlink_to("cat")
    with pytest.raises(DatasetError, match=r"kitty is the same as .*cat"):
        ImageFolderSource(root)


def test_broken_link_is_an_image_that_cannot_be_read(tmp_path):
    root = write_image_folder(tmp_path, images_a_class=1)
    (root / "cat" / "gone").symlink_to("nowhere")
    images = {image.path: image for image in ImageFolderSource(root).images()}
    with pytest.raises(FileNotFoundError):
        images["cat/gone"].read()


def test_folder_that_may_not_be_read_is_an_error(tmp_path, monkeypatch):
    root = write_image_folder(tmp_path)
    scandir = os.scandir

    def refuse_dog(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_dog)
    with pytest.raises(DatasetError, match=r"dog cannot be read: Permission denied"):
        ImageFolderSource(root)


@pytest.mark.parametrize("split", [None, "train"])
def test_broken_link_in_place_of_a_class_or_split_is_an_error(tmp_path, split):
    write_image_folder(tmp_path / (split or ""))
    (tmp_path / "test").symlink_to("nowhere")
    with pytest.raises(DatasetError, match="test is a link to nothing"):
        ImageFolderSource(tmp_path)


def test_pipe_is_passed_over(tmp_path):
    root = write_image_folder(tmp_path, images_a_class=1)
    os.mkfifo(root / "cat" / "pipe")
    source = ImageFolderSource(root)
    assert source.num_images == 2
    assert source.skipped[0].reason == "neither a file nor a folder"


def test_device_that_is_called_as_an_image_is_one_that_cannot_be_read(tmp_path):
    root = write_image_folder(tmp_path, images_a_class=1)
    (root / "cat" / "a.png").symlink_to("/dev/zero")
    [device] = [i for i in ImageFolderSource(root).images() if i.path == "cat/a.png"]
    with pytest.raises(DatasetError, match="neither a file nor a folder"):
        device.read()


# ---- files, known by their content ------------------------------------------------------------


def test_image_is_known_by_its_content(tmp_path):
    root = write_image_folder(tmp_path, images_a_class=1)
    for name in ("photo.png?w=300", "x.v2", "noending", "note.txt", "copy.png~"):
        (root / "cat" / name).write_bytes(encoded(noise(5)))
    source = ImageFolderSource(root)
    assert source.num_images == 7
    assert source.skipped == ()


def test_texts_beside_images_are_no_images_whatever_they_are_called(tmp_path):
    root = write_image_folder(tmp_path, images_a_class=1)
    texts = {
        "00.txt": "0 0.5 0.5",
        "00.png.json": "{}",
        "LICENSE": "free",
        "list.v2": "caf\xe9",
        "wide.csv": "a,b",
    }
    for name, text in texts.items():
        (root / "cat" / name).write_text(text, encoding="latin-1" if "v2" in name else "utf-16")
    (root / "cat" / "empty.txt").write_text("")
    source = ImageFolderSource(root)
    assert source.num_images == 2
    assert {file.path.removeprefix("cat/") for file in source.skipped} == {*texts, "empty.txt"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.png", b"<html>404</html>"),
        ("photo.png?w=300", b"<html>404</html>"),
        ("a.HEIC", b"text"),
        ("noending", b""),
        ("noending", b"\0\1\2\3"),
        ("pointer.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ("drawing.xml", b"<?xml version='1.0'?><svg width='1'></svg>"),
    ],
)
def test_what_was_meant_to_be_an_image_is_one_to_decode(tmp_path, name, content):
    root = write_image_folder(tmp_path, images_a_class=1)
    (root / "cat" / name).write_bytes(content)
    source = ImageFolderSource(root)
    assert source.num_images == 3
    assert source.skipped == ()


def test_huge_file_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("ofa_pipeline.data.sources.image_folder.MAX_FILE_BYTES", 1 << 20)
    root = write_image_folder(tmp_path, images_a_class=1)
    with (root / "cat" / "film").open("wb") as file:
        file.truncate(1 << 40)
    [film] = [image for image in ImageFolderSource(root).images() if "film" in image.path]
    with pytest.raises(DatasetError, match="larger than 1 MiB"):
        film.read()


def test_what_systems_leave_in_class_folders_is_no_image(tmp_path):
    root = write_image_folder(tmp_path, images_a_class=1)
    (root / "__MACOSX").mkdir()
    for name in ("Thumbs.db", "desktop.ini", "._00.png", ".DS_Store"):
        (root / "cat" / name).write_bytes(b"\0\0\0\1Bud1")
    source = ImageFolderSource(root)
    assert source.class_names == ("cat", "dog")
    assert (source.num_images, source.skipped) == (2, ())


# ---- names of classes -------------------------------------------------------------------------


def test_numbers_are_ordered_as_numbers(tmp_path):
    names = [str(number) for number in range(12)]
    write_flat(tmp_path, *names)
    assert ImageFolderSource(tmp_path).class_names == tuple(names)


def test_names_of_one_number_are_ordered_by_their_text(tmp_path):
    write_flat(tmp_path, "1", "01", "10", "2", "001")
    assert ImageFolderSource(tmp_path).class_names == ("001", "01", "1", "2", "10")


def test_one_other_name_makes_all_of_them_texts(tmp_path):
    write_flat(tmp_path, "1", "10", "2", "2a", "-1")
    assert ImageFolderSource(tmp_path).class_names == ("-1", "1", "10", "2", "2a")


@pytest.mark.parametrize("name", ["caf\udce9", "a\nb", "a\x1b[31mb", "\u202eevil", " "])
def test_class_name_that_cannot_be_shown_is_refused_at_once(tmp_path, name):
    write_flat(tmp_path, "cat", name)
    with pytest.raises(DatasetError, match="must be text in UTF-8, in one line") as error:
        ImageFolderSource(tmp_path)
    assert str(error.value).isprintable()
    str(error.value).encode()


@pytest.mark.parametrize(
    "name",
    [" cat ", "a, b", 'l\'"a"', "\u05d7\u05ea\u05d5\u05dc", "\U0001f408\u200d\u2b1b", "a=b;c"],
)
def test_other_class_names_are_kept_as_they_are(tmp_path, name):
    write_flat(tmp_path, "dog", name)
    assert set(ImageFolderSource(tmp_path).class_names) == {"dog", name}


def test_accents_as_macos_and_linux_write_them_are_one_class(tmp_path):
    write_flat(tmp_path / "train", "cafe\u0301", "bar")
    write_flat(tmp_path / "test", "caf\u00e9", "bar")
    assert ImageFolderSource(tmp_path).class_names == ("bar", "caf\u00e9")
