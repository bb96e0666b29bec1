"""The one YAML reader: version 1.2 as DVC reads it, with bounds."""

import time
from datetime import date

import pytest
from dvc.utils.serialize import parse_yaml as parse_as_dvc

from ofa_pipeline.errors import YamlError
from ofa_pipeline.yaml_reader import MAX_DEPTH, MAX_VALUES, parse_yaml, read_yaml

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1e5", 1e5),
        ("1.5e3", 1500.0),
        ("1e-05", 1e-5),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", 1000),
        ("12:30:00", "12:30:00"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        (".inf", float("inf")),
        ("2026-01-02", date(2026, 1, 2)),
        ("~", None),
        ("!!str 1", "1"),
        ("&x {k: 1}", {"k": 1}),
    ],
)
def test_values_are_those_of_yaml_1_2_and_of_dvc(text, value):
    document = f"a: {text}\n"
    assert parse_yaml(document, origin="x") == {"a": value} == parse_as_dvc(document, "x")


def test_anchors_and_merge_keys_are_read():
    text = "a: &x {k: 1, l: 2}\nb: *x\nc: {<<: *x, k: 3}\n"
    assert parse_yaml(text, origin="x")["c"] == {"k": 3, "l": 2}
    assert parse_yaml(text, origin="x") == parse_as_dvc(text, "x")


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa: 1\n", b"a: 1\r\n", b"---\na: 1\n...\n"])
def test_marks_of_editors_make_no_difference(tmp_path, content):
    (tmp_path / "p.yaml").write_bytes(content)
    assert read_yaml(tmp_path / "p.yaml") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", 'line 3, column 1: .*duplicate key "a"'),
        ("a: {b: 1}\na: {b: 2}", 'duplicate key "a": it stands twice .* Rename or remove one'),
        ("a:\n\tb: 1", "line 2, .*a tab: indent with spaces"),
        ("a: 1\n---\nb: 2", "line 2, .*single document"),
        ("a: !!python/object:os.system x", "line 1, .*python/object"),
        ("a: !own 1", "line 1, .*!own"),
        ("a: 1\nb: \x01", "line 2: control characters"),
        ("a: [", "line 2"),
        ("a: *nowhere", "line 1, .*undefined alias"),
        ("a: &a [*a]", "line 1: .*stands inside itself"),
        ("%YAML 1.1\n---\na: yes", "line 1: .*version 1.2"),
        ("a: " + "9" * 5000, "a value is none"),
        ("a: 2026-02-31", "a value is none: day is out of range"),
        (LAUGHS, f"at most {MAX_VALUES:,} values"),
        ("a: [" + "1, " * (MAX_VALUES + 1) + "1]", f"at most {MAX_VALUES:,} values"),
        ("a: " + "[" * 3000 + "]" * 3000, f"nested {MAX_DEPTH} deep"),
        ("a: " + "[" * 100_000, f"nested {MAX_DEPTH} deep"),
        ("a: " + "{a: " * 3000, f"nested {MAX_DEPTH} deep"),
        ("- " * 3000 + "1", f"nested {MAX_DEPTH} deep"),
        ("k" * 500 + ": 1\n" + "k" * 500 + ": 2", "duplicate key"),
    ],
)
def test_what_can_not_be_read_is_refused_at_once_with_its_place(text, message):
    start = time.perf_counter()
    with pytest.raises(YamlError, match=message) as caught:
        parse_yaml(text, origin="here.yaml")
    assert time.perf_counter() - start < 1
    assert str(caught.value).startswith("here.yaml")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_named(tmp_path, encoding):
    (tmp_path / "p.yaml").write_text("a: 1\n", encoding=encoding)
    with pytest.raises(YamlError, match="Save it as UTF-8"):
        read_yaml(tmp_path / "p.yaml")


def test_latin_1_is_refused_with_its_line(tmp_path):
    (tmp_path / "p.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(YamlError, match="line 2: must be text in UTF-8, found the byte 0xe9"):
        read_yaml(tmp_path / "p.yaml")


def test_large_file_is_not_read(tmp_path):
    with (tmp_path / "p.yaml").open("wb") as file:
        file.truncate(50 << 20)
    with pytest.raises(YamlError, match=r"at most 1 MiB, it has 50\.0 MiB"):
        read_yaml(tmp_path / "p.yaml")


def test_folder_is_no_file(tmp_path):
    with pytest.raises(YamlError, match="is a folder"):
        read_yaml(tmp_path)
