"""Reads a part of what is registered from the tables of a database that MLflow keeps."""

from collections.abc import Mapping

from ofa_pipeline.registry.parts import LARGE_PART, Part
from ofa_pipeline.registry.reading import Entries
from ofa_pipeline.registry.statements import (
    AMONG,
    FROM_NUMBER,
    MARKED,
    NAMING,
    OF_CONTENT,
    ORDER,
)
from ofa_pipeline.registry.tables import Tables, Version, mark_of, numbers

_DIGITS = 18
"""Of a number that every database can compare with its own."""


def read_part(tables: Tables, part: Part) -> Entries | None:
    """Return what is registered of a part, the newest first.

    Returns:
        None for what neither keys nor the name of a device lead to: a whole registered model,
        which may be most of the registry.

    Raises:
        RegistryError: If the device is no name.
    """
    name = part.model_name
    if name is not None and part.version is not None:
        models = _numbered(tables, name, part.version)
    elif name is not None and part.bundle_digest is not None:
        rows = tables.rows(OF_CONTENT, name=name, digest=part.bundle_digest, settled=0)
        models = {}
        for version, _ in rows:
            models |= _numbered(tables, name, str(version))
    elif part.record_pattern is not None:
        return _measured_on(tables, part)
    else:
        return None
    there = dict(map(mark_of, tables.among(f"{MARKED} {AMONG} {ORDER}", list(models.values()))))
    return _records(tables, {key: at for key, at in there.items() if models.get(at) == key})


def _numbered(tables: Tables, name: str, version: str) -> dict[Version, str]:
    """Return the LoggedModel of a version that is there."""
    if len(version) > _DIGITS:
        return {}
    rows = tables.rows(f"{FROM_NUMBER} LIMIT 1", name=name, version=int(version))
    return {at: key for at, key in numbers(rows)[1].items() if at[1] == int(version)}


def _measured_on(tables: Tables, part: Part) -> Entries | None:
    """Return what was measured on a device; None where that is much."""
    found = tables.rows(NAMING, pattern=part.record_pattern)
    if len(found) > LARGE_PART:
        return None
    there = dict(map(mark_of, found))
    models: dict[Version, str] = {}
    for name in {name for name, _ in there.values()}:
        models |= numbers(tables.rows(FROM_NUMBER, name=name, version=1))[1]
    records = _records(tables, {key: at for key, at in there.items() if models.get(at) == key})
    return {key: item for key, item in records.items() if part.holds(item)}


def _records(tables: Tables, there: Mapping[str, Version]) -> Entries:
    """Return the records of some LoggedModels, in their order."""
    found = dict(tables.records(there))
    return {key: found[key] for key in there if key in found}
