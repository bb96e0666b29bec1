"""No code of ours unpickles what somebody else may have written: a pickle is a program."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("ofa_pipeline", "flows", "benchmarks", "scripts")
    for path in (ROOT / folder).rglob("*.py")
)
MODULES = {"cloudpickle", "dill", "joblib", "marshal", "shelve"}
READERS = {"load", "loads", "Unpickler"}


def faults(tree):
    """Yield lines that could run what is read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (node.lineno for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {name.name for name in node.names}
            if node.module in MODULES or (node.module == "pickle" and names & READERS):
                yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = ast.unparse(node.func.value), node.func.attr
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            is_unpickled = owner == "pickle" and name in READERS
            is_open = owner == "torch" and name == "load" and given.get("weights_only") != "True"
            if is_unpickled or is_open or given.get("allow_pickle") == "True":
                yield node.lineno


@pytest.mark.parametrize("text", ["import joblib", "pickle.loads(b)", "torch.load(p)"])
def test_what_unpickles_is_found(text):
    assert list(faults(ast.parse(text)))


def test_no_module_unpickles():
    assert FILES
    found = {path: list(faults(ast.parse(path.read_text()))) for path in FILES}
    assert {path.name: lines for path, lines in found.items() if lines} == {}
