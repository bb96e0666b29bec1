import sys
from pathlib import Path

import pytest
import yaml

from ofa_pipeline.cli.main import main
from ofa_pipeline.stages.events import PIPE_VARIABLE
from tests.support.images import write_image_folder

VALUES = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text())


@pytest.fixture
def prepared(tmp_path, monkeypatch, capsys):
    """Return a function that runs the stage in this process and returns what it printed."""
    monkeypatch.chdir(tmp_path)
    root = write_image_folder(tmp_path / "pets", images_a_class=20)
    (root / "cat" / "notes.txt").write_text("about cats")
    dataset = VALUES["dataset"] | {"source": "image_folder:pets", "image_size_px": 64}
    (tmp_path / "params.yaml").write_text(
        yaml.safe_dump(VALUES | {"dataset": dataset}, sort_keys=False)
    )

    def run():
        monkeypatch.setattr(sys, "argv", ["ofa-pipeline", "stage", "prepare_dataset"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().err

    return run


def test_stage_ends_with_the_summary_of_the_dataset(prepared):
    text = prepared()
    for words in (
        "dataset image_folder:pets",
        "40 read, none lost",
        "cat: train 13, calibration 1, selection 3, test 3",
        "1: not an image: a text (cat/notes.txt)",
        "all images are much smaller than dataset.image_size_px (64)",
    ):
        assert words in text


def test_flow_that_follows_the_stage_shows_it_instead(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv(PIPE_VARIABLE, str(tmp_path / "nobody reads this"))
    assert "40 read" not in prepared()
