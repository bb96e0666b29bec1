import torch

from ofa_pipeline.compute import BatchPart
from ofa_pipeline.supernet.dropout import Dropout, dropout, dropout_generator


def test_draws_come_from_the_given_generator():
    x = torch.ones(1000)
    with dropout_generator(torch.Generator().manual_seed(3)):
        one = dropout(x, 0.25, training=True)
    torch.rand(1)
    with dropout_generator(torch.Generator().manual_seed(3)):
        other = Dropout(0.25)(x)
    assert torch.equal(one, other)
    assert torch.equal(one.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert 0.2 < float((one == 0).float().mean()) < 0.3


def test_without_a_generator_the_global_seed_decides():
    torch.manual_seed(0)
    one = dropout(torch.ones(100), 0.5, training=True)
    torch.manual_seed(0)
    assert torch.equal(one, dropout(torch.ones(100), 0.5, training=True))


def test_nothing_is_dropped_in_evaluation_mode():
    x = torch.ones(10)
    assert dropout(x, 0.5, training=False) is x
    assert Dropout(0.5).eval()(x) is x


def test_a_part_of_a_batch_gets_the_draws_of_its_rows():
    x = torch.rand(6, 5)
    with dropout_generator(torch.Generator().manual_seed(3)):
        whole = dropout(x, 0.5, training=True)
    with dropout_generator(torch.Generator().manual_seed(3), part=BatchPart(2, 6)):
        part = dropout(x[2:5], 0.5, training=True)
    assert torch.equal(part, whole[2:5])
