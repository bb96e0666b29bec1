import pytest

from ofa_pipeline.params import load_params
from ofa_pipeline.planning import run_addresses, stages_before
from ofa_pipeline.workspace import checkout_folder


@pytest.fixture(scope="module")
def params():
    return load_params(checkout_folder() / "params.yaml")


def test_a_run_has_every_stage_once_and_none_before_what_it_reads(params):
    addresses = run_addresses(params)
    assert len(set(addresses)) == len(addresses) == 15
    for place, address in enumerate(addresses):
        assert set(stages_before(params)[address]) <= set(addresses[:place])


def test_a_device_that_is_added_has_its_own_stages_and_the_report(params):
    chain = [f"{name}@cpu-pytorch" for name in ("profile_latency", "search", "specialize")]
    assert run_addresses(params, ["cpu-pytorch"]) == (
        *("list_source", *chain, "register@cpu-pytorch", "report"),
    )


def test_what_a_stage_reads_is_traced_to_the_stage_that_writes_it(params):
    before = stages_before(params)
    assert before["train_supernet@elastic"] == ("prepare_dataset", "train_supernet@largest")
    assert before["profile_latency@cpu-pytorch"] == ("prepare_dataset",)
    assert "register@cpu-pytorch" in before["report"]
