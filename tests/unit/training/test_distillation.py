"""What subnets learn from a teacher, against plain float64 formulas and numbers worked by hand."""

import math

import numpy as np
import pytest
import torch

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.training import build_teaching, soft_cross_entropy, training_loss
from ofa_pipeline.training.distillation import build_distillation, distillation_names
from ofa_pipeline.training.distillation.alpha import alpha_divergences


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def expected_divergences(student, teacher):
    """Return both divergences of each image, in plain numpy."""
    p, q = softmax(teacher), softmax(student)
    forward = (p * np.log(p / q)).sum(axis=1)
    reverse = 0.5 * (q * (np.minimum(q / p, 5.0) - 1)).sum(axis=1)
    return forward, reverse


def expected_gradient(student, teacher):
    """Return the gradient by the student's logits of the mean of the larger divergences.

    With weights w of log q, the gradient of the sum of w log q by logit k is w_k - q_k sum(w).
    """
    p, q = softmax(teacher), softmax(student)
    forward, reverse = expected_divergences(student, teacher)
    weights = np.where((forward >= reverse)[:, None], -p, q * np.minimum(q / p, 5.0))
    return (weights - q * weights.sum(axis=1, keepdims=True)) / len(student)


def random_logits(seed, scale=3.0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (64, 10)), rng.normal(0, scale, (64, 10))


def double(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_the_alpha_divergences_are_those_of_the_formulas(scale):
    student, teacher = random_logits(0, scale)
    found = alpha_divergences(double(student), double(teacher), max_ratio=5.0)
    for one, expected in zip(found, expected_divergences(student, teacher), strict=True):
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_the_loss_is_the_mean_of_the_larger_divergence_of_each_image():
    student, teacher = random_logits(1, scale=1.0)
    forward, reverse = expected_divergences(student, teacher)
    assert 0.1 < (forward > reverse).mean() < 0.9  # both kinds are among the images
    loss = build_distillation("alpha")(double(student), double(teacher))
    assert float(loss) == pytest.approx(np.maximum(forward, reverse).mean(), rel=1e-12)


def test_the_gradient_is_that_of_the_clipped_ratios_as_constants():
    student, teacher = random_logits(2, scale=1.0)
    logits = double(student).requires_grad_()
    build_distillation("alpha")(logits, double(teacher)).backward()
    expected = expected_gradient(student, teacher)
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-10, atol=1e-14)


def test_two_classes_by_hand():
    """p = (1/2, 1/2), q = (3/4, 1/4): KL = log(2 / sqrt(3)), and 1/2 (9/8 + 1/8 - 1) = 1/8."""
    student, teacher = double([[math.log(3), 0.0]]), double([[0.0, 0.0]])
    forward, reverse = alpha_divergences(student, teacher, max_ratio=5.0)
    assert float(forward) == pytest.approx(math.log(2 / math.sqrt(3)), rel=1e-12)
    assert float(reverse) == pytest.approx(1 / 8, rel=1e-12)
    assert float(build_distillation("alpha")(student, teacher)) == pytest.approx(0.143841, abs=1e-6)


def test_importance_ratios_are_clipped_at_five():
    """p = (0.1, 0.9), q = (0.9, 0.1): q / p is 9 and 1/9, so 1/2 (0.9 x 5 + 0.1 / 9 - 1)."""
    student = double([[math.log(9), 0.0]]).requires_grad_()
    teacher = double([[0.0, math.log(9)]])
    forward, reverse = alpha_divergences(student, teacher, max_ratio=5.0)
    assert float(reverse.detach()) == pytest.approx((4.5 + 1 / 90 - 1) / 2, rel=1e-12)
    assert float(forward.detach()) == pytest.approx(0.8 * math.log(9), rel=1e-12)
    loss = build_distillation("alpha")(student, teacher)
    assert float(loss.detach()) == pytest.approx(0.8 * math.log(9), abs=1e-9)  # 1.758 beats 1.756
    reverse.sum().backward()  # weights 4.5 and 1/90, q = (0.9, 0.1)
    assert student.grad[0, 0].item() == pytest.approx(4.5 * 0.1 - 0.9 / 90, rel=1e-12)


def test_a_class_that_the_teacher_rules_out_stays_finite():
    student = torch.tensor([[300.0, 0.0]], requires_grad=True)
    loss = build_distillation("alpha")(student, torch.tensor([[-300.0, 0.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", distillation_names())
def test_no_gradient_flows_into_the_teacher(name):
    student = torch.randn(5, 4, requires_grad=True)
    teacher = torch.randn(5, 4, requires_grad=True)
    build_distillation(name)(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("name", distillation_names())
def test_nothing_is_left_to_learn_from_a_teacher_that_one_agrees_with(name):
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    build_distillation(name)(logits, logits.detach()).backward()
    assert logits.grad.abs().max() < 1e-15


def loss_of(name, *, teacher_logits, weight=2.0):
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    found = build_teaching("in_place", loss=name).loss(
        logits,
        labels,
        label_smoothing=0.1,
        teacher_logits=teacher_logits,
        distillation_weight=weight,
    )
    return found, logits, labels


def test_who_has_no_teacher_learns_from_the_labels_whatever_the_loss():
    for name in distillation_names():
        found, logits, labels = loss_of(name, teacher_logits=None)
        assert torch.equal(found, training_loss(logits, labels, label_smoothing=0.1))


def test_labels_are_besides_or_left_out():
    teacher = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    both, logits, labels = loss_of("ce_kd", teacher_logits=teacher)
    assert torch.equal(
        both,
        training_loss(
            logits, labels, label_smoothing=0.1, teacher_logits=teacher, distillation_weight=2.0
        ),
    )
    alone, logits, _ = loss_of("kd", teacher_logits=teacher)
    assert torch.equal(alone, 2 * soft_cross_entropy(logits, teacher))
    alpha, logits, _ = loss_of("alpha", teacher_logits=teacher)
    assert torch.equal(alpha, 2 * build_distillation("alpha")(logits, teacher))


def test_an_unknown_loss_names_the_known_ones():
    with pytest.raises(ParamsError, match=r"unknown loss 'alfa', must be one of alpha, ce_kd, kd"):
        build_teaching("in_place", loss="alfa")
