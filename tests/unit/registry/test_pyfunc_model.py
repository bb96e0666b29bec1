"""What a registered model takes, as MLflow loads and serves it."""

import base64
import io
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from ofa_pipeline.data import decode
from ofa_pipeline.registry import model_folder
from ofa_pipeline.registry.model_folder import PYFUNC_CODE, requirements_of, write_model_folder
from ofa_pipeline.telemetry import PICKLE_SWITCH, refuse_pickles
from tests.support.registry import CLASS_NAMES, write_bundle

with warnings.catch_warnings():  # these warn when they are first imported
    warnings.simplefilter("ignore")
    import mlflow.pyfunc
    from fastapi.testclient import TestClient
    from mlflow.models import Model
    from mlflow.pyfunc import scoring_server

    from ofa_pipeline.registry.pyfunc_model import rgb_batch

GREEN = np.zeros((9, 13, 3), np.uint8)
GREEN[..., 1] = 200


def encoded(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind)
    return file.getvalue()


FILE = encoded(GREEN)
TEXT = base64.b64encode(FILE).decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_model_folder(write_bundle(folder / "bundle"), folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def model(folder):
    return mlflow.pyfunc.load_model(str(folder))


def test_folder_is_as_mlflow_writes_it_around_the_bundle(folder, tmp_path):
    bundle = folder.parent / "bundle"
    described = Model.load(folder)
    mlflow.pyfunc.save_model(
        path=tmp_path / "whole",
        python_model=str(PYFUNC_CODE),
        artifacts={"bundle": str(bundle)},
        signature=described.signature,
        metadata=described.metadata,
        input_example=json.loads((folder / "input_example.json").read_text()),
        pip_requirements=requirements_of(bundle),
    )
    files = {path.relative_to(folder) for path in folder.rglob("*")}
    assert files == {
        path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")
    }
    for name in files:
        if (folder / name).is_file() and name != Path("MLmodel"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    whole = Model.load(tmp_path / "whole").to_dict()
    found = described.to_dict()
    drawn = [
        (document.pop("model_uuid"), document.pop("utc_time_created"))
        for document in (whole, found)
    ]
    assert found == whole
    assert all(len(identity) == 32 for identity, _ in drawn)


def test_two_folders_have_ids_and_times_of_their_own(folder, tmp_path):
    write_model_folder(folder.parent / "bundle", tmp_path / "model")
    first, second = (Model.load(path) for path in (folder, tmp_path / "model"))
    assert first.model_uuid != second.model_uuid
    assert first.utc_time_created < second.utc_time_created


def test_project_of_uv_in_the_current_folder_is_no_part_of_a_model(folder, tmp_path, monkeypatch):
    """Where uv restores the environment of a model, MLflow would take these for its packages."""
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "of-the-user"\n')
    monkeypatch.chdir(tmp_path)
    model_folder._frame.cache_clear()
    write_model_folder(folder.parent / "bundle", tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        path.name for path in folder.iterdir()
    }
    assert not (tmp_path / "model" / "uv.lock").exists()


@pytest.mark.parametrize(
    "images",
    [
        GREEN,
        GREEN[None],
        GREEN.astype(np.int64),
        np.dstack([GREEN, np.full(GREEN.shape[:2], 255, np.uint8)]),
        [GREEN],
        FILE,
        TEXT,
        [FILE],
        [TEXT],
        np.array([FILE], dtype=object),
        np.array([TEXT]),
        [f"data:image/png;base64,{TEXT}"],
        {"image": [TEXT]},
        pd.Series([FILE]),
        pd.DataFrame({"image": [FILE]}, index=[7]),
        pd.DataFrame({"image": [TEXT], "note": ["not an image"]}),
        pd.DataFrame({"photo": [TEXT]}),
        pd.DataFrame({"image": [GREEN]}),
    ],
    ids=lambda images: f"{type(images).__name__} {getattr(images, 'shape', '')}",
)
def test_image_is_green_in_every_form(model, images):
    assert model.predict(images)["class_name"].tolist() == ["green"]


def test_files_of_several_sizes_and_formats_are_one_batch(model):
    red = np.zeros((30, 20, 3), np.uint8)
    red[..., 0] = 200
    answers = model.predict([TEXT, encoded(red, "JPEG"), encoded(GREEN, "BMP")])
    assert answers["class_name"].tolist() == ["green", "red", "green"]


def test_encoded_image_counts_as_the_same_pixels(model):
    shades = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    [from_file], [from_pixels] = (
        model.predict(images)["probabilities"] for images in ([encoded(shades)], shades)
    )
    assert from_file == from_pixels


@pytest.mark.parametrize("shape", [(9, 13), (9, 13, 1), (2, 9, 13, 1)])
def test_gray_is_repeated_over_the_channels(shape):
    gray = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    batch = rgb_batch(gray)
    assert batch.shape[1:] == (9, 13, 3)
    assert all((batch[..., channel].ravel() == gray.ravel()).all() for channel in range(3))


def test_opacity_is_put_on_white_as_in_the_dataset():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 13, 4), np.uint8)
    for found, given in zip(rgb_batch(pixels), pixels, strict=True):
        picture = Image.fromarray(given)
        assert (found == decode.rgb_pixels(decode.upright_eight_bits(picture))).all()


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (GREEN / 255, r"uint8, from 0 to 255; got float64 .* values from 0 to 0.78.*multiplied by"),
        (GREEN.astype(np.float32), r"got float32 .* from 0 to 200"),
        (GREEN.astype(np.uint16), r"got uint16"),
        (GREEN.astype(np.int64) - 1, r"with values from -1 to 199"),
        (GREEN > 0, r"got bool"),
        (GREEN.transpose(2, 0, 1), r"\(3, 9, 13\)\. Put the channels last"),
        (GREEN[None].transpose(0, 3, 1, 2), r"\(1, 3, 9, 13\)\. Put the channels last"),
        (GREEN[..., :2], r"C one of 1, 3, 4; got \(9, 13, 2\)"),
        (np.zeros((4, 9, 13), np.uint8), r"Several grey images are \(N, H, W, 1\)"),
        (GREEN[None][:0], r"at least one.* got shape \(0, 9, 13, 3\)"),
        (GREEN[:0], r"at least one pixel; got shape \(0, 13, 3\)"),
        ([], r"at least one; got none"),
        (pd.DataFrame({"image": []}), r"at least one; got none"),
        ([GREEN, GREEN[:5]], r"of one size; got several sizes"),
        ([FILE, GREEN], r"got both: number 1 is ndarray"),
        ([TEXT, None], r"got both: number 1 is NoneType"),
        ([None], r"encoded \(bytes or base64\) or arrays of pixels; got NoneType"),
        (5, r"got int"),
        (["/photos/cat.png"], r"image 0 of the batch must be .* got '/photos/cat.png'.*not opened"),
        ([TEXT, b"no image"], r"image 1 of the batch: not an image"),
        ([FILE[:45]], r"image 0 of the batch: .*truncated"),
        (pd.DataFrame({"a": [TEXT], "b": [TEXT]}), r"column called 'image'; got .* \['a', 'b'\]"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(model, images, sentence):
    with pytest.raises(MlflowException, match=sentence) as caught:
        model.predict(images)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.fixture(scope="module")
def service(model):
    with TestClient(scoring_server.init(model)) as client:
        yield client


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [TEXT]},
        {"inputs": {"image": [TEXT]}},
        {"inputs": GREEN.tolist()},
        {"instances": [TEXT]},
        {"instances": [{"image": TEXT}]},
        {"instances": GREEN[None].tolist()},
        {"dataframe_split": {"columns": ["image"], "data": [[TEXT]]}},
        {"dataframe_records": [{"image": TEXT}]},
    ],
    ids=lambda body: f"{next(iter(body))} {str(next(iter(body.values())))[:9]}",
)
def test_service_answers_every_format_of_mlflow(service, body):
    response = service.post("/invocations", json=body)
    [answer] = response.json()["predictions"]
    assert answer["class_name"] == "green"
    assert len(answer["probabilities"]) == len(CLASS_NAMES)


def test_service_refuses_with_the_sentence(service):
    response = service.post("/invocations", json={"inputs": (GREEN / 255).tolist()})
    assert response.status_code == 400
    assert "with values from 0 to 0.78" in json.loads(response.content)["message"]


def test_example_of_the_model_can_be_sent_as_it_is(service, folder):
    example = json.loads((folder / "serving_input_example.json").read_text())
    assert service.post("/invocations", json=example).status_code == 200


class Pickled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: np.ndarray, params=None):
        return model_input


def test_processes_of_ours_load_no_pickled_model(folder, tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(tmp_path / "pickled", python_model=Pickled(), pip_requirements=[])
    monkeypatch.setenv(PICKLE_SWITCH, "true")
    refuse_pickles(os.environ)
    assert len(mlflow.pyfunc.load_model(str(folder)).predict(GREEN)) == 1
    with pytest.raises(MlflowException, match=r"(?i)pickle"):
        mlflow.pyfunc.load_model(str(tmp_path / "pickled"))
