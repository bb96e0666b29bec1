import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ofa_pipeline import tables
from ofa_pipeline.arch import Arch
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.tables import (
    ARCH_COLUMNS,
    arch_columns,
    archs_of,
    column,
    read_table,
    write_table,
)

SCHEMA = pa.schema(
    [
        column("name", pa.string()),
        column("latency_ms", pa.float64(), unit="milliseconds", kind="measured"),
        column("note", pa.string(), nullable=True),
    ]
)
ROWS = {"name": ["a", "b"], "latency_ms": np.array([1.5, 2.5]), "note": [None, "slow"]}


def test_table_round_trips_with_units_and_kinds(tmp_path):
    write_table(tmp_path / "deep" / "t.parquet", SCHEMA, ROWS)
    table = read_table(tmp_path / "deep" / "t.parquet", SCHEMA)
    assert table.to_pydict() == {
        "name": ["a", "b"],
        "latency_ms": [1.5, 2.5],
        "note": [None, "slow"],
    }
    assert table.schema.field("latency_ms").metadata == {
        b"unit": b"milliseconds",
        b"kind": b"measured",
    }


def test_equal_tables_are_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_table(tmp_path / name, SCHEMA, ROWS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latency_s": [1.0, 2.0]}, r"unknown \['latency_s'\]"),
        ({"name": ["a"]}, "the columns must have one length"),
        ({"latency_ms": ["fast", "slow"]}, "column latency_ms must hold double"),
        ({"name": ["a", None]}, "column name may not be empty, 1 of 2 values are"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write_table(tmp_path / "t.parquet", SCHEMA, {**ROWS, **changes})
    assert list(tmp_path.iterdir()) == []


def test_missing_column_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"missing \['note'\]"):
        write_table(tmp_path / "t.parquet", SCHEMA, {"name": [], "latency_ms": []})


def test_failed_write_leaves_the_older_table(tmp_path, monkeypatch):
    write_table(tmp_path / "t.parquet", SCHEMA, ROWS)

    def fail(table, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables.pq, "write_table", fail)
    with pytest.raises(OSError, match="No space left"):
        write_table(tmp_path / "t.parquet", SCHEMA, ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
    assert read_table(tmp_path / "t.parquet", SCHEMA).num_rows == 2


def test_columns_that_came_later_are_empty_in_an_older_table(tmp_path):
    write_table(tmp_path / "t.parquet", SCHEMA, ROWS)
    later = SCHEMA.append(column("load_ms", pa.float64(), unit="milliseconds", nullable=True))
    assert read_table(tmp_path / "t.parquet", later)["load_ms"].to_pylist() == [None, None]
    required = SCHEMA.append(column("load_ms", pa.float64(), unit="milliseconds"))
    with pytest.raises(ManifestMismatchError, match="its columns should be"):
        read_table(tmp_path / "t.parquet", required)


def test_missing_table_is_an_error(tmp_path):
    with pytest.raises(MissingArtifactError, match=r"t\.parquet is missing"):
        read_table(tmp_path / "t.parquet", SCHEMA)


def test_file_that_is_no_table_is_an_error(tmp_path):
    (tmp_path / "t.parquet").write_text("name,latency_ms")
    with pytest.raises(ManifestMismatchError, match="is not a Parquet table"):
        read_table(tmp_path / "t.parquet", SCHEMA)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([column("name", pa.string())], "its columns should be"),
        ([column("name", pa.int64()), *list(SCHEMA)[1:]], "column name should be string"),
        (
            [SCHEMA[0], column("latency_ms", pa.float64(), unit="seconds"), SCHEMA[2]],
            "column latency_ms should say",
        ),
    ],
)
def test_table_of_another_schema_is_refused(tmp_path, other, message):
    schema = pa.schema(other)
    arrays = [pa.array([], type=field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), tmp_path / "t.parquet")
    with pytest.raises(ManifestMismatchError, match=message):
        read_table(tmp_path / "t.parquet", SCHEMA)


def test_architectures_round_trip(tmp_path):
    archs = [
        Arch(resolution_px=28, depths=(1, 2), kernel_sizes=(3, 5, 7), expand_ratios=(2, 3, 4)),
        Arch(resolution_px=16, depths=(1, 1), kernel_sizes=(3, 3), expand_ratios=(0.2, 0.35)),
    ]
    schema = pa.schema(ARCH_COLUMNS)
    write_table(
        tmp_path / "t.parquet",
        schema,
        arch_columns(archs, macs=np.array([10, 20]), num_params=np.array([1, 2])),
    )
    table = read_table(tmp_path / "t.parquet", schema)
    assert archs_of(table) == archs
    assert table["arch_id"].to_pylist() == [arch.arch_id for arch in archs]
    assert table["macs"].to_pylist() == [10, 20]


def test_every_measure_in_a_declared_schema_has_a_unit_and_a_kind():
    schemas = {name: value for name, value in vars(tables).items() if name.endswith("_SCHEMA")}
    assert schemas
    for name, schema in schemas.items():
        for field in schema:
            said = set(field.metadata or {})
            assert said in (set(), {b"unit", b"kind"}), f"{name}.{field.name}"
            assert said or not pa.types.is_floating(field.type), f"{name}.{field.name}"
