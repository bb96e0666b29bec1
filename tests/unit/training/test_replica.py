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
