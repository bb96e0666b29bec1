"""Files and functions stay short enough to be read at once.

What ships as one file is no exception: it is put together from modules (`specialize.shipped_code`).
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
"""From ``def`` to the last line, signature and docstring included."""
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("ofa_pipeline", "flows")
    for path in (ROOT / folder).rglob("*.py")
)


def lines_of_functions(source: str) -> dict[str, int]:
    return {
        f"{node.name} in line {node.lineno}": (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_no_file_is_too_long():
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_no_function_is_too_long():
    found = {
        f"{path}: {name}": count
        for path in FILES
        for name, count in lines_of_functions((ROOT / path).read_text()).items()
        if count > MAX_FUNCTION_LINES
    }
    assert found == {}


@pytest.mark.parametrize("prefix", ["", "async "])
def test_every_line_of_a_function_counts(prefix):
    inner = "    def one():\n        return 1\n"
    source = f'@cached\n{prefix}def add(\n    a,\n):\n    """Add."""\n\n{inner}'
    assert lines_of_functions(source) == {"add in line 2": 7, "one in line 7": 2}
