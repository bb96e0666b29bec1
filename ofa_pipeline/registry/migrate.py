"""MLflow's tables in a SQLite file that nobody else sees, made by a process of its own.

`python -m ofa_pipeline.registry.migrate ADDRESS`.

It may be killed at any instant, leaves no connection behind in its
parent, and need not wait for the disk: the file counts only when it is whole and renamed.
"""

import sys
from typing import Any

from ofa_pipeline.registry.addresses import sqlite_path
from ofa_pipeline.registry.server import quiet_mlflow


def main(uri: str) -> None:
    """Make MLflow's tables, or bring them to the schema of the installed MLflow.

    Args:
        uri: Address of a SQLite file that is empty, not there, or holds an older schema.
    """
    quiet_mlflow()
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "connect", _do_not_wait_for_the_disk)
    # What `mlflow db upgrade` does, which fails on an empty file.
    import mlflow.store.db.utils as tables

    engine = tables.create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call]
    if tables._is_empty_database(engine):  # type: ignore[no-untyped-call]
        tables._initialize_tables(engine)  # type: ignore[no-untyped-call]
    else:
        tables._upgrade_db(engine)  # type: ignore[no-untyped-call]
    engine.dispose()
    # Its first experiment, too: processes that open the file together would each make it.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, (sqlite_path(uri).parent / "mlruns").as_uri())  # type: ignore[no-untyped-call]


def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:  # noqa: ANN401 - any driver's
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")


if __name__ == "__main__":
    main(sys.argv[1])
