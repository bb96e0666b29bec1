"""Published accuracy predictors against what the reference computes with them."""

import json

import numpy as np
import pytest

from ofa_pipeline.errors import CheckpointError, ParamsError
from ofa_pipeline.reference.official_predictor import load_official_predictor
from tests.support.shared import shared_path

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def golden():
    return json.loads(shared_path("golden/official_predictions.json").read_text())


@pytest.fixture(scope="module")
def mobilenet():
    return load_official_predictor(shared_path("official/acc_predictor.pth"))


@pytest.fixture(scope="module")
def resnet():
    return load_official_predictor(shared_path("official/ofa_resnet50_acc_predictor.pth"))


def resnet_arch(space, row):
    depths = [
        min(row["d"][0], 1),
        *(b + d for b, d in zip((2, 2, 4, 2), row["d"][1:], strict=True)),
    ]
    return space.arch(
        resolution_px=row["image_size"],
        depths=depths,
        expand_ratios=[1.0, *row["e"]],
        width_multipliers=[space.width_multipliers[w] for w in row["w"]],
    )


def test_the_mobilenet_predictor_gives_the_golden_accuracies(golden, mobilenet):
    space, rows = mobilenet.space, golden["mobilenet_v3_w12"]
    archs = [
        space.arch(
            resolution_px=row["image_size"],
            depths=row["d"],
            kernel_sizes=row["ks"],
            expand_ratios=[float(ratio) for ratio in row["e"]],
        )
        for row in rows
    ]
    mean, _ = mobilenet.predict(space.genes(archs))
    np.testing.assert_allclose(mean, [row["accuracy"] for row in rows], rtol=1e-6)


def test_the_resnet_predictor_gives_the_golden_accuracies(golden, resnet):
    space, rows = resnet.space, golden["resnet50"]
    mean, _ = resnet.predict(space.genes([resnet_arch(space, row) for row in rows]))
    np.testing.assert_allclose(mean, [row["accuracy"] for row in rows], rtol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "expand", "depth", "resolution", "expected"),
    [(7, 6, 4, 224, 0.835928), (3, 6, 4, 224, 0.828424), (3, 3, 2, 160, 0.753119)],
)
def test_uniform_networks_are_predicted_as_recorded(
    mobilenet, kernel, expand, depth, resolution, expected
):
    arch = mobilenet.space.arch(
        resolution_px=resolution, depths=depth, kernel_sizes=kernel, expand_ratios=float(expand)
    )
    mean, std = mobilenet.predict(mobilenet.space.genes([arch]))
    assert mean[0] == pytest.approx(expected, abs=1e-6)
    assert std[0] > 0


def test_resolutions_that_were_never_trained_are_refused():
    with pytest.raises(ParamsError, match=r"got \[112, 128\]"):
        load_official_predictor(
            shared_path("official/acc_predictor.pth"), resolutions_px=(112, 128, 160)
        )


def test_fewer_resolutions_may_be_chosen(mobilenet):
    fewer = load_official_predictor(
        shared_path("official/acc_predictor.pth"), resolutions_px=(224, 192)
    )
    assert fewer.space.resolutions_px == (192, 224)
    archs = [fewer.space.largest, fewer.space.smallest]
    np.testing.assert_array_equal(
        fewer.predict(fewer.space.genes(archs))[0],
        mobilenet.predict(mobilenet.space.genes(archs))[0],
    )


def test_it_cannot_be_fitted(mobilenet):
    with pytest.raises(ParamsError, match="cannot be fitted"):
        mobilenet.fit(mobilenet.space.genes([mobilenet.space.largest]), np.array([0.8]))


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"", b"\x80\x02]q\x00."])
def test_a_file_that_is_no_predictor_is_refused(tmp_path, content):
    path = tmp_path / "acc_predictor.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="acc_predictor"):
        load_official_predictor(path)
