"""MLflow's tables in a database server: the first to come makes them, the others wait.

MLflow lets the processes of one machine take turns, by a file in its folder for temporary files;
those of several machines, or with several such folders, all make the same tables and fail.
"""

_LOCK = 0x0FA_7AB1E5
"""The number by which PostgreSQL knows our lock; nobody else's is in the same database."""
_PATIENCE_S = 600
"""Making all tables takes a minute on a slow machine."""


def make_tables(uri: str) -> None:
    """Make MLflow's tables and its first experiment where they are missing, alone.

    Only PostgreSQL is locked: of MySQL and SQL Server the first use must be one process.

    Args:
        uri: Of a database that answers.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: If the database refuses, or another process holds the lock
            for longer than ten minutes.
    """
    import sqlalchemy
    from mlflow import MlflowClient

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    if engine.dialect.name != "postgresql":
        return
    # Of a transaction, not of a connection: proxies such as PgBouncer share connections.
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{_PATIENCE_S}s'"))
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        # The last that is written, together with the newest tables.
        if not sqlalchemy.inspect(connection).has_table("alembic_version"):
            MlflowClient(uri, registry_uri=uri).search_experiments(max_results=1)
