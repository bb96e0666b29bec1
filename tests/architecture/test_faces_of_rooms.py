"""A room is used through its face: the `__all__` of its `__init__`, and its open modules.

`OPEN_MODULES` of an `__init__` names the modules that others import themselves, and says why:
mostly because who uses the face need not have what they need.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ofa_pipeline"
ROOMS = sorted(path.parent for path in PACKAGE.rglob("*/__init__.py"))
USERS = ("ofa_pipeline", "flows", "examples", "scripts", "hubconf.py")


@cache
def constant(room: Path, name: str) -> tuple[str, ...]:
    """Return a tuple or list of names that the `__init__` of a room assigns; empty without it."""
    for node in parsed(room / "__init__.py").body:
        if isinstance(node, ast.Assign) and name in {ast.unparse(to) for to in node.targets}:
            return tuple(ast.literal_eval(node.value))
    return ()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Return what a file imports, as dotted names: ``ofa_pipeline.arch.Arch``."""
    return tuple(imported(parsed(path)))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def reaches_past_a_face(name: str, user: Path) -> bool:
    """Return whether a file may not import a name: no room on the way to it offers it."""
    package, *parts = name.split(".")
    room = ROOT / package
    while parts and (room / parts[0] / "__init__.py").exists():
        room /= parts.pop(0)
        if not parts or user.is_relative_to(room):
            continue
        is_open = parts[0] in constant(room, "OPEN_MODULES")
        if not is_open and (len(parts) > 1 or parts[0] not in constant(room, "__all__")):
            return True
    return False


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_face_is_exact(room):
    face, own, bound = constant(room, "__all__"), set(), set()
    name_of_room = ".".join(room.relative_to(ROOT).parts)
    for node in parsed(room / "__init__.py").body:
        if isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            own |= names if (node.module or "").startswith(name_of_room) else set()
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            own |= (names := {node.name})
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            own |= (names := {ast.unparse(target) for target in targets})
        else:
            continue
        bound |= names
    offered = {name for name in own - {"OPEN_MODULES"} if not name.startswith("_")}
    assert offered <= set(face) <= bound
    assert list(face) == sorted(set(face), key=in_order)


def in_order(name: str) -> tuple[int, str]:
    """Sort as ruff does: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def files_of_users() -> list[Path]:
    return [
        file
        for user in USERS
        for file in ([ROOT / user] if user.endswith(".py") else (ROOT / user).rglob("*.py"))
    ]


def test_nobody_reaches_past_a_face():
    found = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in files_of_users()
        for name in imports_of(file)
        if reaches_past_a_face(name, file)
    }
    assert found == set()


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(PACKAGE).as_posix())
def test_open_module_is_used_from_outside(room):
    outside = [file for file in files_of_users() if not file.is_relative_to(room)]
    used = {name for file in outside for name in imports_of(file)}
    for name in constant(room, "OPEN_MODULES"):
        module = ".".join([*room.relative_to(ROOT).parts, name])
        assert any(found == module or found.startswith(f"{module}.") for found in used)


@pytest.mark.parametrize(
    ("name", "is_refused"),
    [
        ("ofa_pipeline.arch.Arch", False),
        ("ofa_pipeline.arch.space.SearchSpace", True),
        ("ofa_pipeline.arch.space", True),
        ("ofa_pipeline.params.Params", False),
        ("ofa_pipeline.cli.output.stdout", False),
        ("numpy.linalg.norm", False),
    ],
)
def test_reaching_past_is_noticed(name, is_refused):
    assert reaches_past_a_face(name, ROOT / "flows" / "run.py") is is_refused
    assert not reaches_past_a_face(name, PACKAGE / "arch" / "value.py")  # inside
