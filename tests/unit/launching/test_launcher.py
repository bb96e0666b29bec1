"""What a launch that went wrong is said to have come to: one rank, its end, and what to do."""

import sys
import time
from pathlib import Path

import pytest

from ofa_pipeline.errors import LaunchError, ParamsError
from ofa_pipeline.launching import (
    Mailbox,
    RankRecord,
    Request,
    fewest_ranks,
    launch,
    launch_words,
    launcher,
    line,
)
from ofa_pipeline.launching.launcher import _judge
from ofa_pipeline.progress import SILENT, ProgressEvent, Reporter

TORCHRUN_SAYS = """\
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
ofa_pipeline.training.worker FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-26_19:17:38
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 16932)
  error_file: <N/A>
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-26_19:17:34
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 16933)  (SIGKILL)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 16933
============================================================
"""
"""What torchrun 2.15 printed when rank 1 got SIGKILL."""


@pytest.fixture
def mailbox(tmp_path):
    box = Mailbox(tmp_path / "ranks")
    box.empty()
    box.log_path.write_text("")
    return box


def record(rank, state, error="", *, is_explained=False):
    return RankRecord(
        rank=rank,
        size=2,
        host="node",
        pid=100 + rank,
        state=state,
        error=error,
        is_explained=is_explained,
    )


def end_of(mailbox, exit_code, *records):
    for each in records:
        mailbox.write_record(each)
    with pytest.raises(LaunchError) as caught:
        _judge(exit_code, mailbox)
    return str(caught.value)


def test_ranks_that_are_done_are_no_error(mailbox):
    for rank in (0, 1):
        mailbox.write_record(record(rank, "done"))
    _judge(0, mailbox)


def test_ranks_that_were_told_to_end_end_the_stage_so(mailbox):
    for rank in (0, 1):
        mailbox.write_record(record(rank, "stopped"))
    with pytest.raises(SystemExit, match="143"):
        _judge(1, mailbox)  # torchrun itself ends with 1 when it is told to end


def test_of_several_ranks_that_are_gone_the_first_is_named(mailbox):
    mailbox.log_path.write_text(TORCHRUN_SAYS)
    message = end_of(mailbox, 1, record(0, "begun"), record(1, "begun"))
    expected = "rank 1 of 2 (process 101 on node) was killed by SIGKILL (exit code -9)"
    assert message.startswith(expected)
    assert "run the same command again" in message


def test_a_rank_that_is_gone_counts_before_one_that_lost_its_connection(mailbox):
    lost = record(0, "failed", "RuntimeError: Connection closed by peer")
    message = end_of(mailbox, 137, lost, record(1, "begun"))
    assert message.startswith("rank 1 of 2 (process 101 on node) ended without a word")
    assert str(mailbox.log_path) in message


def test_an_error_that_says_what_to_do_counts_most(mailbox):
    own = record(1, "failed", "the loss must be finite", is_explained=True)
    message = end_of(mailbox, 1, record(0, "begun"), own)
    assert message == "rank 1 of 2 (process 101 on node): the loss must be finite"


def test_any_other_error_is_told_with_where_more_is(mailbox):
    failed = record(0, "failed", "OutOfMemoryError: CUDA out of memory")
    message = end_of(mailbox, 1, failed, record(1, "done"))
    assert "rank 0 of 2 (process 100 on node) failed: OutOfMemoryError" in message


def test_a_launcher_that_starts_nothing_is_quoted(mailbox):
    mailbox.log_path.write_text("usage\nlauncher: error: unrecognized arguments: --bogus\n")
    message = end_of(mailbox, 2)
    assert "exit code 2 and no rank began" in message
    assert "unrecognized arguments: --bogus. Check compute.training.launch" in message


def test_a_launcher_that_waits_for_its_turn_is_ended_at_once(mailbox, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher, "_pass_on", interrupt)
    line = f"{sys.executable} -c 'import time; time.sleep(60)'"
    request, start = Request.of_this_process("none:none", {}), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launch(line, request, mailbox=mailbox, reporter=SILENT)
    assert time.monotonic() - start < 20


def test_who_waits_for_a_launcher_is_told_so_once(mailbox, monkeypatch):
    monkeypatch.setattr(launcher, "_QUIET_S", 0.5)
    line = f"{sys.executable} -c 'import time; time.sleep(3)'"
    events = []
    request = Request.of_this_process("none:none", {})
    with pytest.raises(LaunchError, match="no rank began"):
        launch(line, request, mailbox=mailbox, reporter=Reporter(events.append))
    assert [event.label for event in events if "no rank has begun" in event.label] == [
        f"no rank has begun after 0 s: waiting for {Path(sys.executable).name}, whose output is "
        f"in {mailbox.log_path}"
    ]


def test_who_waits_for_some_of_the_ranks_is_told_how_many_have_begun(mailbox, monkeypatch):
    events = []
    mailbox.write_record(record(0, "begun"))
    launcher._tell_of_a_queue("/bin/srun", mailbox, Reporter(events.append))
    assert events[0].label.startswith("1 of 2 ranks have begun after 60 s: waiting for srun")
    mailbox.write_record(record(1, "begun"))
    launcher._tell_of_a_queue("/bin/srun", mailbox, Reporter(events.append))
    assert len(events) == 1


@pytest.mark.parametrize("first_line", ["#!/nowhere/sh", "no interpreter"])
def test_a_script_that_does_not_start_is_named(mailbox, tmp_path, first_line):
    script = tmp_path / "start.sh"
    script.write_text(f"{first_line}\n")
    script.chmod(0o755)
    request = Request.of_this_process("none:none", {})
    with pytest.raises(LaunchError, match=r"start\.sh does not start: .*its first line names"):
        launch(str(script), request, mailbox=mailbox, reporter=SILENT)


def test_a_rank_is_one_process(mailbox):
    with (
        mailbox.as_rank(0),
        mailbox.as_rank(1),
        pytest.raises(LaunchError, match="two say that they are rank 0"),
        Mailbox(mailbox.folder).as_rank(0),
    ):
        pass
    with mailbox.as_rank(0):  # a launcher may start one again that is gone
        pass


def test_ranks_that_never_began_are_missed(mailbox):
    assert "1 of 2 ranks began" in end_of(mailbox, 0, record(0, "done"))


def test_progress_arrives_whole_and_once(mailbox):
    mailbox.report(ProgressEvent(label="one", done=1))
    assert [event.label for event in mailbox.read_progress()] == ["one"]
    mailbox.report(ProgressEvent(label="two", done=2))
    with (mailbox.folder / "progress.jsonl").open("a") as file:
        file.write('{"label": "thr')  # being written
    assert [event.label for event in mailbox.read_progress()] == ["two"]
    assert mailbox.read_progress() == []


def test_a_launcher_beside_python_is_found_without_its_environment(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    path, *words = launch_words("torchrun --standalone --nproc-per-node=2 -t '3 4'")
    assert Path(path) == Path(sys.executable).parent / "torchrun"
    assert words == ["--standalone", "--nproc-per-node=2", "-t", "3 4"]


def test_a_launcher_that_is_not_installed_is_an_error():
    with pytest.raises(ParamsError, match=r"'srunn' is not found. Install it, name its path"):
        launch_words("srunn --ntasks 2 python")


def test_a_relative_launcher_lies_in_the_workspace(tmp_path):
    (tmp_path / "start.sh").write_text("#!/bin/sh\n")
    (tmp_path / "start.sh").chmod(0o755)
    assert launch_words("./start.sh 2", root=tmp_path) == [f"{tmp_path}/start.sh", "2"]
    with pytest.raises(ParamsError, match="is not found"):
        launch_words("./start.sh 2", root=tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("line", "ranks"),
    [
        ("torchrun --standalone --nproc-per-node=4", 4),
        ("torchrun --nnodes=2 --nproc_per_node 8", 16),
        ("torchrun --nnodes=1:3 --nproc-per-node 2", 2),
        ("torchrun --nproc-per-node=auto", 1),
        ("env --nproc-per-node=4", 1),
    ],
)
def test_a_line_of_torchrun_says_how_many_ranks_it_starts(line, ranks):
    assert fewest_ranks(launch_words(line)) == ranks


@pytest.mark.parametrize("asked", ["--nproc-per-node=gpu", "--nproc_per_node gpu"])
def test_ranks_on_gpus_need_gpus(monkeypatch, asked):
    monkeypatch.setattr(line, "compute_device", lambda: "cpu")
    with pytest.raises(ParamsError, match="torch finds no CUDA device here"):
        launch_words(f"torchrun --standalone {asked}")
    monkeypatch.setattr(line, "compute_device", lambda: "cuda")
    assert launch_words(f"torchrun --standalone {asked}")
