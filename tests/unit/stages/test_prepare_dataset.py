from pathlib import Path

import pytest
import yaml

from ofa_pipeline.artifacts import Layout, Manifest, verify_artifact
from ofa_pipeline.errors import DatasetError
from ofa_pipeline.params import parse_params
from ofa_pipeline.stages import StageContext, run_stage
from tests.support.images import write_image_folder

VALUES = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text())


def run(root, source, **changes):
    values = {**VALUES, "dataset": {**VALUES["dataset"], "source": source, **changes}}
    params = parse_params(values, origin="a test")
    return run_stage("prepare_dataset", StageContext(layout=Layout(root), params=params))


def test_stage_writes_a_dataset_from_a_folder_of_the_workspace(tmp_path):
    write_image_folder(tmp_path / "pets", images_a_class=20)
    folder = run(tmp_path, "image_folder:pets", image_size_px=8)
    manifest = verify_artifact(folder)
    assert folder == tmp_path / "artifacts" / "dataset"
    assert manifest.params["dataset"]["source"] == "image_folder:pets"
    assert sum(manifest.summary["num_images"].values()) == 40


def test_running_again_elsewhere_gives_the_same_digest(tmp_path):
    digests = set()
    for name in ("here", "there"):
        write_image_folder(tmp_path / name / "pets", images_a_class=20)
        folder = run(tmp_path / name, "image_folder:pets", image_size_px=8)
        digests.add(Manifest.read(folder, made_by="a test").digest)
    assert len(digests) == 1


def test_failed_stage_leaves_no_artifact(tmp_path):
    root = write_image_folder(tmp_path / "pets")
    (root / "cat" / "bad.png").write_text("")
    with pytest.raises(DatasetError, match=r"cat/bad\.png: not an image"):
        run(tmp_path, "image_folder:pets")
    assert list((tmp_path / "artifacts").iterdir()) == []
