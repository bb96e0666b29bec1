"""`ofa-pipeline evaluate` on one's own images: the right classes, the right words."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ofa_pipeline.artifacts import write_artifact
from ofa_pipeline.cli import app
from ofa_pipeline.data import Normalization
from ofa_pipeline.data.transforms import resize_normalize
from ofa_pipeline.errors import DatasetError, ManifestMismatchError, OfaPipelineError, ParamsError
from ofa_pipeline.specialize import write_bundle
from ofa_pipeline.supernet import build_subnet, build_supernet, save_subnet, save_supernet
from tests.support import documents as samples
from tests.support import registry as support
from tests.support.images import encoded, noise
from tests.support.networks import randomize, tiny_space
from tests.support.trained_workspace import context_of, prepared_workspace

SIDE = 12
NUMBERS = tuple(str(number) for number in range(12))


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def evaluate(*words: object) -> dict:
    return json.loads(run("evaluate", *words, "--json"))


def pixels_of(files):
    decoded = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return resize_normalize(
        torch.from_numpy(decoded).permute(0, 3, 1, 2),
        resolution_px=SIDE,
        normalization=Normalization(mean=(0.5,) * 3, std=(0.25,) * 3),
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A bundle of 12 classes called by numbers, and a folder of images that it gets right."""
    root = tmp_path_factory.mktemp("own")
    space = tiny_space()
    subnet = build_subnet(space, space.largest, num_classes=len(NUMBERS), dropout=0.0)
    randomize(subnet, seed=3)
    subnet.eval()
    (root / "all").mkdir()
    files = []
    for index in range(120):
        files.append(root / "all" / f"{index:03d}.png")
        files[-1].write_bytes(encoded(noise(index, height=SIDE, width=SIDE)))
    with torch.no_grad():
        images = pixels_of(files)
        subnet.classifier.bias -= subnet(images).mean(dim=0)  # so that all classes are answered
        answers = subnet(images).argmax(dim=1).tolist()
    assert set(answers) == set(range(len(NUMBERS)))
    for file, answer in zip(files, answers, strict=True):
        (root / "images" / NUMBERS[answer]).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / "images" / NUMBERS[answer] / file.name)
    made = support.write_bundle(root / "made", resolution_px=SIDE)
    save_subnet(subnet, made / "weights.safetensors")
    write_bundle(
        root / "bundle",
        files_from=made,
        subnet=samples.subnet_description(
            subnet.arch,
            space=space,
            num_classes=len(NUMBERS),
            class_names=tuple(NUMBERS),
            image_size_px=SIDE,
        ),
        card=samples.card(),
    )
    return root


def test_numbered_folders_are_the_classes_of_their_numbers(own):
    shown = evaluate(own / "bundle", "--data", f"image_folder:{own / 'images'}")
    assert shown["accuracy_top1"] == 1
    assert (shown["num_images"], shown["labels_by"]) == (120, "name")


def test_some_of_the_classes_are_evaluated_with_a_line(own, tmp_path):
    for name in ("2", "10"):
        shutil.copytree(own / "images" / name, tmp_path / name)
    shown = evaluate(own / "bundle", "--data", f"image_folder:{tmp_path}")
    assert shown["accuracy_top1"] == 1
    assert "2 of the network's 12 classes" in shown["notes"][0]


def test_other_names_are_refused_unless_their_order_is_meant(own, tmp_path):
    for number, name in enumerate(NUMBERS):
        shutil.copytree(own / "images" / name, tmp_path / f"class {number:02d}")
    words = (own / "bundle", "--data", f"image_folder:{tmp_path}")
    with pytest.raises(DatasetError, match=r"'class 00'.*--labels index"):
        evaluate(*words)
    shown = evaluate(*words, "--labels", "index")
    assert (shown["accuracy_top1"], shown["labels_by"]) == (1, "index")


def test_figure_bears_the_name_of_what_it_was_measured_on(own, tmp_path):
    data = f"image_folder:{own / 'images'}"
    assert evaluate(own / "bundle", "--data", data)["split"] == "all"
    assert f"120 images (all images of {data})" in run("evaluate", own / "bundle", "--data", data)
    for split in ("train", "test"):
        shutil.copytree(own / "images", tmp_path / split)
    shutil.rmtree(tmp_path / "test")
    for name in NUMBERS:
        first = min((own / "images" / name).iterdir())
        (tmp_path / "test" / name).mkdir(parents=True)
        shutil.copy(first, tmp_path / "test" / name)
    data = f"image_folder:{tmp_path}"
    shown = evaluate(own / "bundle", "--data", data)
    assert (shown["split"], shown["num_images"]) == ("test", 12)
    assert shown["measured_on"] == f"the test split that {data} brings"
    assert evaluate(own / "bundle", "--data", data, "--split", "train")["num_images"] == 120
    assert evaluate(own / "bundle", "--data", data, "--split", "all")["num_images"] == 132


@pytest.mark.parametrize("split", ["bogus", "test", "train", "selection", "calibration", ""])
def test_split_that_the_source_lacks_is_refused_with_the_choices(own, split):
    with pytest.raises(ParamsError, match=r"--split must be one .*all"):
        evaluate(own / "bundle", "--data", f"image_folder:{own / 'images'}", "--split", split)


def test_bundle_whose_weights_are_of_another_network_is_refused(own, tmp_path):
    folder = shutil.copytree(own / "bundle", tmp_path / "bundle")
    space = tiny_space()
    save_subnet(
        build_subnet(space, space.smallest, num_classes=12, dropout=0.0),
        folder / "weights.safetensors",
    )
    (folder / "card.json").write_text(json.dumps(samples.card().to_dict() | {"latency": {}}))
    with pytest.raises(ManifestMismatchError, match="holds another"):
        evaluate(folder, "--data", f"image_folder:{own / 'images'}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workspace with a prepared dataset of two classes and a supernet made from it."""
    root = tmp_path_factory.mktemp("trained")
    context = context_of(root, prepared_workspace(root))
    supernet = build_supernet(context.params.space.build(), num_classes=2, seed=1)
    folder = root / "artifacts" / "supernet" / "largest"
    dataset = context.layout.dataset
    with write_artifact(
        folder, stage="train_supernet", item="largest", params={}, inputs=[dataset]
    ) as writer:
        save_supernet(supernet, writer.folder / "supernet.safetensors")
    return root


def test_supernet_of_a_workspace_knows_its_classes_and_statistics(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = trained / "artifacts" / "supernet" / "largest" / "supernet.safetensors"
    for name in ("dog", "cat"):
        shutil.copytree(trained / "pets" / name, tmp_path / "mine" / name)
    shown = evaluate(file, "--data", "image_folder:mine")
    assert (shown["num_images"], shown["labels_by"], shown["notes"]) == (60, "name", [])
    (tmp_path / "mine" / "dog").rename(tmp_path / "mine" / "wolf")
    with pytest.raises(DatasetError, match="'wolf'"):
        evaluate(file, "--data", "image_folder:mine")


def test_supernet_file_alone_does_not_know_its_classes(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained)
    file = trained / "artifacts" / "supernet" / "largest" / "supernet.safetensors"
    alone = shutil.copy(file, tmp_path / "alone.safetensors")
    with pytest.raises(DatasetError, match="does not name its 2 classes"):
        evaluate(alone)
    assert evaluate(alone, "--labels", "index")["split"] == "test"
    with pytest.raises(OfaPipelineError, match="statistics"):
        evaluate(alone, "--data", "image_folder:pets", "--labels", "index")


def test_images_that_a_network_was_trained_on_are_told(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = trained / "artifacts" / "supernet" / "largest" / "supernet.safetensors"
    shown = evaluate(file, "--data", f"image_folder:{trained / 'pets'}")
    assert "was trained on images of" in shown["notes"][0]
    assert evaluate(file, "--workspace", trained)["notes"] == []
