"""What is asked of the registry again, and what is remembered for a second."""

from mlflow import MlflowClient

from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.fields import OWNER, OWNER_TAG
from ofa_pipeline.registry.holdings import Holdings
from tests.support.registry import subnet_record, write_bundle


def test_who_has_written_sees_the_experiment_that_another_has_just_made(registry, tmp_path):
    registry.register(subnet_record(), write_bundle(tmp_path / "a-bundle"))
    holdings = Holdings(Connection(registry.tracking_uri))
    before = holdings.experiment_ids()
    client = MlflowClient(registry.tracking_uri)
    other = client.create_experiment("another", tags={OWNER_TAG: OWNER})
    assert holdings.experiment_ids() == before
    list(holdings.models([], complete=False))
    assert set(holdings.experiment_ids()) == {*before, other}
