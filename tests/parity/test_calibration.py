"""Batch-norm calibration against the reference, through a single batch.

With one batch, pooled population statistics and the reference's average of within-batch variances
are the same thing.
"""

import pytest
import torch

from ofa_pipeline.evaluation import calibrate_batch_norm
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import build_supernet, extract_subnet
from tests.support.golden import (
    fill_like_the_reference,
    golden,
    golden_arch,
    golden_images,
    relative_error,
)


@pytest.mark.reference
@pytest.mark.parametrize(
    "space_id", ["ofa_mbv3_d234_e346_k357_w1.0", "ofa_mbv3_d234_e346_k357_w1.2"]
)
def test_calibrated_logits_equal_those_of_the_reference(space_id):
    [case] = [c for c in golden("mechanics", "calibration") if c["supernet"] == space_id]
    supernet = build_supernet(reference_space(space_id), num_classes=1000)
    fill_like_the_reference(supernet)
    subnet = extract_subnet(supernet, golden_arch(supernet.space, case["arch"]))
    batch = golden_images(
        case["calibration_seed"], count=case["calibration_images"], side_px=case["image_size"]
    )
    images = golden_images(case["image_seed"], count=2, side_px=case["image_size"])
    calibrated = calibrate_batch_norm(subnet, batch.split(10))
    with torch.no_grad():
        assert relative_error(calibrated(images), case["logits"]) < 1e-6
