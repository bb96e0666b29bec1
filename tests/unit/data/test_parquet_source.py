import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ofa_pipeline.data.sources import FASHION_MNIST_SAMPLE, ParquetSource, open_source
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
    with pytest.raises(DatasetError, match="the row has no bytes"):
        first.read()


def test_missing_path_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="is nothing"):
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


def test_image_column_must_have_bytes_and_path(tmp_path):
    pq.write_table(pa.table({"image": [b"x"], "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="must be a struct of bytes and path, it is binary"):
        ParquetSource(tmp_path / "a.parquet")


def test_label_column_must_be_an_integer(tmp_path):
    image = pa.array([{"bytes": b"x", "path": "y"}], type=IMAGE_TYPE)
    pq.write_table(pa.table({"image": image, "label": ["cat"]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="must be an integer, it is string"):
        ParquetSource(tmp_path / "a.parquet")


@pytest.mark.parametrize("label", [2, -1])
def test_label_out_of_range_is_named_with_its_row(tmp_path, label):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 1, label], class_names="a,b")
    with pytest.raises(DatasetError, match=rf"labels must be 0 to 1 .* row 2 has {label}"):
        ParquetSource(path)


def test_huge_label_without_class_names_is_refused(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, 10**12])
    with pytest.raises(DatasetError, match="no class names"):
        ParquetSource(path)


def test_missing_label_is_named_with_its_row(tmp_path):
    path = write_image_parquet(tmp_path / "a.parquet", labels=[0, None])
    with pytest.raises(DatasetError, match="row 1 has none"):
        ParquetSource(path)


def test_duplicate_paths_are_named(tmp_path):
    path = write_image_parquet(
        tmp_path / "a.parquet", labels=[0, 1, 0], paths=["x.png", "y.png", "x.png"]
    )
    with pytest.raises(DatasetError, match=r"'x\.png' occurs 2 times, and 1 paths are repeated"):
        ParquetSource(path)


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


def test_files_with_different_class_names_are_an_error(tmp_path):
    write_image_parquet(tmp_path / "a.parquet", labels=[0, 1], class_names="cat,dog")
    write_image_parquet(tmp_path / "b.parquet", labels=[0, 1], class_names="dog,cat")
    with pytest.raises(DatasetError, match="the same classes, in one order"):
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
