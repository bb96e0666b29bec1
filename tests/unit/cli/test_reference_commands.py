"""The commands round the reference's files: zoo, import, export, evaluate."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ofa_pipeline.cli import app
from ofa_pipeline.errors import (
    CheckpointError,
    DatasetError,
    MissingArtifactError,
    OfaPipelineError,
    ParamsError,
)
from ofa_pipeline.reference.checkpoints import write_reference_checkpoint
from ofa_pipeline.reference.hub import OfaSupernet
from ofa_pipeline.reference.zoo import published_network, write_net_config
from ofa_pipeline.reference.zoo.spec import load_spec
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import build_subnet, build_supernet, load_supernet

SUPERNET = "ofa_mbv3_d234_e346_k357_w1.0"
NETWORK = "pixel1_lat@20ms_top1@71.4_finetune@25"


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet file of the reference with 3 classes, and images of 3 classes."""
    root = tmp_path_factory.mktemp("reference")
    supernet = build_supernet(reference_space(SUPERNET), num_classes=3, seed=1)
    write_reference_checkpoint(supernet, root / "supernet.pth")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in "abc":
            place = root / "images" / split / label
            place.mkdir(parents=True)
            for index in range(4):
                pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{index}.png")
    return root


def test_zoo_lists_every_network_with_counted_costs() -> None:
    networks = {network["name"]: network for network in json.loads(run("zoo", "list", "--json"))}
    assert len(networks) == 58
    found = networks["note10_lat-64ms_top1-80.2_finetune-75"]
    assert found["supernet"] == "ofa_mbv3_d234_e346_k357_w1.2"
    assert round(found["macs"] / 1e6, 2) == 743.13
    assert found["published_top1"] == 80.2
    assert networks["resnet50D_MAC-4.1B_top1-79.8"]["macs"] is None


def test_zoo_gets_local_files_and_shows_their_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFA_PIPELINE_CACHE", str(tmp_path / "cache"))
    spec, size = load_spec(NETWORK)
    files = tmp_path / "files"
    files.mkdir()
    (files / "net.config").write_text(json.dumps(write_net_config(spec)))
    (files / "run.config").write_text(json.dumps({"image_size": size}))
    subnet = build_subnet(spec.space, spec.arch, num_classes=1000)
    write_reference_checkpoint(subnet, files / "init")
    run("zoo", "get", NETWORK, "--from", files)
    shown = json.loads(run("zoo", "show", NETWORK, "--json"))
    assert all(len(entry["sha256"]) == 64 for entry in shown["files"].values())


def test_zoo_get_names_what_a_folder_lacks(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match=r"net\.config"):
        run("zoo", "get", NETWORK, "--from", tmp_path)


def test_import_and_export_give_the_same_file_content(folder: Path, tmp_path: Path) -> None:
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.pth"
    run("import-checkpoint", folder / "supernet.pth", "--supernet", SUPERNET, "-o", ours)
    run("export-checkpoint", ours, "-o", back)
    wanted = torch.load(folder / "supernet.pth", weights_only=True)["state_dict"]
    found = torch.load(back, weights_only=True)["state_dict"]
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    OfaSupernet(load_supernet(ours)).load_state_dict(found)


def test_static_network_is_imported_by_its_config(tmp_path: Path) -> None:
    spec, _ = load_spec(NETWORK)
    (tmp_path / "net.config").write_text(json.dumps(write_net_config(spec)))
    subnet = build_subnet(spec.space, spec.arch, num_classes=1000)
    write_reference_checkpoint(subnet, tmp_path / "init")
    run("import-checkpoint", tmp_path / "init", "--net-config", tmp_path / "net.config")
    assert (tmp_path / "init.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--supernet", "ofa_resnet50"], CheckpointError),
        (["--supernet", SUPERNET, "-o", "x.pth"], ParamsError),
        ([], ParamsError),
        (["--supernet", "ofa_mbv4"], OfaPipelineError),
    ],
)
def test_wrong_import_is_refused(
    folder: Path, tmp_path: Path, options: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run("import-checkpoint", folder / "supernet.pth", *options)


def test_subnet_of_a_reference_supernet_is_calibrated_and_evaluated(folder: Path) -> None:
    shown = json.loads(
        run(
            "evaluate", SUPERNET, "--checkpoint", folder / "supernet.pth",
            "--data", f"image_folder:{folder / 'images'}", "--arch", "smallest",
            "--resolution-px", 32, "--labels", "index", "--json",
        )
    )  # fmt: skip
    assert shown["num_images"] == 12
    assert shown["calibrated"] is True
    assert 0 <= shown["accuracy_top1"] <= shown["accuracy_top5"] == 1


def test_reference_supernet_without_class_names_is_not_guessed_at(folder: Path) -> None:
    with pytest.raises(DatasetError, match="does not name its 3 classes"):
        run(
            "evaluate", SUPERNET, "--checkpoint", folder / "supernet.pth",
            "--data", f"image_folder:{folder / 'images'}", "--resolution-px", 32,
        )  # fmt: skip


def test_evaluation_on_another_number_of_classes_is_refused(folder: Path, tmp_path: Path) -> None:
    network = published_network(NETWORK)
    subnet = build_subnet(network.space, network.arch, num_classes=1000)
    write_reference_checkpoint(subnet, tmp_path / "init")
    with pytest.raises(DatasetError, match="1000 classes"):
        run(
            "evaluate", NETWORK, "--checkpoint", tmp_path / "init",
            "--data", f"image_folder:{folder / 'images'}",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("middle", "largest, smallest or JSON"),
        ('{"ks": 3}', "no 'ks'"),
        ('{"depths": 9}', "2, 3, 4"),
    ],
)
def test_wrong_architecture_names_the_choices(folder: Path, arch: str, message: str) -> None:
    with pytest.raises(OfaPipelineError, match=message):
        run(
            "evaluate", SUPERNET, "--checkpoint", folder / "supernet.pth",
            "--data", f"image_folder:{folder / 'images'}", "--arch", arch,
        )  # fmt: skip


def test_unknown_target_says_what_can_be_evaluated(folder: Path) -> None:
    with pytest.raises(ParamsError, match="bundle folder"):
        run("evaluate", "ofa_mbv4", "--data", f"image_folder:{folder / 'images'}")
