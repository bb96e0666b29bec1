"""The benchmark of streaming reads each byte once, and says what it could not run."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import data_stream


def test_two_ranks_read_each_byte_once_between_them(tmp_path):
    contents = data_stream.photographs(256, 32, is_square=True)
    stored = data_stream.write_shards(tmp_path, contents, 8192)
    options = {"ranks": [2], "folder": tmp_path, "side": 32, "whole": False, "batch": 64}
    records = [data_stream.stream(Namespace(rank=rank, **options)) for rank in range(2)]
    once = data_stream.each_byte_once(records, stored, ranks=2)
    assert once["images"] == 8192
    assert 0.9 < once["times_read"] < 1.1
    assert 0.45 < once["largest_share"] < 0.55


def test_a_decoder_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch):
    def missing(content):
        raise ImportError("No module named 'torchcodec'")

    monkeypatch.setattr(data_stream, "_by_torchcodec", missing)
    contents = data_stream.photographs(2, 128, is_square=False)  # smaller ones are stored as PNG
    found = {line["decoder"]: line for line in data_stream.decoders(contents)}
    assert found["TorchCodec"]["images_per_cpu_s"] is None
    assert "pip install torchcodec" in found["TorchCodec"]["not_run"]
    assert found["torchvision"]["bit_equal"]


@pytest.mark.parametrize("words", [["--ranks", "3"], ["--images", "8"], ["--ranks", "0"]])
def test_ranks_that_do_not_fit_the_batch_are_refused(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["data_stream.py", *words])
    with pytest.raises(SystemExit):
        data_stream.main()
    assert "--ranks" in capsys.readouterr().err
