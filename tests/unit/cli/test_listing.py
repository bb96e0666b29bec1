"""Tables can be read on every width, and by programs."""

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from ofa_pipeline.cli.listing import print_table

NAMES = ("cpu-onnxruntime", "ofa-fashion-mnist-mobilenet-v3-small-images-of-this-lab v12")
FIGURES = ("0.221", "[0.300]", "87.89 %", "12.34 M")


@pytest.fixture
def table():
    table = Table(title="Registered subnets")
    table.add_column("device", overflow="fold")
    for name in ("budget ms", "measured ms", "top-1 on test", "MACs"):
        table.add_column(name, justify="right")
    table.add_column("registry version", overflow="fold")
    for _ in range(2):
        table.add_row(NAMES[0], *(figure.replace("[", "\\[") for figure in FIGURES), NAMES[1])
    return table


def printed(table, *, width, is_terminal):
    file = io.StringIO()
    print_table(table, Console(file=file, width=width, force_terminal=is_terminal, no_color=True))
    return re.sub("\x1b\\[[0-9;]*m", "", file.getvalue())


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140, 200])
def test_terminal_shows_every_figure_within_its_width(table, width):
    text = printed(table, width=width, is_terminal=True)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    together = re.sub(r"\s", "", text)
    for word in (*NAMES, *FIGURES):
        assert together.count(word.replace(" ", "")) == 2


def test_narrow_terminal_names_each_value(table):
    lines = printed(table, width=40, is_terminal=True).splitlines()
    assert "device: cpu-onnxruntime" in lines
    assert "top-1 on test: 87.89 %" in lines


@pytest.mark.parametrize("width", [40, 140])
def test_program_finds_a_row_in_a_line(table, width):
    text = printed(table, width=width, is_terminal=False)
    assert sum(all(word in line for word in (*NAMES, *FIGURES)) for line in text.splitlines()) == 2


def test_words_of_a_cell_wrap_where_the_terminal_is_wide_enough_for_a_table():
    table = Table("what", "found")
    table.add_row("machine", "many words " * 20)
    text = printed(table, width=80, is_terminal=True)
    assert text.count("\u2502") > 4
    assert printed(table, width=50, is_terminal=True).count("\u2502") == 0


def test_wide_terminal_shows_a_table(table):
    text = printed(table, width=200, is_terminal=True)
    assert any(all(word in line for word in (*NAMES, *FIGURES)) for line in text.splitlines())


def test_table_without_a_header_has_no_names(table):
    table = Table(show_header=False, box=None)
    for name in ("", "what", "found"):
        table.add_column(name, overflow="fold")
    table.add_row("[green]ok[/]", "machine", "x" * 60)
    table.add_row("", "git", "")
    assert printed(table, width=40, is_terminal=True).splitlines() == [
        "ok",
        "machine",
        "x" * 40,
        "x" * 20,
        "",
        "git",
    ]
