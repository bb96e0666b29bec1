"""Notes of an unfinished stage survive kills and say what is damaged."""

import json

import pytest

from ofa_pipeline.progress import Reporter
from ofa_pipeline.resume import ResumeLog

ROWS = {"one": {"p50_ms": 0.1 + 0.2, "n": 3}, "two": {"p50_ms": 1e-05, "n": 4}, "th\xe9": {"n": 5}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "scratch" / "rows.jsonl"
    log = ResumeLog(path)
    for key, row in ROWS.items():
        log.append(key, row)
    return path


def read(path):
    lines = []
    log = ResumeLog(path, reporter=Reporter(lambda event: lines.append(event.label)))
    return log.rows, lines


def test_rows_come_back_bit_for_bit(path):
    assert read(path) == (ROWS, [])


def test_a_flipped_bit_costs_a_row_or_two_and_never_changes_one(path):
    whole = path.read_bytes()
    for offset in range(len(whole)):
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << offset % 8
        path.write_bytes(damaged)
        rows, lines = read(path)
        assert all(ROWS[key] == row for key, row in rows.items()), offset
        assert len(rows) >= 1
        if len(rows) < len(ROWS) and damaged[-1:] == b"\n":
            assert "are measured again" in lines[0]
            assert path.with_name("rows.jsonl.bad").read_bytes() == damaged


def test_a_torn_last_line_is_dropped_and_does_not_swallow_the_next(path):
    path.write_bytes(path.read_bytes()[:-9])
    log = ResumeLog(path)
    assert list(log.rows) == ["one", "two"]
    log.append("four", {"n": 6})
    rows, lines = read(path)
    assert list(rows) == ["one", "two", "four"]
    assert lines == []


@pytest.mark.parametrize("line", [b"[1, 2]", b"3", b"[]", b'{"a": 1}', b"[" * 5000, b"\xff", b""])
def test_a_line_of_another_kind_is_left_out(path, line):
    path.write_bytes(line + b"\n" + path.read_bytes())
    rows, lines = read(path)
    assert rows == ROWS
    assert "1 of 4 notes" in lines[0]


def test_lines_of_earlier_versions_are_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(["one", ROWS["one"]]) + "\n")
    assert read(path) == ({"one": ROWS["one"]}, [])


def test_a_full_disk_names_the_log(tmp_path):
    log = ResumeLog(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        log.append("one", {"value": 1})
    assert caught.value.filename == str(tmp_path / "rows.jsonl")
