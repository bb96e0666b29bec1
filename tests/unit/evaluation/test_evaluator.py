import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from ofa_pipeline.data.transforms import resize_normalize
from ofa_pipeline.evaluation import (
    CalibratedTeacher,
    SubnetEvaluator,
    calibrate_batch_norm,
    calibration,
    calibration_indices,
    evaluate_network,
)
from ofa_pipeline.evaluation import evaluator as evaluation
from ofa_pipeline.supernet import build_supernet, extract_subnet
from tests.support.thread_ranks import on_ranks
from tests.support.training import NORMALIZATION, NUM_CLASSES, striped_images, tiny_space


@pytest.fixture
def supernet():
    return build_supernet(tiny_space(), num_classes=NUM_CLASSES, seed=1)


@pytest.fixture
def evaluator(supernet):
    return SubnetEvaluator(
        supernet=supernet,
        calibration=striped_images(24, seed=1),
        evaluation=striped_images(50, seed=2),
        normalization=NORMALIZATION,
        batch_size=16,
        calibration_images=24,
    )


def test_a_subnet_is_extracted_calibrated_and_evaluated(supernet, evaluator):
    arch = tiny_space().smallest
    pixels = resize_normalize(
        striped_images(24, seed=1).images(),
        resolution_px=arch.resolution_px,
        normalization=NORMALIZATION,
    )
    by_hand = calibrate_batch_norm(extract_subnet(supernet, arch), [pixels])
    expected = evaluate_network(
        by_hand,
        striped_images(50, seed=2),
        resolution_px=arch.resolution_px,
        normalization=NORMALIZATION,
        batch_size=50,
    )
    measured = evaluator.evaluate(arch)
    torch.testing.assert_close(
        evaluator.predictions(arch).logits, expected.logits, rtol=1e-3, atol=1e-4
    )
    assert measured.arch == arch
    assert measured.num_images == 50
    assert measured.accuracy_top1 == expected.accuracy_top1 == measured.correct.mean()


def test_evaluations_do_not_interfere(supernet, evaluator):
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    archs = [tiny_space().smallest, tiny_space().largest]
    alone = [evaluator.predictions(arch).logits for arch in archs]
    again = [evaluator.predictions(arch).logits for arch in reversed(archs)]
    for one, other in zip(alone, reversed(again), strict=True):
        assert torch.equal(one, other)
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_supernet_is_read_anew_each_time(supernet, evaluator):
    before = evaluator.predictions(tiny_space().largest).logits
    with torch.no_grad():
        supernet.classifier.bias += 1.0
    after = evaluator.predictions(tiny_space().largest).logits
    torch.testing.assert_close(after, before + 1.0)


def test_draws_of_calibration_images_differ_and_repeat():
    first = calibration_indices(100, 40, draw=0)
    assert len(set(first)) == 40
    assert first == calibration_indices(100, 40, draw=0)
    others = [calibration_indices(100, 40, draw=draw) for draw in (1, 2)]
    assert others[0] != others[1]
    assert all(len(draw) == 40 for draw in others)


def test_other_draws_differ_even_when_the_whole_split_is_used(evaluator):
    assert calibration_indices(24, 600, draw=0) == list(range(24))
    one, other = (
        evaluator.predictions(tiny_space().largest, calibration_draw=draw).logits for draw in (0, 1)
    )
    assert not torch.equal(one, other)


def test_only_the_first_images_are_evaluated_when_asked(supernet):
    evaluator = SubnetEvaluator(
        supernet=supernet,
        calibration=striped_images(8),
        evaluation=striped_images(50),
        normalization=NORMALIZATION,
        batch_size=16,
        calibration_images=8,
        evaluation_images=20,
    )
    assert evaluator.evaluate(tiny_space().smallest).num_images == 20


def test_a_teacher_has_statistics_for_each_resolution(supernet, evaluator):
    largest = extract_subnet(supernet, tiny_space().largest)
    teacher = CalibratedTeacher(largest, evaluator)
    split = striped_images(50, seed=2)
    for resolution_px in tiny_space().resolutions_px:
        images = resize_normalize(
            split.images(), resolution_px=resolution_px, normalization=NORMALIZATION
        )
        expected = evaluator.predictions(tiny_space().arch(resolution_px=resolution_px)).logits
        found = teacher(images.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert not found.requires_grad


def test_a_teacher_is_calibrated_in_whole_precision_inside_mixed_precision(supernet, evaluator):
    largest = extract_subnet(supernet, tiny_space().largest)
    images = torch.randn(4, 3, 8, 8)
    expected = CalibratedTeacher(largest, evaluator)(images)
    teacher = CalibratedTeacher(largest, evaluator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        teacher(images)
    assert torch.equal(teacher(images), expected)


def test_a_teacher_stays_as_it_was_while_the_supernet_is_trained(supernet, evaluator):
    teacher = CalibratedTeacher(extract_subnet(supernet, tiny_space().largest), evaluator)
    images = torch.randn(4, 3, 8, 8)
    before = teacher(images)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(1.0)
    assert torch.equal(teacher(images), before)
    assert np.isfinite(before.numpy()).all()


@pytest.mark.parametrize("images", [None, 7, 2])
def test_ranks_share_the_images_and_agree(evaluator, images):
    """Seven images for three ranks are uneven; two are too few to be shared."""
    arch = tiny_space().largest
    alone = dataclasses.replace(evaluator, evaluation_images=images)
    expected = alone.predictions(arch)
    seen = []

    def work(ranks):
        own = dataclasses.replace(alone, ranks=ranks)
        seen.append(sum(len(labels) for _, labels in own.images(arch.resolution_px)))
        return own.predictions(arch)

    for found in on_ranks(3, work):
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
        assert torch.equal(found.labels, expected.labels)
    assert sorted(seen) == {None: [16, 17, 17], 7: [2, 2, 3], 2: [2, 2, 2]}[images]


@pytest.mark.parametrize("images", [None, 7])
@pytest.mark.parametrize("num_ranks", [2, 3, 9])
def test_ranks_share_the_calibration_and_come_to_the_same_bits(
    evaluator, monkeypatch, images, num_ranks
):
    arch, size = tiny_space().largest, 4
    monkeypatch.setattr(calibration, "MAX_JOINT_PIXELS", 2 * size * arch.resolution_px**2)
    alone = dataclasses.replace(
        evaluator, batch_size=size, calibration_images=images or evaluator.calibration_images
    )
    # In a thread of its own, too: how many threads OpenMP uses is a matter of each thread, and what
    # other tests used may have set it for this one.
    with ThreadPoolExecutor(1) as pool:
        subnet = pool.submit(alone.calibrated_subnet, arch, calibration_draw=1).result()
    expected = subnet.state_dict()
    seen = []
    calibrate = evaluation.calibrate_batch_norm

    def counted(network, batches, **options):
        held = list(batches)
        seen.append(sum(len(batch) for batch in held))
        return calibrate(network, held, **options)

    monkeypatch.setattr(evaluation, "calibrate_batch_norm", counted)

    def work(ranks):
        own = dataclasses.replace(alone, ranks=ranks)
        return own.calibrated_subnet(arch, calibration_draw=1).state_dict()

    for found in on_ranks(num_ranks, work):
        for name in expected.keys() - {name for name in expected if "num_batches" in name}:
            assert torch.equal(found[name], expected[name]), name
    is_shared = alone.num_calibration_images > 2 * size
    assert sum(seen) == alone.num_calibration_images * (1 if is_shared else num_ranks)


@pytest.mark.parametrize("num_images", [0, 1, 8, 9, 20, 21])
def test_joint_batches_are_those_that_are_joined(monkeypatch, num_images):
    monkeypatch.setattr(calibration, "MAX_JOINT_PIXELS", 9 * 4)
    batches = torch.arange(num_images)[:, None, None, None].expand(-1, 1, 2, 2).split(4)
    joined = [batch[:, 0, 0, 0].tolist() for batch in calibration._joined(batches)]
    expected = [
        list(r) for r in calibration.joint_batches(num_images, batch_size=4, resolution_px=2)
    ]
    assert [found for found in joined if found] == expected
