import numpy as np
import pytest
import yaml

from ofa_pipeline.errors import ArchError, DeviceError
from ofa_pipeline.reference.lookup_table import (
    LookupEntry,
    LookupTableModel,
    lookup_keys,
    read_lookup_table,
    read_lookup_tables,
)
from ofa_pipeline.spaces import mobilenet_v3, reference_space
from tests.support.runtimes import tiny_space


def table_of(space, resolution_px, *, num_classes=10):
    """Return a table in which every entry has another latency."""
    keys = lookup_keys(space, resolution_px=resolution_px, num_classes=num_classes)
    return {
        key: LookupEntry(mean_ms=0.1 + 0.001 * index + resolution_px, std_ms=0.01, count=100)
        for index, key in enumerate(keys)
    }


def tables_of(space, *, num_classes=10):
    return {r: table_of(space, r, num_classes=num_classes) for r in space.resolutions_px}


@pytest.fixture
def space():
    return tiny_space()


def test_latency_is_the_sum_over_what_runs(space):
    entry = LookupEntry(mean_ms=1.0, std_ms=0.0, count=1)
    tables = {r: dict.fromkeys(table_of(space, r), entry) for r in space.resolutions_px}
    model = LookupTableModel(space, tables, num_classes=10)
    genes = space.genes([space.smallest, space.largest])
    # Stem, first block, two convolutions of the head, pooling, classifier; then the blocks.
    assert model(genes).tolist() == [6 + 2, 6 + 4]


def test_many_architectures_at_once_are_the_same_as_one_by_one(space):
    model = LookupTableModel(space, tables_of(space), num_classes=10)
    genes = space.sample(np.random.default_rng(0), 50)
    one_by_one = [model(genes[i : i + 1])[0] for i in range(50)]
    np.testing.assert_array_equal(model(genes), one_by_one)


def test_genes_of_skipped_blocks_do_not_matter(space):
    model = LookupTableModel(space, tables_of(space), num_classes=10)
    drawn = np.random.default_rng(0).integers(0, space.num_choices, (50, space.num_genes))
    genes = drawn.astype(np.int8)
    np.testing.assert_array_equal(model(genes), model(space.canonicalize(genes)))


def test_every_table_of_a_folder_is_read(space, tmp_path):
    for resolution_px, table in tables_of(space).items():
        values = {
            key: {"count": entry.count, "mean": entry.mean_ms, "std": entry.std_ms}
            for key, entry in table.items()
        }
        path = tmp_path / f"{resolution_px}_lookup_table.yaml"
        path.write_text(yaml.safe_dump(values))
    assert read_lookup_tables(tmp_path) == tables_of(space)


def test_older_tables_with_a_variance_are_read(tmp_path):
    path = tmp_path / "160_lookup_table.yaml"
    path.write_text("Conv-input:1x1x3-output:1x1x8: {count: 3, mean: 0.5, var: 0.04}\n")
    (entry,) = read_lookup_table(path).values()
    assert entry == LookupEntry(mean_ms=0.5, std_ms=pytest.approx(0.2), count=3)


def test_missing_entries_are_listed(space):
    tables = tables_of(space)
    gone = [key for key in tables[16] if "kernel:7" in key]
    tables[16] = {key: entry for key, entry in tables[16].items() if key not in gone}
    with pytest.raises(DeviceError, match=f"16 px lacks {len(gone)} entries") as caught:
        LookupTableModel(space, tables, num_classes=10)
    assert gone[0] in str(caught.value)


def test_another_number_of_classes_is_named(space):
    with pytest.raises(DeviceError, match=r"Logits-.*-output:100\..* for 10 classes"):
        LookupTableModel(space, tables_of(space), num_classes=100)


def test_a_resolution_without_a_table_is_refused_when_asked_for(space):
    model = LookupTableModel(space, {20: table_of(space, 20)}, num_classes=10)
    assert model.resolutions_px == (20,)
    assert model(space.genes([space.largest])).shape == (1,)
    with pytest.raises(DeviceError, match="16 px is not in the look-up tables, which hold 20 px"):
        model(space.genes([space.smallest]))


def test_tables_of_no_resolution_of_the_space_are_refused(space):
    with pytest.raises(DeviceError, match="tables for 224 px"):
        LookupTableModel(space, {224: {}}, num_classes=10)


def test_tables_of_another_width_are_refused():
    wide, narrow = (
        mobilenet_v3(width_multiplier=width).restrict(resolutions_px=[160]) for width in (1.2, 1.0)
    )
    with pytest.raises(DeviceError, match="lacks"):
        LookupTableModel(narrow, tables_of(wide), num_classes=10)


def test_a_space_of_residual_bottlenecks_has_no_tables():
    with pytest.raises(ArchError):
        lookup_keys(reference_space("ofa_resnet50"), resolution_px=160, num_classes=10)


def test_keys_of_proxyless_spaces_name_the_expand_ratio():
    keys = lookup_keys(
        reference_space("ofa_proxyless_d234_e346_k357_w1.3"), resolution_px=224, num_classes=1000
    )
    assert (
        "expanded_conv-input:112x112x24-output:56x56x32-expand:6-kernel:7-stride:2-idskip:0" in keys
    )
    assert not any(key.startswith(("AvgPool2D", "Conv_2")) for key in keys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "must map keys"),
        ("", "must map keys"),
        ("a: {mean: [", "in YAML"),
        ("a: 2026-02-31", "in YAML"),
        ("a: " + "[" * 3000, "in YAML"),
        ("a: {mean: 1}\n", "count, mean and std"),
        ("a: 3\n", "count, mean and std"),
        ("a: {count: 1, mean: -1, std: 0}\n", "negative"),
        ("a: !!python/object/apply:os.system [true]\n", "in YAML"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, message):
    path = tmp_path / "160_lookup_table.yaml"
    path.write_text(text)
    with pytest.raises(DeviceError, match=message):
        read_lookup_table(path)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(DeviceError, match="is missing"):
        read_lookup_table(tmp_path / "160_lookup_table.yaml")
    with pytest.raises(DeviceError, match="found none"):
        read_lookup_tables(tmp_path)
