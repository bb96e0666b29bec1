"""An MLflow that holds a registry: opened at the first use, and its errors in our words."""

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.registry.addresses import is_database, is_sqlite, sqlite_path
from ofa_pipeline.registry.causes import explain
from ofa_pipeline.registry.database import ensure_database, hold_database
from ofa_pipeline.registry.first_use import make_tables
from ofa_pipeline.registry.server import check_reachable, quiet_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Connection:
    """An MLflow tracking server, database or SQLite file."""

    def __init__(self, tracking_uri: str) -> None:
        """Name it; nothing is opened yet.

        Args:
            tracking_uri: As MLflow takes it.
        """
        self.tracking_uri = tracking_uri

    @cached_property
    def client(self) -> "MlflowClient":
        """The client of MLflow; a SQLite file that is not there is made.

        Raises:
            RegistryError: If it cannot be reached or opened.
        """
        quiet_mlflow()
        if is_sqlite(self.tracking_uri):
            ensure_database(sqlite_path(self.tracking_uri))
        else:
            check_reachable(self.tracking_uri)  # MLflow tries for minutes before it says no
        with self.explained("open the registry"), _without_collecting():
            from mlflow import MlflowClient

            if is_database(self.tracking_uri) and not is_sqlite(self.tracking_uri):
                make_tables(self.tracking_uri)
            return MlflowClient(self.tracking_uri, registry_uri=self.tracking_uri)

    @property
    def models(self) -> Any:  # noqa: ANN401 - of MLflow, which has no public name for it
        """What the client hands on to where registered models are concerned.

        The client itself reads the whole registered model first, each version of it, to tell it
        from a prompt; ours are none. Where a later MLflow has no such part, it is the client.
        """
        part = getattr(self.client, "_get_registry_client", None)
        return self.client if part is None else part()

    @property
    def where(self) -> str:
        """Its address without secrets, for messages."""
        return mask_secrets(self.tracking_uri)

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Turn what MLflow raises into our error, with the place and a way out."""
        try:
            yield
        except (RegistryError, KeyboardInterrupt):
            raise
        except Exception as error:  # the registry adapter is a boundary: MLflow raises many kinds
            reason, advice = explain(error, self.tracking_uri)
            raise RegistryError(f"could not {doing} on {self.where}: {reason}. {advice}") from error

    def alone(self) -> AbstractContextManager[None]:
        """Let the processes of one machine take turns at a SQLite file: it knows one writer."""
        if not is_sqlite(self.tracking_uri):
            return nullcontext()
        path = sqlite_path(self.tracking_uri)
        ensure_database(path)
        return hold_database(path)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Look for no garbage: importing MLflow makes 400,000 objects that stay, and little else.

    To look through them again and again is a fifth of what the import takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
