"""What a rank leaves in the mailbox when its work ends, however it does."""

import sys
from contextlib import nullcontext

import pytest

from ofa_pipeline.compute import Ranks
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.launching import Mailbox, Request
from ofa_pipeline.training import worker


def work(arguments, ranks, reporter):
    """Do as the test says."""
    reporter.message(f"rank {ranks.rank} does {arguments['what']}")
    if arguments["what"] == "wrong":
        raise ParamsError("batch_size must be larger")
    if arguments["what"] == "lost":
        raise RuntimeError("Connection closed by peer")
    if arguments["what"] == "stop":
        sys.exit(143)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the second of two ranks, or another, without the others."""
    monkeypatch.setattr(worker, "joined", lambda place, _: nullcontext(Ranks(place.rank, 2)))
    for name in ("exit_on_sigterm", "keep_freed_memory"):
        monkeypatch.setattr(worker, name, lambda: None)
    monkeypatch.setattr(worker, "_end_with_others", lambda *_, **__: None)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)

    def start(what, rank=1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        mailbox = Mailbox(tmp_path / what)
        mailbox.empty()
        mailbox.write_request(Request.of_this_process(f"{__name__}:work", {"what": what}))
        return worker.main(mailbox.request_path), mailbox

    return start


@pytest.mark.parametrize(
    ("what", "exit_code", "state", "error", "is_explained"),
    [
        ("nothing", 0, "done", "", False),
        ("stop", 0, "stopped", "", False),
        ("wrong", 1, "failed", "batch_size must be larger", True),
        ("lost", 1, "failed", "RuntimeError: Connection closed by peer", False),
    ],
)
def test_a_rank_says_how_it_ended(run, what, exit_code, state, error, is_explained):
    code, mailbox = run(what)
    (record,) = mailbox.read_records()
    assert code == exit_code
    assert (record.rank, record.size, record.state) == (1, 2, state)
    assert (record.error, record.is_explained) == (error, is_explained)


def test_only_the_first_rank_reports(run):
    assert run("nothing", rank=1)[1].read_progress() == []
    events = run("nothing", rank=0)[1].read_progress()
    assert [event.label for event in events] == ["rank 0 does nothing"]


def test_a_process_that_knows_no_rank_says_so_in_a_line(monkeypatch, capsys, tmp_path):
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert worker.main(tmp_path / "request.json") == 1
    assert capsys.readouterr().err.startswith("a launcher must tell each process")


def test_a_request_that_is_not_seen_is_said_in_a_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert worker.main(tmp_path / "request.json") == 1
    assert "a file system that all nodes share" in capsys.readouterr().err


def test_a_second_process_of_one_rank_leaves_the_record_of_the_first(monkeypatch, capsys, tmp_path):
    box = Mailbox(tmp_path / "nothing")
    box.empty()
    box.write_request(Request.of_this_process(f"{__name__}:work", {"what": "nothing"}))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with box.as_rank(1):
        assert worker.main(box.request_path) == 1
    assert box.read_records() == []
    assert "two say that they are rank 1" in capsys.readouterr().err
