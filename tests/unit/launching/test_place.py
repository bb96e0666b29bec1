import pytest

from ofa_pipeline.errors import LaunchError
from ofa_pipeline.launching import Place, find_place


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"},
        {
            "SLURM_PROCID": "5",
            "SLURM_NTASKS": "8",
            "SLURM_LOCALID": "1",
            "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
        },
        {
            "OMPI_COMM_WORLD_RANK": "5",
            "OMPI_COMM_WORLD_SIZE": "8",
            "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
        },
    ],
)
def test_each_launcher_tells_a_process_its_place(environment):
    assert find_place(environment) == Place(rank=5, size=8, local_rank=1, local_size=4)


def test_torchrun_within_a_slurm_job_counts_first():
    slurm = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    assert find_place({**slurm, "RANK": "3", "WORLD_SIZE": "4"}).rank == 3


def test_a_process_that_nobody_told_is_refused():
    with pytest.raises(LaunchError, match=r"RANK and WORLD_SIZE or SLURM_PROCID.*torchrun"):
        find_place({})


@pytest.mark.parametrize(
    ("rank", "size"), [("abc", "2"), ("0", "two"), ("2", "2"), ("5", "2"), ("-1", "2"), ("0", "0")]
)
def test_numbers_that_are_no_place_are_refused(rank, size):
    with pytest.raises(LaunchError, match=rf"RANK must be .* below WORLD_SIZE.*'{rank}' and"):
        find_place({"RANK": rank, "WORLD_SIZE": size})
