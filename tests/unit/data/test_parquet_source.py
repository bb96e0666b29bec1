import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ofa_pipeline.data.sources import (
    FASHION_MNIST_SAMPLE,
    Columns,
    ParquetSource,
    SkippedFile,
    open_source,
)
from ofa_pipeline.errors import DatasetError
from tests.support.images import IMAGE_TYPE, encoded, noise, write_image_parquet


def test_images_come_with_path_label_and_content(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[1, 0], class_names="cat,dog")
    source = ParquetSource(path)
    assert source.class_names == ("cat", "dog")
    assert source.num_images == 2
    found = [(image.path, image.label, image.read()) for image in source.images()]
    assert found == [("0000.png", 1, encoded(noise(0))), ("0001.png", 0, encoded(noise(1)))]


def test_class_names_are_the_numbers_where_there_are_none(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[2, 0, 1])
    assert ParquetSource(path).class_names == ("0", "1", "2")


def test_class_names_may_be_json(tmp_path):
    path = write_image_parquet(
        tmp_path / "a.parquet", labels=[0, 1], class_names=json.dumps(["black, white", "red"])
    )
    assert ParquetSource(path).class_names == ("black, white", "red")


def test_class_names_of_the_datasets_library_are_read(tmp_path):
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 1])
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    assert ParquetSource(path).class_names == ("cat", "dog")


def test_file_names_of_a_folder_are_its_splits(tmp_path):
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-0", "test"):
        write_image_parquet(tmp_path / "data" / f"{name}.parquet", labels=[0, 1])
    for path in (tmp_path / "data").glob("train*"):
        paths = [f"{path.name}/{index}" for index in range(2)]
        write_image_parquet(path, labels=[0, 1], paths=paths)
    source = ParquetSource(tmp_path)
    assert source.fixed_splits == {"test", "selection"}
    assert [image.split for image in source.images()] == ["test"] * 2 + [None] * 4 + [
        "selection"
    ] * 2


def test_validation_files_are_the_test_split_where_there_is_no_other(tmp_path):
    for name in ("train", "val"):
        write_image_parquet(tmp_path / f"{name}.parquet", labels=[0, 1])
    assert ParquetSource(tmp_path).fixed_splits == {"test"}


def test_single_file_is_divided_whatever_its_name(tmp_path):
    path = write_image_parquet(tmp_path / "test.parquet", labels=[0, 1])
    assert ParquetSource(path).fixed_splits == frozenset()


def test_row_without_a_path_is_named_by_its_number(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 1], paths=["x.png", None])
    assert [image.path for image in ParquetSource(path).images()] == ["x.png", "a.parquet#1"]


def test_row_without_bytes_fails_when_it_is_read(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 1], contents=[b"", b"x"])
    first, second = ParquetSource(path).images()
    assert second.read() == b"x"
    with pytest.raises(DatasetError, match="neither there nor in"):
        first.read()


def test_missing_path_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="is neither"):
        ParquetSource(tmp_path / "no.parquet")


def test_folder_without_parquet_files_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="must hold Parquet files"):
        ParquetSource(tmp_path)


def test_folder_with_test_files_alone_is_an_error(tmp_path):
    write_image_parquet(tmp_path / "test.parquet", labels=[0, 1])
    with pytest.raises(DatasetError, match="there must be images to train on"):
        ParquetSource(tmp_path)


def test_file_that_is_not_parquet_is_an_error(tmp_path):
    (tmp_path / "a.parquet").write_text("id,label\n")
    with pytest.raises(DatasetError, match="not a readable Parquet file"):
        ParquetSource(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [None], "lable": [0]}, r"it has no label\. Did you mean 'lable'\?"),
        ({"img": [None], "label": [0]}, r"it has no image\. Did you mean 'img'\?"),
    ],
)
def test_missing_column_is_named_with_what_is_near(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match=message):
        ParquetSource(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([1, 2], "int64"),
        ([[1, 2], [3]], "list<element: int64>"),
        ([{"x": 1}] * 2, "struct<x: int64>"),
    ],
)
def test_image_column_must_hold_images(tmp_path, column, kind):
    pq.write_table(pa.table({"image": column, "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match=rf"must hold encoded images .* it is {kind}"):
        ParquetSource(tmp_path / "a.parquet")


def test_label_column_must_hold_integers_or_names(tmp_path):
    images = [b"a", b"b"]
    labels = pa.array([[0], [1]])
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="must hold integers or names, it is list"):
        ParquetSource(tmp_path / "a.parquet")


def _contents(source):
    return [(image.path, image.label, image.read()) for image in source.images()]


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary_view(), pa.struct([("bytes", pa.binary())])],
)
def test_images_may_be_bytes_alone(tmp_path, kind):
    rows = [{"bytes": b"x"}, {"bytes": b"y"}] if pa.types.is_struct(kind) else [b"x", b"y"]
    table = pa.table({"image": pa.array(rows, kind), "label": [1, 0]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert _contents(ParquetSource(tmp_path)) == [
        ("a.parquet#0", 1, b"x"),
        ("a.parquet#1", 0, b"y"),
    ]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), IMAGE_TYPE, "path alone"]
)
def test_images_may_be_paths_of_files(tmp_path, kind):
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "images" / "x.png").write_bytes(b"x")
    (tmp_path / "elsewhere.png").write_bytes(b"y")
    paths = ["images/x.png", str(tmp_path / "elsewhere.png")]
    if kind == "path alone":
        kind = pa.struct([("path", pa.string())])
    rows = [{"path": path} for path in paths] if pa.types.is_struct(kind) else paths
    table = pa.table({"image": pa.array(rows, kind), "label": [0, 1]})
    pq.write_table(table, tmp_path / "data" / "a.parquet")
    assert _contents(ParquetSource(tmp_path)) == [(paths[0], 0, b"x"), (paths[1], 1, b"y")]


def test_path_may_start_from_the_folder_of_the_source(tmp_path):
    (tmp_path / "x.png").write_bytes(b"x")
    (tmp_path / "data").mkdir()
    table = pa.table({"image": ["x.png", "x.png"], "label": [0, 1]})
    pq.write_table(table, tmp_path / "data" / "a.parquet")
    assert [image.read() for image in ParquetSource(tmp_path).images()] == [b"x", b"x"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "the row has no image"),
        ({"bytes": None, "path": None}, "the row has no image"),
        ({"bytes": None, "path": "gone.png"}, "the file that it names is neither there"),
        ({"bytes": None, "path": "hf://datasets/a/b.png"}, "only an address"),
    ],
)
def test_row_without_an_image_fails_when_it_is_read(tmp_path, row, reason):
    rows = pa.array([row, {"bytes": b"x", "path": "x.png"}], IMAGE_TYPE)
    pq.write_table(pa.table({"image": rows, "label": [0, 1]}), tmp_path / "a.parquet")
    source = ParquetSource(tmp_path)
    assert source.num_images == 2
    first, second = source.images()
    assert second.read() == b"x"
    with pytest.raises(DatasetError, match=reason):
        first.read()


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (pa.array(["b", "a", "b"]), ("a", "b")),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b")),
        (pa.array(["10", "9", "10"]), ("9", "10")),
        (pa.array(["10", "x9", "10"]), ("10", "x9")),
        (pa.array([True, False, True]), ("False", "True")),
        (pa.array([2.0, 1.0, 2.0]), ("1", "2")),
        (pa.array([7, 3, 7], pa.uint8()), ("3", "7")),
    ],
)
def test_labels_may_be_names_or_any_numbers(tmp_path, labels, names):
    table = pa.table({"image": [b"x", b"y", b"z"], "label": labels})
    pq.write_table(table, tmp_path / "a.parquet")
    source = ParquetSource(tmp_path)
    assert source.class_names == names
    by_name = [names[image.label] for image in source.images()]
    expected = [f"{v:g}" if isinstance(v, float) else str(v) for v in labels.to_pylist()]
    assert by_name == expected


def test_label_that_is_no_whole_number_is_named_with_its_row(tmp_path):
    pq.write_table(pa.table({"image": [b"x"] * 2, "label": [0.0, 0.5]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match=r"must be whole numbers, row 1 has 0\.5"):
        ParquetSource(tmp_path)


def test_names_of_labels_may_have_an_order_given(tmp_path):
    labels = pa.table({"image": [b"x", b"y"], "label": ["dog", "cat"]})
    table = labels.replace_schema_metadata({"class_names": "dog,cat"})
    pq.write_table(table, tmp_path / "a.parquet")
    source = ParquetSource(tmp_path)
    assert source.class_names == ("dog", "cat")
    assert [image.label for image in source.images()] == [0, 1]


def test_name_that_is_no_class_is_named_with_its_row(tmp_path):
    labels = pa.table({"image": [b"x", b"y"], "label": ["dog", "cow"]})
    table = labels.replace_schema_metadata({"class_names": "dog,cat"})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match=r"must be among the 2 class names .* row 1 has 'cow'"):
        ParquetSource(tmp_path)


def test_columns_may_be_called_otherwise(tmp_path):
    table = pa.table({"img": [b"x", b"y"], "fine label": [1, 0], "label": ["p", "q"]})
    features = {"fine label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    source = ParquetSource(tmp_path, columns=Columns(image="img", label="fine label"))
    assert source.class_names == ("cat", "dog")
    assert [image.label for image in source.images()] == [1, 0]


def test_label_out_of_range_is_named_with_its_row(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 1, 2], class_names="a,b")
    with pytest.raises(DatasetError, match=r"labels must be 0 to 1 .* row 2 has 2"):
        ParquetSource(path)


def test_negative_label_is_named_with_its_row(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 1, -2], class_names="a,b")
    with pytest.raises(DatasetError, match=r"or -1 for none, row 2 has -2"):
        ParquetSource(path)


@pytest.mark.parametrize("label", [-1, None])
def test_image_without_a_label_is_left_out_and_listed(tmp_path, label):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, label, 1], class_names="a,b")
    source = ParquetSource(path)
    assert source.num_images == 2
    assert [image.path for image in source.images()] == ["0000.png", "0002.png"]
    assert source.skipped == (SkippedFile("0001.png", "has no label (-1 or null)"),)


def test_labels_of_pandas_with_a_hole_are_numbers_and_none(tmp_path):
    labels = pa.array([0.0, None, float("nan"), 1.0])
    pq.write_table(pa.table({"image": [b"x"] * 4, "label": labels}), tmp_path / "a.parquet")
    source = ParquetSource(tmp_path)
    assert source.class_names == ("0", "1")
    assert [file.path for file in source.skipped] == ["a.parquet#1", "a.parquet#2"]


def test_split_without_any_label_is_none(tmp_path):
    for name, labels in (("train", [0, 1]), ("validation", [0, 1]), ("test", [-1, -1])):
        write_image_parquet(tmp_path / f"{name}.parquet", labels=labels, class_names="a,b")
    source = ParquetSource(tmp_path)
    assert [image.split for image in source.images()] == [None] * 2 + ["test"] * 2
    assert len(source.skipped) == 2


def test_images_without_any_label_are_an_error(tmp_path):
    write_image_parquet(tmp_path / "a.parquet", labels=[-1, -1])
    with pytest.raises(DatasetError, match="holds no images with a label"):
        ParquetSource(tmp_path)


def test_huge_label_without_class_names_is_refused(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 10**12])
    with pytest.raises(DatasetError, match="no class names"):
        ParquetSource(path)


def test_images_of_one_name_are_told_apart_by_their_rows(tmp_path):
    path = write_image_parquet(
        tmp_path / "a.parquet", labels=[0, 1, 0], paths=["x.png", "y.png", "x.png"]
    )
    assert [image.path for image in ParquetSource(path).images()] == [
        "a.parquet#0 (x.png)",
        "a.parquet#1 (y.png)",
        "a.parquet#2 (x.png)",
    ]


def test_paths_may_repeat_in_another_split(tmp_path):
    for name in ("train", "test"):
        write_image_parquet(tmp_path / f"{name}.parquet", labels=[0, 1])
    assert ParquetSource(tmp_path).num_images == 4


def test_one_class_is_not_enough(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 0])
    with pytest.raises(DatasetError, match="at least two classes, it has one: '0'"):
        ParquetSource(path)


def test_empty_class_is_named(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 2], class_names="a,b,c")
    with pytest.raises(DatasetError, match="there are none of 'b'"):
        ParquetSource(path)


def test_table_without_rows_is_an_error(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[], class_names="a,b")
    with pytest.raises(DatasetError, match="holds no images"):
        ParquetSource(path)


def test_repeated_class_names_are_an_error(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 1], class_names="cat,cat")
    with pytest.raises(DatasetError, match="must differ, repeated: cat"):
        ParquetSource(path)


def test_files_are_matched_by_the_names_of_their_classes(tmp_path):
    for name, classes in (("a", "cat,dog"), ("b", "dog,cat")):
        paths = [f"{name}0", f"{name}1"]
        path = tmp_path / f"{name}.parquet"
        write_image_parquet(path, labels=[0, 1], class_names=classes, paths=paths)
    source = ParquetSource(tmp_path)
    assert source.class_names == ("cat", "dog")
    found = {image.path: image.label for image in source.images()}
    assert found == {"a0": 0, "a1": 1, "b0": 1, "b1": 0}


@pytest.mark.parametrize("other", ["cat,cow", "cat,dog,cow", None])
def test_files_with_other_classes_are_an_error(tmp_path, other):
    write_image_parquet(tmp_path / "a.parquet", labels=[0, 1], class_names="cat,dog")
    write_image_parquet(tmp_path / "b.parquet", labels=[0, 1], class_names=other)
    with pytest.raises(DatasetError, match=r"must name the same classes: b\.parquet lacks"):
        ParquetSource(tmp_path)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (["default/train/0000", "default/test/0000"], {"train": None, "test": "test"}),
        (
            ["data/train-00000-of-00001-0a1b2c", "data/validation-00000-of-00001-3d4e5f"],
            {"train": None, "validation": "test"},
        ),
        (["train/0", "Valid/0", "TEST/0"], {"train": None, "Valid": "selection", "TEST": "test"}),
        (["partial-train/0000", "partial-test/0000"], {"train": None, "test": "test"}),
        (["cifar10_train", "cifar10_test"], {"train": None, "test": "test"}),
        (["train1", "train2", "eval1"], {"train": None, "eval": "test"}),
        (["training/a", "dev/a"], {"training": None, "dev": "test"}),
        (["part-00000", "part-00001"], {"part": None}),
    ],
)
def test_names_of_files_and_folders_say_the_splits(tmp_path, layout, expected):
    for name in layout:
        paths = [f"{name}/0", f"{name}/1"]
        write_image_parquet(tmp_path / f"{name}.parquet", labels=[0, 1], paths=paths)
    images = list(ParquetSource(tmp_path).images())
    assert len(images) == 2 * len(layout)
    for word, split in expected.items():
        assert {image.split for image in images if word in image.path} == {split}


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (["train", "extra"], r"must say which split they are, or none: train\.parquet"),
        (["train-test"], "must say one split, train-test.parquet says test and train"),
        (["fold1", "fold2"], r"fold1\.parquet looks like a part of a split"),
        (["a/train/0", "b/train/0"], "several configurations: a, b. Name one of them"),
        (["test", "validation"], "there must be images to train on"),
    ],
)
def test_splits_that_are_not_understood_are_an_error(tmp_path, layout, message):
    for name in layout:
        write_image_parquet(tmp_path / f"{name}.parquet", labels=[0, 1])
    with pytest.raises(DatasetError, match=message):
        ParquetSource(tmp_path)


def test_other_files_are_skipped_and_listed_but_for_those_of_the_system(tmp_path):
    write_image_parquet(tmp_path / "a.parquet", labels=[0, 1])
    for name in ("._a.parquet", ".DS_Store", "Thumbs.db", ".cache/b.parquet", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"junk")
    source = ParquetSource(tmp_path)
    assert source.num_images == 2
    assert source.skipped == (SkippedFile("README.md", "is not a Parquet file"),)


def test_linked_folders_are_followed_and_loops_end(tmp_path):
    write_image_parquet(tmp_path / "elsewhere" / "b.parquet", labels=[0, 1])
    root = tmp_path / "root"
    write_image_parquet(root / "a.parquet", labels=[0, 1])
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    assert ParquetSource(root).num_images == 4


def test_folder_of_arrow_files_says_how_to_write_parquet(tmp_path):
    (tmp_path / "data-00000-of-00001.arrow").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"Arrow files as Dataset\.save_to_disk writes them"):
        ParquetSource(tmp_path)


def test_damaged_file_is_an_error(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 1] * 50)
    content = bytearray(path.read_bytes())
    content[4:600] = bytes(596)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.parquet is damaged"):
        list(ParquetSource(path).images())


def test_shipped_sample_is_balanced_and_small():
    source = open_source("fashion_mnist_sample", base=FASHION_MNIST_SAMPLE.parent)
    assert source.num_images == 12_000
    assert source.class_names[0] == "T-shirt/top"
    assert len(source.class_names) == 10
    assert 5e6 <= FASHION_MNIST_SAMPLE.stat().st_size <= 6e6
    labels = pq.read_table(FASHION_MNIST_SAMPLE, columns=["label"])["label"]
    assert set(labels.value_counts().field("counts").to_pylist()) == {1200}


def test_shipped_sample_has_its_licence_beside_it():
    notice = FASHION_MNIST_SAMPLE.with_name("LICENSE.fashion_mnist_sample").read_text()
    assert "MIT" in notice
    assert "Zalando" in notice
