"""What state the tables of a SQLite registry are in, told without MLflow, in milliseconds."""

import importlib.util
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from ofa_pipeline.errors import RegistryError

HEADER = b"SQLite format 3\x00"
TABLES = frozenset(
    {"alembic_version", "experiments", "experiment_tags", "runs", "tags", "metrics", "params"}
    | {"registered_models", "model_versions", "logged_models", "logged_model_tags"}
)
"""Without one of them it is no registry, or not yet."""
_FIRST_EXPERIMENT = "Default"
"""That MLflow makes in every registry."""
_HOLDING_ENTRIES = (
    "experiments",
    "runs",
    "registered_models",
    "logged_models",
    "traces",
    "trace_info",
)
_HALF_A_STEP = "_alembic_tmp_"
"""Beginning of the names of tables that a step of a migration makes and renames."""
_REVISION = re.compile(r"^revision(?:: str)? = ['\"](\w+)['\"]", re.MULTILINE)
_DOWN_REVISION = re.compile(r"^down_revision(?:: [^=]+)? = (.+)$", re.MULTILINE)


class DatabaseState(Enum):
    """Whether a SQLite file is a registry."""

    ABSENT = "absent"
    WHOLE = "whole"
    HALF_MADE = "half-made"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class DatabaseFinding:
    """State of a SQLite file, and what matters for what is to be done."""

    state: DatabaseState
    revision: str = ""
    has_entries: bool = False


def inspect_database(path: Path) -> DatabaseFinding:
    """Find out what state a SQLite file is in.

    Raises:
        RegistryError: If it is no registry, or one of a newer MLflow.
        sqlite3.Error: If SQLite cannot read it.
        OSError: If it cannot be opened.
    """
    if not path.exists():
        return DatabaseFinding(DatabaseState.ABSENT)
    with path.open("rb") as file:
        header = file.read(len(HEADER))
    if not header:
        return DatabaseFinding(DatabaseState.HALF_MADE)
    if header != HEADER:
        raise RegistryError(
            f"{path} must be the registry, but is not a SQLite file. Move it away, or name "
            "another file."
        )
    with closing(sqlite3.connect(path, timeout=20)) as connection:
        return _judge(path, connection)


def _judge(path: Path, connection: sqlite3.Connection) -> DatabaseFinding:
    names = {
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    names = {name for name in names if not name.startswith("sqlite_")}
    if not names:
        return DatabaseFinding(DatabaseState.HALF_MADE)
    if not names & TABLES:
        raise RegistryError(
            f"{path} must be the registry, but holds the tables of another program "
            f"({', '.join(sorted(names)[:3])}). Name another file."
        )
    revision = _revision(connection, names)
    has_entries = _has_entries(connection, names)
    if revision and revision not in known_revisions():
        raise RegistryError(
            f"{path} was written by a newer MLflow (its schema {revision} is not known here). "
            "Install that MLflow here, or name another registry."
        )
    is_torn = any(name.startswith(_HALF_A_STEP) for name in names) or not revision
    if is_torn or (revision == latest_revision() and not names >= TABLES):
        return DatabaseFinding(DatabaseState.HALF_MADE, revision, has_entries)
    if revision != latest_revision():
        # One that was just begun looks like an old one; without entries it may be made anew.
        state = DatabaseState.OLDER if has_entries else DatabaseState.HALF_MADE
        return DatabaseFinding(state, revision, has_entries)
    return DatabaseFinding(DatabaseState.WHOLE, revision, has_entries)


def _revision(connection: sqlite3.Connection, names: set[str]) -> str:
    if "alembic_version" not in names:
        return ""
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def _has_entries(connection: sqlite3.Connection, names: set[str]) -> bool:
    """Whether there is anything in it but the experiment that every registry begins with."""
    # Of a table that a migration is about to replace, the copy may hold what the table did.
    holders = [name for name in names if name.removeprefix(_HALF_A_STEP) in _HOLDING_ENTRIES]
    for name in holders:
        of_users = f" WHERE name != '{_FIRST_EXPERIMENT}'" if name.endswith("experiments") else ""
        if connection.execute(f'SELECT 1 FROM "{name}"{of_users} LIMIT 1').fetchone():  # noqa: S608
            return True
    return False


def latest_revision() -> str:
    """Return the revision of the schema that the installed MLflow works with."""
    return _revisions()[0]


def known_revisions() -> frozenset[str]:
    """Return the revisions that the installed MLflow can bring up to date."""
    return _revisions()[1]


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    """Read the revisions off MLflow's migrations; to import them takes seconds."""
    spec = importlib.util.find_spec("mlflow")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "store" / "db_migrations" / "versions"
    texts = [path.read_text() for path in sorted(folder.glob("*.py"))]
    known = {found[1] for text in texts if (found := _REVISION.search(text))}
    replaced = {
        name
        for text in texts
        if (found := _DOWN_REVISION.search(text))
        for name in re.findall(r"['\"](\w+)['\"]", found[1])
    }
    heads = known - replaced
    if len(heads) != 1:
        raise RegistryError(
            f"the migrations of MLflow in {folder} must have one newest revision, found "
            f"{sorted(heads)}. Install MLflow again, as requirements.lock says."
        )
    return heads.pop(), frozenset(known)
