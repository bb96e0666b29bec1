import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from ofa_pipeline.artifacts import digest_file
from ofa_pipeline.data import SPLIT_NAMES, open_dataset, prepare_dataset
from ofa_pipeline.data.staging import channel_statistics
from ofa_pipeline.errors import DatasetError
from ofa_pipeline.progress import Reporter
from ofa_pipeline.tables import QUARANTINE_SCHEMA, read_table
from tests.support.images import (
    dataset_options,
    encoded,
    noise,
    write_image_folder,
    write_image_parquet,
)


def prepare(tmp_path, source, *, to="dataset", **changes):
    return prepare_dataset(dataset_options(source, **changes), tmp_path / to, base=tmp_path)


def rows_of(folder):
    """Return (path, label, content) of each split's images, in order."""
    found = {}
    for name in SPLIT_NAMES:
        rows = []
        for path in sorted(folder.glob(f"{name}-*.parquet")):
            table = pq.read_table(path).to_pylist()
            rows += [(r["image"]["path"], r["label"], r["image"]["bytes"]) for r in table]
        found[name] = rows
    return found


def paths_of(folder):
    return {name: {path for path, _, _ in rows} for name, rows in rows_of(folder).items()}


def digests_of(folder):
    return {path.name: digest_file(path) for path in sorted(folder.iterdir())}


def quarantined(folder):
    table = read_table(folder / "quarantine.parquet", QUARANTINE_SCHEMA)
    return {row["path"]: row["reason"] for row in table.to_pylist()}


def test_every_image_lies_in_exactly_one_split(tmp_path):
    write_image_folder(tmp_path / "images", images_a_class=20)
    figures = prepare(tmp_path, "image_folder:images")
    splits = paths_of(tmp_path / "dataset")
    everything = [path for paths in splits.values() for path in paths]
    assert len(everything) == len(set(everything)) == 40
    assert figures["num_images"] == {"train": 20, "calibration": 4, "selection": 8, "test": 8}


def test_classes_are_equally_frequent_in_every_split(tmp_path):
    write_image_folder(tmp_path / "images", images_a_class=20)
    prepare(tmp_path, "image_folder:images")
    for rows in rows_of(tmp_path / "dataset").values():
        labels = [label for _, label, _ in rows]
        assert labels.count(0) == labels.count(1)


def test_running_again_gives_the_same_bytes(tmp_path):
    write_image_folder(tmp_path / "images")
    for name in ("one", "two"):
        prepare(tmp_path, "image_folder:images", to=name)
    assert digests_of(tmp_path / "one") == digests_of(tmp_path / "two")


def test_order_of_the_source_changes_no_byte(tmp_path):
    contents = [encoded(noise(index)) for index in range(40)]
    paths = [f"{index}.png" for index in range(40)]
    labels = [index % 2 for index in range(40)]
    order = np.random.default_rng(0).permutation(40)
    for name, chosen in (("straight", range(40)), ("shuffled", order)):
        write_image_parquet(
            tmp_path / name / "a.parquet",
            labels=[labels[i] for i in chosen],
            contents=[contents[i] for i in chosen],
            paths=[paths[i] for i in chosen],
        )
        prepare(tmp_path / name, "parquet:a.parquet")
    straight, shuffled = (digests_of(tmp_path / n / "dataset") for n in ("straight", "shuffled"))
    assert straight == shuffled


def test_renaming_files_moves_no_image_to_another_split(tmp_path):
    write_image_folder(tmp_path / "images")
    prepare(tmp_path, "image_folder:images", to="before")
    for path in sorted((tmp_path / "images").glob("*/*.png")):
        path.rename(path.with_name(f"renamed{99 - int(path.stem)}.png"))
    prepare(tmp_path, "image_folder:images", to="after")
    before, after = (rows_of(tmp_path / name) for name in ("before", "after"))
    for name in SPLIT_NAMES:
        assert {c for _, _, c in before[name]} == {c for _, _, c in after[name]}


def test_seed_changes_the_splits(tmp_path):
    write_image_folder(tmp_path / "images")
    for seed in (0, 1):
        prepare(tmp_path, "image_folder:images", to=str(seed), seed=seed)
    assert paths_of(tmp_path / "0") != paths_of(tmp_path / "1")


def test_test_split_of_the_source_is_kept(tmp_path):
    write_image_folder(tmp_path / "images" / "train")
    write_image_folder(tmp_path / "images" / "test", images_a_class=3, seed=5000)
    prepare(tmp_path, "image_folder:images")
    splits = paths_of(tmp_path / "dataset")
    assert splits["test"] == {f"test/{c}/0{i}.png" for c in ("cat", "dog") for i in range(3)}
    assert all(path.startswith("train/") for path in splits["train"] | splits["selection"])


def test_copies_never_lie_in_two_splits(tmp_path):
    root = write_image_folder(tmp_path / "images")
    for index in range(4):
        shutil.copy(root / "cat" / "00.png", root / "cat" / f"copy{index}.png")
    figures = prepare(tmp_path, "image_folder:images")
    splits = paths_of(tmp_path / "dataset")
    assert {"cat/00.png", *(f"cat/copy{i}.png" for i in range(4))} <= splits["train"]
    assert figures["num_copies"] == 4
    assert figures["num_copies_left_out"] == 0


def test_copy_of_a_test_image_is_left_out_of_train_and_listed(tmp_path):
    write_image_folder(tmp_path / "images" / "train")
    write_image_folder(tmp_path / "images" / "test", seed=5000)
    shutil.copy(tmp_path / "images/test/cat/00.png", tmp_path / "images/train/cat/leak.png")
    figures = prepare(tmp_path, "image_folder:images")
    assert figures["num_copies_left_out"] == 1
    assert quarantined(tmp_path / "dataset") == {
        "train/cat/leak.png": "a held-out image has the same pixels"
    }


def test_same_pixels_in_another_file_format_are_a_copy(tmp_path):
    root = write_image_folder(tmp_path / "images")
    (root / "cat" / "other.bmp").write_bytes(encoded(noise(0), "BMP"))
    assert prepare(tmp_path, "image_folder:images")["num_copies"] == 1


def test_statistics_are_those_of_the_training_pixels(tmp_path):
    write_image_folder(tmp_path / "images", images_a_class=20)
    prepare(tmp_path, "image_folder:images")
    dataset = open_dataset(tmp_path / "dataset")
    pixels = dataset.split("train").images().numpy() / 255.0
    np.testing.assert_allclose(dataset.normalization.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(dataset.normalization.std, pixels.std(axis=(0, 2, 3)), rtol=1e-12)


def test_statistics_are_exact_where_a_naive_sum_of_squares_is_not():
    count = 10**15
    sums = np.array(
        [2 * count, *[count * (254 + 255)] * 3, *[count * (254**2 + 255**2)] * 3], object
    )
    mean, std = channel_statistics(sums)
    assert mean[0] == pytest.approx(254.5 / 255, rel=1e-15)
    assert std[0] == pytest.approx(0.5 / 255, rel=1e-15)


def test_constant_channel_has_the_deviation_of_one_gray_level(tmp_path):
    for label in range(2):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for index in range(10):
            pixels = noise(100 * label + index)
            pixels[:, :, 2] = 7
            (tmp_path / f"images/{label}/{index}.png").write_bytes(encoded(pixels))
    prepare(tmp_path, "image_folder:images")
    assert open_dataset(tmp_path / "dataset").normalization.std[2] == 1 / 255


def test_unreadable_files_are_quarantined_with_the_reason(tmp_path):
    root = write_image_folder(tmp_path / "images")
    content = encoded(noise(0, height=64, width=64), "JPEG")
    (root / "cat" / "cut.jpg").write_bytes(content[: len(content) // 2])
    (root / "dog" / "text.png").write_text("not at all")
    (root / "dog" / "notes.txt").write_text("about dogs")
    figures = prepare(tmp_path, "image_folder:images", max_bad_fraction=0.2)
    found = quarantined(tmp_path / "dataset")
    assert "truncated" in found["cat/cut.jpg"]
    assert found["dog/text.png"] == "not an image: the content is of no known image format"
    assert found["dog/notes.txt"] == "not an image: a text"
    assert figures["num_unreadable"] == 2
    assert figures["num_skipped_files"] == 1
    assert sum(figures["num_images"].values()) == 20


def test_too_many_unreadable_files_stop_it_and_the_first_are_named(tmp_path):
    root = write_image_folder(tmp_path / "images")
    for index in range(3):
        (root / "cat" / f"bad{index}.png").write_text("")
    with pytest.raises(DatasetError, match=r"at most 10\.00% of the 23 .* found 3 .*cat/bad0\.png"):
        prepare(tmp_path, "image_folder:images", max_bad_fraction=0.1)


def test_class_without_a_readable_image_is_an_error(tmp_path):
    root = write_image_folder(tmp_path / "images")
    (root / "emu").mkdir()
    (root / "emu" / "bad.png").write_text("")
    with pytest.raises(DatasetError, match="decoded, must have images, there are none of 'emu'"):
        prepare(tmp_path, "image_folder:images", max_bad_fraction=0.5)


def test_file_that_may_not_be_read_is_quarantined(tmp_path):
    root = write_image_folder(tmp_path / "images")
    (root / "cat" / "loop.png").symlink_to("loop.png")
    prepare(tmp_path, "image_folder:images", max_bad_fraction=0.5)
    found = quarantined(tmp_path / "dataset")["cat/loop.png"]
    assert found.startswith("the file cannot be read: Too many levels")


def test_odd_images_become_ordinary_ones(tmp_path):
    from PIL import Image

    root = write_image_folder(tmp_path / "images")
    Image.new("CMYK", (8, 8), (1, 2, 3, 4)).save(root / "cat" / "cmyk.jpg")
    Image.fromarray(np.full((9, 9), 30000, np.uint16)).save(root / "cat" / "deep.png")
    Image.new("RGB", (1, 1)).save(root / "cat" / "pixel.png")
    Image.new("RGBA", (30, 8)).save(root / "dog" / "wide.png")
    prepare(tmp_path, "image_folder:images")
    dataset = open_dataset(tmp_path / "dataset")
    for name in SPLIT_NAMES:
        assert dataset.split(name).images().shape[1:] == (3, 8, 8)
    assert quarantined(tmp_path / "dataset") == {}


def test_larger_images_are_stored_at_size_and_smaller_ones_as_they_are(tmp_path):
    root = write_image_folder(tmp_path / "images")
    small = encoded(noise(7000, height=6, width=5))
    (root / "cat" / "small.png").write_bytes(small)
    (root / "cat" / "large.png").write_bytes(encoded(noise(7001, height=32, width=16)))
    prepare(tmp_path, "image_folder:images")
    stored = {p: c for rows in rows_of(tmp_path / "dataset").values() for p, _, c in rows}
    assert stored["cat/small.png"] == small
    sizes = {int.from_bytes(stored["cat/large.png"][at : at + 4], "big") for at in (16, 20)}
    assert sizes == {8, 16}


def test_size_is_that_of_the_images_where_all_are_smaller(tmp_path):
    write_image_folder(tmp_path / "images")
    figures = prepare(tmp_path, "image_folder:images", image_size_px=64)
    assert figures["image_size_px"] == 8
    assert open_dataset(tmp_path / "dataset").image_size_px == 8


def test_shards_hold_as_many_rows_as_asked_for(tmp_path):
    write_image_folder(tmp_path / "images", images_a_class=20)
    prepare(tmp_path, "image_folder:images", shard_rows=7)
    shards = sorted((tmp_path / "dataset").glob("train-*.parquet"))
    assert [pq.read_metadata(path).num_rows for path in shards] == [7, 7, 6]


def test_row_groups_are_small(tmp_path):
    contents = [encoded(noise(index)) for index in range(400)]
    write_image_parquet(tmp_path / "a.parquet", labels=[0, 1] * 200, contents=contents)
    prepare(tmp_path, "parquet:a.parquet")
    metadata = pq.read_metadata(tmp_path / "dataset" / "train-00000.parquet")
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert sizes == [128, 72]


def test_progress_counts_every_image_twice(tmp_path):
    write_image_folder(tmp_path / "images")
    events = []
    prepare_dataset(
        dataset_options("image_folder:images"),
        tmp_path / "dataset",
        base=tmp_path,
        reporter=Reporter(events.append, interval_s=0.0),
    )
    last = {event.label: event for event in events}
    assert {label: (e.done, e.total, e.unit) for label, e in last.items()} == {
        "decode": (20, 20, "images"),
        "write": (20, 20, "images"),
    }


def test_nothing_but_the_dataset_is_left(tmp_path):
    write_image_folder(tmp_path / "images")
    prepare(tmp_path, "image_folder:images")
    assert sorted(path.name for path in (tmp_path / "dataset").iterdir()) == [
        "calibration-00000.parquet",
        "classes.json",
        "quarantine.parquet",
        "selection-00000.parquet",
        "statistics.json",
        "summary.json",
        "test-00000.parquet",
        "train-00000.parquet",
    ]
    assert json.loads((tmp_path / "dataset/classes.json").read_text()) == {
        "class_names": ["cat", "dog"]
    }
