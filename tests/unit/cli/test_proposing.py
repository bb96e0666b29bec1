"""`ofa-pipeline init --source`: what it says and writes."""

import sys

import pytest

from ofa_pipeline.cli import main
from ofa_pipeline.params import load_params
from tests.support.images import write_image_folder


@pytest.fixture
def cli(monkeypatch, tmp_path, capsys):
    """Run a command in this process as the program would; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ofa-pipeline", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err

    return run


def test_init_with_a_source_says_what_was_found_and_writes_what_suits_it(cli, tmp_path):
    write_image_folder(tmp_path / "photos", images_a_class=30)
    code, out, _ = cli("init", str(tmp_path / "w"), "--source", f"image_folder:{tmp_path}/photos")
    assert code == 0
    assert "60 images of 2 classes, 30 each" in out
    assert "expect about" in out
    params = load_params(tmp_path / "w/params.yaml")
    assert params.dataset.source == f"image_folder:{tmp_path}/photos"
    assert params.dataset.image_size_px == 8
    assert "# - 60 images of 2 classes" in (tmp_path / "w/params.yaml").read_text()


def test_init_takes_a_relative_source_from_here_and_writes_it_for_the_workspace(
    cli, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_image_folder(tmp_path / "photos")
    write_image_folder(tmp_path / "w/own")
    for given, name in (("photos", "v"), ("w/own", "w"), ("own", "w")):
        (tmp_path / "w/params.yaml").unlink(missing_ok=True)
        assert cli("init", name, "--source", f"image_folder:{given}")[0] == 0
        source = load_params(tmp_path / name / "params.yaml").dataset.source
        found = (tmp_path / name / source.partition(":")[2]).resolve()
        assert found in (tmp_path / "photos", tmp_path / "w/own")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("image_folder:missing", "does not exist"),
        ("image_folder:", "must name a path"),
        ("parquet", "must name a path, as parquet:PATH"),
        ("image_folders:x", "Did you mean 'image_folder'"),
        ("parquet:missing.parquet", "missing.parquet"),
        ("torchvision:CIFAR11", "Did you mean 'CIFAR10'"),
    ],
)
def test_init_refuses_a_source_that_cannot_be_used_and_writes_nothing(
    cli, tmp_path, source, message
):
    code, _, err = cli("init", str(tmp_path / "w"), "--source", source)
    assert code != 0
    assert message in err
    assert not (tmp_path / "w").exists()


def test_init_with_a_source_leaves_a_workspace_that_exists_alone(cli, tmp_path):
    cli("init", str(tmp_path / "w"))
    before = (tmp_path / "w/params.yaml").read_bytes()
    code, _, err = cli("init", str(tmp_path / "w"), "--source", "image_folder:anything")
    assert code != 0
    assert "is there already and would not follow --source" in err
    assert (tmp_path / "w/params.yaml").read_bytes() == before
