import pytest
import torch

from ofa_pipeline.training import soft_cross_entropy, training_loss


def test_soft_cross_entropy_is_the_mean_of_the_expected_negative_log_likelihood():
    logits, teacher = torch.randn(5, 4, dtype=torch.double), torch.randn(5, 4, dtype=torch.double)
    expected = -(teacher.softmax(1) * logits.log_softmax(1)).sum(1).mean()
    assert soft_cross_entropy(logits, teacher).item() == pytest.approx(expected.item())


def test_no_gradient_flows_into_the_teacher():
    logits = torch.randn(5, 4, requires_grad=True)
    teacher = torch.randn(5, 4, requires_grad=True)
    soft_cross_entropy(logits, teacher).backward()
    assert teacher.grad is None
    assert logits.grad is not None


def test_labels_are_smoothed_over_all_classes():
    logits, labels = torch.randn(6, 5, dtype=torch.double), torch.tensor([0, 1, 2, 3, 4, 0])
    target = torch.nn.functional.one_hot(labels, 5) * 0.9 + 0.1 / 5
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    found = training_loss(logits, labels, label_smoothing=0.1)
    assert found.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_distillation_loss_is_added_with_its_weight(weight):
    logits, teacher = torch.randn(4, 3), torch.randn(4, 3)
    labels = torch.tensor([0, 1, 2, 0])
    hard = training_loss(logits, labels, label_smoothing=0.0)
    both = training_loss(
        logits, labels, label_smoothing=0.0, teacher_logits=teacher, distillation_weight=weight
    )
    expected = hard + weight * soft_cross_entropy(logits, teacher)
    assert both.item() == pytest.approx(expected.item(), rel=1e-6)
