"""A rank joins the others: a device of its own, its share of the cores, messages between them."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.compute import Ranks, compute_device
from ofa_pipeline.errors import DeviceError, LaunchError
from ofa_pipeline.launching.mailbox import Mailbox
from ofa_pipeline.launching.place import Place

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for a message: the first may be saving or decoding meanwhile."""
MEETING_S = 300.0
"""How long to wait for the first rank to say where it is."""
_POLL_S = 0.1


@contextmanager
def joined(place: Place, mailbox: Mailbox) -> Iterator[Ranks]:
    """Work with the other ranks while the body runs.

    On CUDA messages between tensors go through NCCL, others through gloo.

    Raises:
        LaunchError: If the first rank says within minutes not where it is.
        DeviceError: If two ranks share one CUDA device.
    """
    import torch
    import torch.distributed as dist

    has_cuda = compute_device() == "cuda"
    if has_cuda:
        torch.cuda.set_device(place.local_rank % torch.cuda.device_count())
    _take_share_of_cores(place)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if has_cuda else "gloo",
        init_method="env://" if "MASTER_ADDR" in os.environ else _meeting(place, mailbox),
        rank=place.rank,
        world_size=place.size,
        timeout=PATIENCE,
    )
    if has_cuda:
        _check_devices(place)
    yield Ranks(place.rank, place.size)
    # Not after an error: it would wait for ranks that may be gone.
    dist.destroy_process_group()


def _meeting(place: Place, mailbox: Mailbox) -> str:
    """Return where the first rank is to be met; it leaves its address in the mailbox.

    Raises:
        LaunchError: If the address does not come.
    """
    path = mailbox.meeting_path
    if place.rank == 0:
        host = "127.0.0.1" if place.size == place.local_size else socket.getfqdn()
        write_bytes(path, f"tcp://{host}:{_free_port()}".encode())
    end = time.monotonic() + MEETING_S
    while not path.exists():
        if time.monotonic() > end:
            raise LaunchError(
                f"rank 0 must write its address to {path} within {MEETING_S:.0f} s, it did not. "
                "Put the workspace on a file system that all nodes share, and start all ranks at "
                "the same time."
            )
        time.sleep(_POLL_S)
    return path.read_text()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def _take_share_of_cores(place: Place) -> None:
    """Bind the process to its part of the cores, so that ranks of one machine share them.

    Only where each has at least one, and the launcher, as torchrun, has not bound it already.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if place.local_size <= len(cores):
        part = Ranks(place.local_rank, place.local_size).part(len(cores))
        os.sched_setaffinity(0, cores[part])


def _check_devices(place: Place) -> None:
    """Check that each rank has a CUDA device of its own.

    Raises:
        DeviceError: If not.
    """
    import torch
    import torch.distributed as dist

    uuid = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
    places: list[tuple[str, str]] = [("", "")] * place.size
    dist.all_gather_object(places, (socket.gethostname(), uuid))
    for rank, where in enumerate(places):
        first = places.index(where)
        if first != rank:
            raise DeviceError(
                f"each rank must have a CUDA device of its own, but ranks {first} and {rank} share "
                f"{where[1]} on {where[0]}. Start one rank a device: --nproc-per-node=gpu with "
                "torchrun, as many tasks a node as it has GPUs with srun."
            )
