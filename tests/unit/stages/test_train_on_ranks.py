"""A phase trained by ranks in processes of their own: stopped, killed, resumed, and as by one.

Few starts, because each takes seconds.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import sys

import pytest

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.errors import LaunchError, ParamsError
from ofa_pipeline.launching import Mailbox
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages import run_stage
from ofa_pipeline.supernet import load_supernet
from ofa_pipeline.tables import HISTORY_SCHEMA, read_table
from tests.support.trained_workspace import context_of, prepared_workspace

TWO = f"{sys.executable} -m tests.support.launch_ranks 2"
TORCHRUN = "torchrun --standalone --nproc-per-node=2"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with a phase that one process has trained, and its params."""
    root = tmp_path_factory.mktemp("trained")
    values = prepared_workspace(root)
    values["training"] |= {"batch_norm_images": 2}
    values["phases"]["largest"] |= {"epochs": 12, "subnets_per_step": 1}
    run_stage("train_supernet", context_of(root, values, "largest"))
    return root, values


def train(root, values, launch, sink=lambda _: None):
    """Train by ranks, or without a line in this process; progress goes to `sink`."""
    values = {**values, "compute": {"training": {"launch": launch, "checkpoint_minutes": 1e-9}}}
    context = context_of(root, values, "largest")
    reporter = Reporter(sink, interval_s=0)
    return run_stage("train_supernet", dataclasses.replace(context, reporter=reporter))


def mailbox_of(root):
    (folder,) = (root / "scratch" / "train_supernet").glob("*/ranks")
    return Mailbox(folder)


def interrupt(event):
    """Do as Ctrl-C does at the first progress."""
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def by_ranks(trained, tmp_path_factory):
    """The same workspace, the phase trained by two ranks that were stopped, killed and resumed.

    With the events of each of the two later runs, and the message of the killed one.
    """
    root, values = tmp_path_factory.mktemp("ranks") / "workspace", trained[1]
    shutil.copytree(trained[0], root)
    shutil.rmtree(Layout(root).supernet("largest"))
    with pytest.raises(KeyboardInterrupt):
        train(root, values, TWO, interrupt)
    assert {record.state for record in mailbox_of(root).read_records()} == {"stopped"}
    killed, whole = [], []

    def kill(event):
        if event.total and not killed:  # the others are lines of text
            killed.append(event)
            os.kill(mailbox_of(root).read_records()[1].pid, signal.SIGKILL)

    with pytest.raises(LaunchError) as caught:
        train(root, values, TWO, kill)
    train(root, values, TORCHRUN, whole.append)
    return root, (killed, whole), str(caught.value)


@pytest.mark.slow
def test_ranks_train_what_one_process_trains(trained, by_ranks):
    expected, found = Layout(trained[0]), Layout(by_ranks[0])
    weights = dict(load_supernet(found.supernet_weights("largest")).named_parameters())
    for name, weight in load_supernet(expected.supernet_weights("largest")).named_parameters():
        assert float((weight - weights[name]).detach().abs().max()) <= 1e-6, name
    before, after = (
        read_table(layout.supernet_history("largest"), HISTORY_SCHEMA).to_pylist()
        for layout in (expected, found)
    )
    for row, other in zip(before, after, strict=True):
        assert other["loss"] == pytest.approx(row["loss"], rel=1e-5)
        assert other["accuracy_top1_largest"] == pytest.approx(
            row["accuracy_top1_largest"], abs=0.1
        )
    manifests = [
        Manifest.read(layout.supernet("largest"), made_by="test") for layout in (expected, found)
    ]
    assert manifests[0].params == manifests[1].params  # they do not say how many trained
    assert manifests[0].inputs == manifests[1].inputs


@pytest.mark.slow
def test_ranks_go_on_from_where_ranks_were_stopped_or_killed(by_ranks):
    root, (killed, whole), _ = by_ranks
    steps = [event for event in whole if event.total]  # the others are lines of text
    assert 4 < killed[0].done < steps[0].done
    assert steps[-1].done == steps[-1].total
    assert not any((root / "scratch" / "train_supernet").iterdir())


@pytest.mark.slow
def test_a_killed_rank_is_named_with_what_to_do(by_ranks):
    assert re.match(r"rank 1 of 2 \(process \d+ on \S+\) ended without a word", by_ranks[2])
    assert "run the same command again" in by_ranks[2]


@pytest.mark.slow
def test_the_seconds_are_those_of_all_ranks(by_ranks):
    path = Layout(by_ranks[0]).root / "artifacts" / "seconds" / "train_supernet" / "largest"
    assert json.loads((path / "manifest.json").read_text())["summary"]["cpu_s"] > 1


def test_a_launcher_that_is_not_there_is_told_before_work(trained, tmp_path):
    with pytest.raises(ParamsError, match="'no-such-launcher' is not found"):
        train(trained[0], trained[1], "no-such-launcher --ranks 2")


def test_a_launcher_that_fails_at_start_is_quoted(trained, tmp_path):
    root, values = tmp_path / "workspace", trained[1]
    shutil.copytree(trained[0], root)
    with pytest.raises(LaunchError, match=r"exit code 2 and no rank began.*unknown option -m"):
        train(root, values, "sh -c 'echo unknown option $1 >&2; exit 2' sh")
