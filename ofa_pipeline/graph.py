"""The stage graph of a workspace, a copy of the package's ``dvc.yaml``: is it of this version?

A workspace keeps the copy that it was made with. After an update of the package it may lack a
stage, or something that a stage now depends on; DVC then skips what it should run.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.workspace import files_to_start_from

GRAPH_NAME = "dvc.yaml"
_CODE = "ofa_pipeline/"
_SHOWN = 5
_NEEDED = ("deps", "params", "outs")


@dataclass(frozen=True, slots=True)
class Lacks:
    """What a graph lacks of the package's, in words."""

    needed: tuple[str, ...] = ()
    """Without these, stages are skipped that should run, or do not exist."""
    code: tuple[str, ...] = ()
    """Code that a stage runs but does not depend on."""


def check_graph(root: Path) -> str:
    """Check that the graph of a workspace has all that the package's has; more is allowed.

    Returns:
        A line about code that a stage should depend on, which somebody may have left out on
        purpose; empty where nothing is missing.

    Raises:
        ParamsError: If anything else is missing; says what, and how to get it.
    """
    lacks = missing_of_graph(root)
    if lacks.needed:
        raise ParamsError(_complaint(root, lacks))
    return _complaint(root, lacks) if lacks.code else ""


def graph_warning(root: Path) -> str:
    """Return a line about a graph that lacks anything; empty where it lacks nothing."""
    try:
        return check_graph(root)
    except ParamsError as error:
        return str(error)


def missing_of_graph(root: Path) -> Lacks:
    """Return what the graph of a workspace lacks of the package's; empty where it has no graph.

    A stage that names no code of the package at all is somebody's own: then code is not missed.

    Raises:
        ParamsError: If the graph is not YAML with a mapping of stages.
    """
    theirs, ours = root / GRAPH_NAME, files_to_start_from() / GRAPH_NAME
    if not theirs.is_file() or not ours.is_file():
        return Lacks()
    if theirs.read_bytes() == ours.read_bytes():
        return Lacks()
    needed, code = [], []
    stages = _stages(theirs)
    for name, block in _stages(ours).items():
        if name not in stages:
            needed.append(f"the stage {name}")
            continue
        missing = list(_missing(block, stages[name]))
        names_code = any(_is_code(dep) for dep in _words(stages[name], "deps"))
        needed += [f"{what} of {name}" for what in missing if not _is_code(what)]
        code += [f"{what} of {name}" for what in missing if _is_code(what) and names_code]
    return Lacks(tuple(needed), tuple(code))


def update_graph(root: Path) -> Path | None:
    """Replace the graph of a workspace by the package's, and keep the former beside it.

    Returns:
        Where the former one is; None where nothing had to change.
    """
    theirs, ours = root / GRAPH_NAME, files_to_start_from() / GRAPH_NAME
    if theirs.is_file() and theirs.read_bytes() == ours.read_bytes():
        return None
    kept = None
    if theirs.is_file():
        kept = _free_name(theirs)
        theirs.rename(kept)
    shutil.copyfile(ours, theirs)
    return kept


def own_stages(path: Path) -> tuple[str, ...]:
    """Return the stages of a graph that the package's does not have."""
    known = _stages(files_to_start_from() / GRAPH_NAME)
    return tuple(name for name in _stages(path) if name not in known)


def _complaint(root: Path, lacks: Lacks) -> str:
    missing = [*lacks.needed, *lacks.code]
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return (
        f"{root / GRAPH_NAME} must name all that this version of the package runs; it lacks "
        f"{', '.join(missing[:_SHOWN])}{more}: it is a copy of an earlier version, or was edited. "
        f"Bring it up to date (the present file is kept): ofa-pipeline init {root} --update"
    )


def _stages(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the stages by name; of a loop, what is done for each item."""
    try:
        content = yaml.safe_load(path.read_text())
        return {name: {**entry, **entry.get("do", {})} for name, entry in content["stages"].items()}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ParamsError(f"{path} must hold stages as DVC reads them, found: {reason}") from error


def _missing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for section in _NEEDED:
        found = set(_words(theirs, section))
        yield from (word for word in _words(ours, section) if word not in found)
    if ours.get("always_changed") and not theirs.get("always_changed"):
        yield "always_changed"


def _words(block: Mapping[str, Any], section: str) -> Iterator[str]:
    """Yield the entries of a list; of one with options, its name."""
    for item in block.get(section) or ():
        yield item if isinstance(item, str) else next(iter(item), "")


def _is_code(word: str) -> bool:
    return word.startswith(_CODE)


def _free_name(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.before-update-{number}")).exists():
        number += 1
    return kept
