import torch

from ofa_pipeline.supernet import ElasticBatchNorm, build_supernet
from ofa_pipeline.training.replica import Replica, add_gradients
from tests.support.training import NUM_CLASSES, tiny_space


def new_supernet():
    return build_supernet(tiny_space(), num_classes=NUM_CLASSES, seed=0)


def test_a_replica_has_parameters_of_its_own_with_the_same_memory():
    supernet = new_supernet()
    replica = Replica(supernet)
    for (name, one), other in zip(supernet.named_parameters(), replica.parameters, strict=True):
        assert one is not other, name
        assert one.data_ptr() == other.data_ptr()
        assert one.stride() == other.stride()
    assert dict(replica.network.named_buffers()) == dict(supernet.named_buffers())
    with torch.no_grad():
        supernet.classifier.bias += 1
    assert torch.equal(supernet.classifier.bias, replica.network.classifier.bias)


def test_all_of_a_replica_is_in_training_mode_whatever_the_original_is():
    supernet = new_supernet().eval()
    replica = Replica(supernet)
    assert all(module.training for module in replica.network.modules())
    assert not supernet.training
    assert not supernet.stem.training


def test_statistics_are_shared_in_the_replica_alone():
    supernet = new_supernet()
    replica = Replica(supernet)
    replica.share_statistics(4)
    assert replica.network.stem.norm.images_per_group == 4
    assert supernet.stem.norm.images_per_group is None


def test_a_rounded_replica_follows_the_weights_when_told():
    supernet = new_supernet()
    replica = Replica(supernet, is_rounded=True)
    weight = replica.network.stem.conv.weight
    with torch.no_grad():
        supernet.stem.conv.weight += 1
    assert not torch.equal(weight.float(), supernet.stem.conv.weight.bfloat16().float())
    replica.refresh()
    for (name, one), other in zip(supernet.named_parameters(), replica.parameters, strict=True):
        is_norm = isinstance(
            supernet.get_submodule(name.rpartition(".")[0] or ""), ElasticBatchNorm
        )
        assert other.dtype == (torch.float32 if is_norm else torch.bfloat16), name
        assert torch.equal(one.to(other.dtype), other), name


def test_gradients_are_added_where_there_are_some():
    totals = [torch.ones(2), torch.ones(3)]
    add_gradients(totals, [None, torch.full((3,), 2.0, dtype=torch.bfloat16)])
    assert totals[0].tolist() == [1, 1]
    assert totals[1].tolist() == [3, 3, 3]
    add_gradients(totals, [None, None])
    assert totals[1].tolist() == [3, 3, 3]


def test_gradients_are_added_however_they_lie_in_memory():
    drawn = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    like = {"contiguous": drawn, "channels_last": drawn.to(memory_format=torch.channels_last)}
    single = drawn[:, :1]
    found = [torch.ones_like(like["channels_last"]) for _ in range(2)]
    found.append(torch.ones(4, 1, 5, 5).to(memory_format=torch.channels_last))
    found.append(torch.ones(7, dtype=torch.float64))
    given = [*like.values(), single.contiguous().bfloat16(), torch.full((7,), 0.1).bfloat16()]
    add_gradients(found, given)
    for total, gradient in zip(found, given, strict=True):
        assert torch.equal(total, 1 + gradient.to(total.dtype))


def test_gradients_of_a_supernet_are_added_in_one_operation(monkeypatch):
    lists = []
    original = torch._foreach_add_

    def count(held, added):
        lists.append(
            [total.stride() == one.stride() for total, one in zip(held, added, strict=True)]
        )
        original(held, added)

    monkeypatch.setattr(torch, "_foreach_add_", count)
    supernet = new_supernet().to(memory_format=torch.channels_last)
    parameters = list(supernet.parameters())
    for arch in (tiny_space().largest, tiny_space().smallest):
        loss = supernet(torch.randn(2, 3, 12, 12), arch).sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        add_gradients([torch.zeros_like(parameter) for parameter in parameters], gradients)
        is_alike = lists.pop()
        assert all(is_alike)
        assert len(is_alike) == sum(gradient is not None for gradient in gradients)
