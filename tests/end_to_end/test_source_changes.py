"""Images that change under an unchanged path, and files that rot: by DVC, with the real stages."""

import json
import os
import shutil

import pytest
from PIL import Image

from flows.dvc_client import DvcClient, StageFailedError, Watcher
from ofa_pipeline.artifacts import Layout, Manifest
from tests.support.images import write_image_folder
from tests.support.workspace import read_params, run_command, tiny_workspace, write_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STAGES = ["list_source", "prepare_dataset", "train_supernet@largest"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tiny_workspace(tmp_path_factory.mktemp("listed"))
    write_image_folder(root / "pets", images_a_class=40)
    params = read_params(root)
    params["dataset"] |= {"source": "image_folder:pets", "image_size_px": 16}
    params["training"] |= {"batch_size": 16, "base_batch_size": 16}
    write_params(root, params)
    assert outcomes(root) == STAGES
    return root


def outcomes(root):
    """Bring the stages up to date, one after the other as the flow does; return what ran."""
    with DvcClient(root) as dvc:
        return [stage for stage in STAGES if dvc.ask("reproduce", [stage], Watcher())]


def dataset_digest(root):
    return Manifest.read(Layout(root).dataset, made_by="a test").digest


def test_unchanged_images_are_listed_and_nothing_else_is_done(root):
    assert outcomes(root) == ["list_source"]


def test_a_touched_image_is_prepared_again_and_nothing_after_it(root):
    before = dataset_digest(root)
    os.utime(root / "pets" / "cat" / "00.png")
    assert outcomes(root) == ["list_source", "prepare_dataset"]
    assert dataset_digest(root) == before


def test_dvc_status_says_that_the_data_changed_once_it_is_listed(root):
    Image.new("RGB", (16, 16), "red").save(root / "pets" / "dog" / "new.png")
    run_command("ofa-pipeline", "stage", "list_source", workspace=root)
    status = json.loads(run_command("dvc", "status", "--json", workspace=root).stdout)
    assert {"changed deps": {"artifacts/source": "modified"}} in status["prepare_dataset"]
    assert outcomes(root) == STAGES
    assert outcomes(root) == ["list_source"]


def test_an_image_that_is_replaced_or_removed_is_noticed(root):
    before = dataset_digest(root)
    Image.new("RGB", (16, 16), "blue").save(root / "pets" / "dog" / "new.png")
    assert outcomes(root) == STAGES
    assert dataset_digest(root) != before
    (root / "pets" / "dog" / "new.png").unlink()
    assert "prepare_dataset" in outcomes(root)
    # One that was never there, with a name that is not text.
    shutil.copyfile(root / "pets/cat/01.png", os.fsencode(root / "pets") + b"/cat/caf\xe9.png")
    assert "prepare_dataset" in outcomes(root)


def test_nothing_is_trained_on_a_file_that_rotted_with_its_time_kept(root):
    path = Layout(root).supernet_weights("largest")
    state = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert outcomes(root) == ["list_source"]  # DVC goes by size and time
    with (
        DvcClient(root) as dvc,
        pytest.raises(StageFailedError, match=r"supernet\.safetensors was changed after it was"),
    ):
        dvc.ask("reproduce", ["train_supernet@expand"], Watcher())
    damaged = run_command("ofa-pipeline", "verify", workspace=root, check=False)
    assert damaged.returncode == 1
    assert "damaged artifacts/supernet/largest" in damaged.stdout
    # The remedy that the message names.
    shutil.rmtree(path.parent)
    with DvcClient(root) as dvc:
        for stage in (*STAGES, "train_supernet@expand"):
            dvc.ask("reproduce", [stage], Watcher())
    assert "damaged" not in run_command("ofa-pipeline", "verify", workspace=root).stdout
