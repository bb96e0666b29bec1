"""Tables on any width: as a table where it fits, else line by line; never cut."""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_WIDEST = 10_000
_NARROW = 60
"""Below, a table whose cells wrap is harder to read than a list."""


def print_table(table: Table, console: Console) -> None:
    """Print a table so that every word of it can be read.

    On a terminal that is too narrow for the longest words, or at all, each row becomes a block
    with a line a column. In a file or a pipe the table is as wide as it has to be, so that
    programs find names in one piece.
    """
    width = Measurement.get(console, console.options.update(width=_WIDEST), table)
    if not console.is_terminal:
        Console(file=console.file, width=max(width.maximum, console.width)).print(table)
    elif width.maximum <= console.width or width.minimum <= console.width >= _NARROW:
        console.print(table)
    else:
        _print_blocks(table, console)


def _print_blocks(table: Table, console: Console) -> None:
    if table.title:
        console.print(table.title, style="table.title", overflow="fold")
    columns = [list(column.cells) for column in table.columns]
    for index in range(table.row_count):
        if index:
            console.print()
        for column, cells in zip(table.columns, columns, strict=True):
            cell = _text(console, cells[index])
            if cell.plain.strip():
                name = _text(console, column.header) if table.show_header else Text()
                line = Text.assemble(name, ": " if name.plain else "", cell)
                console.print(line, overflow="fold", highlight=False)


def _text(console: Console, cell: object) -> Text:
    return cell if isinstance(cell, Text) else console.render_str(str(cell), highlight=False)
