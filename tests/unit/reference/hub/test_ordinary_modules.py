"""Whatever one does with a module of torch works with the networks from torch.hub.

Each use is tried on a supernet, with a subnet active that is not the largest, and on a subnet, of
every family.
"""

import copy
import io
import pickle
import random
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.fx.experimental.optimization import fuse
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.devices import export_onnx
from ofa_pipeline.errors import ArchError, CheckpointError
from ofa_pipeline.reference.checkpoints import load_reference_state
from ofa_pipeline.reference.hub import OfaSubnet, OfaSupernet
from ofa_pipeline.reference.names import to_reference
from ofa_pipeline.supernet import extract_subnet
from tests.support.networks import (
    NUM_CLASSES,
    random_images,
    random_supernet,
    tiny_resnet_space,
    tiny_space,
    tiny_space_without_mix,
)

Network = OfaSupernet | OfaSubnet
FAMILIES: dict[str, Callable[[], SearchSpace]] = {
    "mobilenet": tiny_space,
    "proxyless": tiny_space_without_mix,
    "resnet": tiny_resnet_space,
}
KINDS = ("supernet", "subnet")


def build_supernet_of(family: str) -> OfaSupernet:
    network = OfaSupernet(random_supernet(FAMILIES[family]()))
    random.seed(4)
    network.sample_active_subnet()
    return network


def build(family: str, kind: str) -> Network:
    network = build_supernet_of(family)
    return network if kind == "supernet" else network.get_active_subnet()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: the networks are small, and the tests many."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[f"{family}-{kind}" for family in FAMILIES for kind in KINDS])
def network(request: pytest.FixtureRequest) -> Network:
    return build(*request.param.split("-"))


@pytest.fixture(params=FAMILIES)
def supernet(request: pytest.FixtureRequest) -> OfaSupernet:
    return build_supernet_of(request.param)


@pytest.fixture(params=FAMILIES)
def subnet(request: pytest.FixtureRequest) -> OfaSubnet:
    return build_supernet_of(request.param).get_active_subnet()


@pytest.fixture
def images() -> Tensor:
    return random_images(count=2, side_px=24)


def other_weights(network: Network) -> Network:
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    return other


def train_a_step(network: nn.Module, images: Tensor) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    F.cross_entropy(network(images), torch.zeros(len(images), dtype=torch.long)).backward()
    optimizer.step()


def reading_layer(network: Network) -> nn.Module:
    """Return a convolution in the middle, wherever the family has it."""
    block = network.blocks[1]
    layers = block.conv.point_linear if hasattr(block, "conv") else block.conv3
    return layers.conv.conv if isinstance(network, OfaSupernet) else layers.conv


class TestNames:
    def test_parameters_and_buffers_are_called_as_the_state_is(self, network):
        named = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        state = network.state_dict()
        assert named.keys() == state.keys()
        assert {n: t.shape for n, t in named.items()} == {n: t.shape for n, t in state.items()}
        assert all(named[name].data_ptr() == state[name].data_ptr() for name in named)

    def test_state_is_what_the_pipeline_writes_for_the_reference(self, supernet):
        core = supernet.to_supernet()
        expected = to_reference(core)
        assert supernet.state_dict().keys() == expected.keys()
        for name, tensor in supernet.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)

    @pytest.mark.parametrize(
        ("family", "parts"),
        [
            (
                "mobilenet",
                "first_conv blocks final_expand_layer global_avg_pool feature_mix_layer classifier",
            ),
            ("proxyless", "first_conv blocks feature_mix_layer global_avg_pool classifier"),
            ("resnet", "input_stem max_pooling blocks global_avg_pool classifier"),
        ],
    )
    @pytest.mark.parametrize("kind", KINDS)
    def test_parts_are_registered_by_the_references_names(self, family, parts, kind):
        network = build(family, kind)
        assert [name for name, _ in network.named_children()] == parts.split()
        assert len(network.blocks) == len(list(network.blocks))
        assert network.get_submodule("blocks.1") is network.blocks[1]

    def test_blocks_have_the_references_attributes(self):
        block = build("mobilenet", "supernet").blocks[1]
        assert block.shortcut is None
        assert block.conv.active_kernel_size in (3, 5, 7)
        assert block.conv.active_expand_ratio in (2, 3, 4)
        assert isinstance(block.conv.depth_conv.conv.conv, nn.Conv2d)
        assert block.conv.depth_conv.conv.get_parameter("5to3_matrix").shape == (9, 9)
        assert build("mobilenet", "subnet").blocks[0].conv.inverted_bottleneck is None

    def test_every_leaf_with_weights_runs_once(self, subnet, images):
        calls: dict[str, int] = {}
        for name, module in subnet.named_modules():
            if not list(module.children()) and list(module.parameters()):
                module.register_forward_hook(
                    lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1})
                )
        subnet(images)
        names = {name.rpartition(".")[0] for name, _ in subnet.named_parameters()}
        assert calls == dict.fromkeys(names, 1)


class TestNumbers:
    @torch.no_grad()
    def test_logits_are_those_of_the_pipelines_networks(self, supernet):
        # Large enough for two pixels at the end: at one pixel torch chooses a convolution by the
        # layout of the weights, and rounds otherwise.
        images = random_images(count=2, side_px=40)
        core = supernet.to_supernet()
        for seed in range(2):
            random.seed(seed)
            supernet.sample_active_subnet()
            arch = supernet.get_active_subnet().arch
            assert torch.equal(supernet(images), core(images, arch))
            plain = extract_subnet(core, arch)
            assert torch.equal(supernet.get_active_subnet()(images), plain(images))
            assert torch.equal(OfaSubnet(plain)(images), plain(images))
            assert torch.equal(OfaSubnet(plain).to_subnet()(images), plain(images))

    def test_gradients_are_those_of_the_pipelines_networks(self, supernet, images):
        core = supernet.to_supernet().train()
        supernet.train()
        supernet(images).square().sum().backward()
        core(images, supernet.get_active_subnet().arch).square().sum().backward()
        for parameter in core.parameters():
            grad = parameter.grad
            parameter.data = torch.zeros_like(parameter) if grad is None else grad
        expected = OfaSupernet(core).state_dict()
        for name, parameter in supernet.named_parameters():
            grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(grad, expected[name], rtol=1e-3, atol=1e-4)

    def test_what_is_not_active_gets_no_gradient(self, images):
        network = build("mobilenet", "supernet")
        network.set_active_subnet(ks=7, e=2, d=1)
        network(images).sum().backward()
        skipped = network.blocks[2].conv.point_linear.conv.conv.weight
        assert skipped.grad is None
        assert getattr(network.blocks[1].conv.depth_conv.conv, "5to3_matrix").grad is None
        narrow = network.blocks[1].conv.point_linear.conv.conv
        assert narrow.weight.grad[:, narrow.active_in :].abs().sum() == 0

    def test_sorting_leaves_the_largest_subnet_alone(self, supernet, images):
        supernet.set_max_net()
        before = supernet(images)
        weights = copy.deepcopy(supernet.state_dict())
        supernet.re_organize_middle_weights()
        torch.testing.assert_close(supernet(images), before, rtol=1e-3, atol=1e-4)
        assert any(not torch.equal(t, weights[n]) for n, t in supernet.state_dict().items())


class TestSavingAndLoading:
    def test_state_is_saved_and_loaded(self, network, images, tmp_path):
        torch.save(network.state_dict(), tmp_path / "weights.pt")
        other = other_weights(network)
        result = other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        assert result == nn.Module().load_state_dict({})
        assert torch.equal(other(images), network(images))

    def test_whole_network_is_saved_pickled_and_copied(self, network, images):
        file = io.BytesIO()
        torch.save(network, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for copied in (loaded, pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
            assert torch.equal(copied(images), network(images))
            assert copied.state_dict().keys() == network.state_dict().keys()
            next(copied.parameters()).data.zero_()
        assert next(network.parameters()).abs().sum() > 0

    def test_what_is_missing_and_unexpected_is_returned_when_not_strict(self, network):
        state = dict(network.state_dict())
        first, *_, last = state
        state["extra.weight"] = state.pop(last)
        state.pop(first)
        before = network.state_dict()[first].clone()
        result = network.load_state_dict(state, strict=False)
        assert result.missing_keys == [first, last]
        assert result.unexpected_keys == ["extra.weight"]
        assert torch.equal(network.state_dict()[first], before)

    @pytest.mark.parametrize("error", [RuntimeError, CheckpointError])
    def test_what_does_not_fit_is_an_error_of_torchs_kind(self, network, error):
        state = dict(network.state_dict())
        state.pop("classifier.linear.bias", None)
        state.pop("classifier.linear.linear.bias", None)
        with pytest.raises(error, match=r"Missing key\(s\) in state_dict: .classifier.linear"):
            network.load_state_dict(state)
        state = {**network.state_dict(), "extra": torch.zeros(1)}
        with pytest.raises(error, match=r"Unexpected key\(s\) in state_dict: .extra"):
            network.load_state_dict(state)
        state = {name: torch.zeros(3, 5, 7, 9) for name in network.state_dict()}
        with pytest.raises(error, match="size mismatch for") as raised:
            network.load_state_dict(state, strict=False)
        assert len(str(raised.value).splitlines()) <= 14

    def test_tensors_are_assigned(self, network, images):
        state = {name: tensor.double() for name, tensor in network.state_dict().items()}
        other = copy.deepcopy(network)
        other.load_state_dict(state, assign=True)
        assert next(other.parameters()).data_ptr() == state[next(iter(state))].data_ptr()
        assert other(images.double()).dtype == torch.float64

    def test_prefix_destination_and_keep_vars_are_kept(self, network):
        destination: OrderedDict[str, Tensor] = OrderedDict(before=torch.zeros(1))
        network.state_dict(destination=destination, prefix="net.", keep_vars=True)
        assert set(destination) == {"before", *(f"net.{name}" for name in network.state_dict())}
        parameters = dict(network.named_parameters())
        assert all(destination[f"net.{name}"] is p for name, p in parameters.items())

    def test_hooks_of_the_state_are_called(self, network):
        network.register_state_dict_post_hook(
            lambda module, state, prefix, _: state.update({f"{prefix}hooked": torch.ones(1)})
        )
        seen = []
        network.register_load_state_dict_pre_hook(
            lambda module, state, prefix, *_: seen.append(state.pop(f"{prefix}hooked", None))
        )
        network.load_state_dict(network.state_dict())
        assert seen == [torch.ones(1)]

    def test_parent_saves_and_loads_its_network(self, network, images):
        parent = nn.Sequential(OrderedDict(backbone=network, head=nn.Linear(NUM_CLASSES, 2)))
        names = {f"backbone.{name}" for name in network.state_dict()}
        assert set(parent.state_dict()) == {*names, "head.weight", "head.bias"}
        other = copy.deepcopy(parent)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        other.load_state_dict(parent.state_dict())
        assert torch.equal(other(images), parent(images))
        with pytest.raises(RuntimeError, match="backbone"):
            other.load_state_dict(parent.head.state_dict())

    def test_replaced_parts_are_saved_and_loaded(self, network, images):
        network.classifier = nn.LazyLinear(3)
        network(images)
        assert {"classifier.weight", "classifier.bias"} <= network.state_dict().keys()
        other = other_weights(network)
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(images), network(images))


class TestPublishedNames:
    @pytest.mark.parametrize("place", ["alone", "in a parent"])
    def test_static_names_fill_the_largest_subnet(self, supernet, images, place):
        supernet.set_max_net()
        largest = supernet.get_active_subnet()
        holder = nn.ModuleDict({"net": other_weights(supernet)})
        if place == "alone":
            holder["net"].load_state_dict(largest.state_dict())
        else:
            holder.load_state_dict({f"net.{n}": t for n, t in largest.state_dict().items()})
        assert torch.equal(holder["net"](images), largest(images))
        for name, tensor in holder["net"].state_dict().items():
            if name.endswith("_matrix"):
                assert torch.equal(tensor, torch.eye(len(tensor)))

    @pytest.mark.parametrize("kind", KINDS)
    def test_older_spelling_is_read(self, kind, images):
        network = build("mobilenet", kind)
        state = {
            n.replace(".conv.", ".mobile_inverted_conv.", 1) if n.startswith("blocks") else n: t
            for n, t in network.state_dict().items()
        }
        other = other_weights(network)
        other.load_state_dict(state)
        assert torch.equal(other(images), network(images))

    def test_names_of_a_wrapped_network_are_read(self, network, images):
        other = other_weights(network)
        other.load_state_dict(nn.DataParallel(network).state_dict())
        assert torch.equal(other(images), network(images))

    def test_training_checkpoint_is_read(self, network, images):
        other = other_weights(network)
        other.load_state_dict({"epoch": 3, "state_dict": network.state_dict()})
        assert torch.equal(other(images), network(images))

    def test_state_without_batch_counts_is_read(self, network, images):
        state = {n: t for n, t in network.state_dict().items() if "num_batches" not in n}
        other = other_weights(network)
        other.load_state_dict(state)
        assert torch.equal(other(images), network(images))

    def test_matrices_stay_when_only_some_kernels_are_given(self):
        network = build("mobilenet", "supernet")
        name = "blocks.1.conv.depth_conv.conv."
        result = network.load_state_dict(
            {f"{name}conv.weight": network.state_dict()[f"{name}conv.weight"]}, strict=False
        )
        assert f"{name}5to3_matrix" in result.missing_keys

    def test_the_pipelines_networks_take_the_state(self, supernet):
        core = random_supernet(supernet.space, seed=9)
        load_reference_state(core, supernet.state_dict(), origin="the test")
        for name, tensor in OfaSupernet(core).state_dict().items():
            if "num_batches" not in name:
                assert torch.equal(tensor, supernet.state_dict()[name])


class TestTraining:
    def test_a_step_changes_what_is_active(self, network, images):
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        network.train()
        train_a_step(network, images)
        changed = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
        assert {"blocks.0", "blocks.1"} <= {".".join(name.split(".")[:2]) for name in changed}
        if isinstance(network, OfaSubnet):
            assert all(p.grad is not None for p in network.parameters())

    def test_training_updates_the_statistics_of_what_is_active(self, network, images):
        before = copy.deepcopy(dict(network.named_buffers()))
        network.train()(images)
        means = [n for n, b in network.named_buffers() if not torch.equal(b, before[n])]
        assert any(name.endswith("running_mean") for name in means)

    def test_averaged_models_follow(self, network, images):
        for options in ({}, {"multi_avg_fn": get_ema_multi_avg_fn(0.5)}, {"use_buffers": True}):
            averaged = AveragedModel(network, **options)
            averaged.update_parameters(network)
            averaged.update_parameters(other_weights(network))
            for own, mean in zip(network.parameters(), averaged.module.parameters(), strict=True):
                torch.testing.assert_close(mean, own + 0.05)
            reread = AveragedModel(network)
            reread.load_state_dict(averaged.state_dict())
            assert torch.equal(reread(images), averaged(images))

    def test_update_bn_estimates_the_statistics(self, network):
        batches = [random_images(count=8, side_px=24, seed=seed) for seed in range(3)]
        network.eval()
        expected = copy.deepcopy(network)
        for layer in expected.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                layer.momentum = None
        expected.train()
        with torch.no_grad():
            for batch in batches:
                expected(batch)
        update_bn(batches, network)
        assert not network.training
        for name, buffer in network.named_buffers():
            torch.testing.assert_close(buffer, expected.get_buffer(name))
        first = network.first_conv if hasattr(network, "first_conv") else network.input_stem[0]
        features = torch.cat([first.conv(batch) for batch in batches])
        norm = first.bn.bn if hasattr(first.bn, "bn") else first.bn
        active = features.shape[1]
        torch.testing.assert_close(norm.running_mean[:active], features.mean((0, 2, 3)))

    def test_parameter_groups_by_name_and_frozen_parts(self, network, images):
        decayed = [
            p for n, p in network.named_parameters() if not n.endswith("bias") and p.ndim > 1
        ]
        others = [p for n, p in network.named_parameters() if n.endswith("bias") or p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others}]
        optimizer = torch.optim.AdamW(groups)
        network.requires_grad_(False)
        network.classifier.requires_grad_(True)
        network.train()
        network(images).sum().backward()
        given = [name for name, p in network.named_parameters() if p.grad is not None]
        assert given
        assert all(name.startswith("classifier.") for name in given)
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        network.zero_grad()
        assert all(p.grad is None for p in network.parameters())

    def test_gradient_checkpoints_give_the_same_gradients(self, network, images):
        network.eval()
        network(images).sum().backward()
        expected = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        network.zero_grad()
        checkpoint(network, images, use_reentrant=False).sum().backward()
        for name, grad in expected.items():
            torch.testing.assert_close(network.get_parameter(name).grad, grad)
        stem = network.first_conv if hasattr(network, "first_conv") else network.input_stem
        x = stem(images)
        whole = network.blocks(x)
        parts = checkpoint_sequential(network.blocks, 2, x, use_reentrant=False)
        assert torch.equal(parts, whole)

    def test_functional_calls_and_their_gradients(self, network, images):
        weights = {n: p.detach() * 0.9 for n, p in network.named_parameters()}
        changed = copy.deepcopy(network)
        changed.load_state_dict(weights, strict=False)
        network.eval()
        changed.eval()
        assert torch.equal(torch.func.functional_call(network, weights, images), changed(images))

        def loss(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
            return torch.func.functional_call(network, parameters, image[None]).square().sum()

        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, images)
        first = torch.func.grad(loss)(weights, images[0])
        for name, grad in first.items():
            torch.testing.assert_close(each[name][0], grad, rtol=1e-3, atol=1e-3)

    def test_parameters_are_one_vector_for_optimizers_that_need_one(self, network):
        vector = nn.utils.parameters_to_vector(network.parameters())
        nn.utils.vector_to_parameters(vector + 1, network.parameters())
        assert torch.equal(nn.utils.parameters_to_vector(network.parameters()), vector + 1)

    @pytest.mark.parametrize("kind", KINDS)
    def test_second_derivatives(self, kind, images):
        # Of ResNet alone: torch has no second derivative of MobileNetV3's hard sigmoid.
        network = build("resnet", kind).train()
        loss = network(images).square().mean()
        parameters = [p for p in network.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        sum(grad.square().sum() for grad in grads if grad is not None).backward()
        assert all(torch.isfinite(p.grad).all() for p in parameters if p.grad is not None)


class TestChangedNetworks:
    def test_classifier_is_replaced(self, network, images):
        features = copy.deepcopy(network)
        features.classifier = nn.Identity()
        width = features(images).shape[1]
        network.classifier = nn.Linear(width, 3)
        assert network(images).shape == (2, 3)
        train_a_step(network.train(), images)
        torch.testing.assert_close(network.classifier.bias.grad.sum(), torch.tensor(0.0))
        assert network.num_classes == 3
        with pytest.raises(ArchError, match="replaced by Identity"):
            features.num_classes  # noqa: B018

    def test_replaced_classifier_comes_along_with_the_subnet(self, supernet, images):
        supernet.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.LazyLinear(3))
        supernet(images)
        subnet = supernet.eval().get_active_subnet()
        assert torch.equal(subnet(images), supernet(images))
        assert subnet.config["classifier"]["out_features"] == 3
        supernet.classifier[-1].weight.data.zero_()
        assert subnet.classifier[-1].weight.abs().sum() > 0

    def test_parts_are_a_backbone(self, network, images):
        parts = list(network.children())[:-1]
        pooled = nn.Sequential(*parts)(images).flatten(1)
        network.classifier = nn.Identity()
        # The whole network lays features out channels last, where sums may round otherwise.
        torch.testing.assert_close(network(images), pooled, rtol=1e-3, atol=1e-4)
        network.global_avg_pool = nn.AdaptiveMaxPool2d(1)
        assert network(images).shape == pooled.shape
        network.blocks = network.blocks[:2]
        network.final_expand_layer = network.feature_mix_layer = nn.Identity()
        assert network(images).ndim == 2

    def test_truncated_supernet_still_takes_settings(self, images):
        network = build("mobilenet", "supernet")
        network.blocks = nn.ModuleList(list(network.blocks)[:2])
        network.final_expand_layer = network.feature_mix_layer = None
        network.classifier = None
        network.set_max_net()
        wide = network(images)
        network.set_active_subnet(e=2)
        assert not torch.equal(network(images), wide)

    def test_hooks_see_the_features(self, network, images):
        seen = {}
        for name in ("blocks.1", "classifier", "global_avg_pool"):
            network.get_submodule(name).register_forward_hook(
                lambda module, args, output, name=name: seen.update({name: output})
            )
        logits = network(images)
        assert seen.keys() == {"blocks.1", "classifier", "global_avg_pool"}
        assert torch.equal(seen["classifier"], logits)

    def test_features_are_taken_by_torchvision(self, network, images):
        from torchvision.models.feature_extraction import create_feature_extractor

        network.eval()
        extractor = create_feature_extractor(network, {"blocks.1": "middle", "classifier": "end"})
        found = extractor(images)
        assert torch.equal(found["end"], network(images))
        assert found["middle"].ndim == 4

    def test_weights_are_pruned(self, network, images):
        layer = reading_layer(network)
        network.eval()
        before = network(images)
        prune.l1_unstructured(layer, "weight", amount=0.5)
        assert not torch.equal(network(images), before)
        assert {"weight_orig", "weight_mask"} <= layer.state_dict().keys()
        for _ in range(2):
            train_a_step(network, images)
        pruned = network(images)
        prune.remove(layer, "weight")
        torch.testing.assert_close(network(images), pruned)

    def test_weights_are_parametrized(self, network, images):
        layer = reading_layer(network)
        before = network(images)
        parametrizations.weight_norm(layer)
        torch.testing.assert_close(network(images), before, rtol=1e-4, atol=1e-4)
        train_a_step(network, images)
        assert layer.parametrizations.weight.original0.grad is not None
        parametrize.remove_parametrizations(layer, "weight")
        network(images)

    def test_batch_norm_is_fused(self, subnet, images):
        subnet.eval()
        expected = subnet(images)
        fused = fuse(copy.deepcopy(subnet))
        torch.testing.assert_close(fused(images), expected, rtol=1e-3, atol=1e-4)
        stem = subnet.first_conv if hasattr(subnet, "first_conv") else subnet.input_stem[0]
        stem.conv, stem.bn = fuse_conv_bn_eval(stem.conv, stem.bn), nn.Identity()
        torch.testing.assert_close(subnet(images), expected, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
    def test_number_types_and_memory_formats(self, network, images, dtype):
        changed = network.eval().to(dtype).to(memory_format=torch.channels_last)
        assert changed(images.to(dtype)).dtype == dtype
        if isinstance(network, OfaSupernet):
            assert changed.get_active_subnet()(images.to(dtype)).dtype == dtype
        changed.float().to(memory_format=torch.contiguous_format)
        assert torch.isfinite(changed(images)).all()

    def test_modes_are_passed_on(self, network):
        assert all(module.training for module in network.train().modules())
        assert not any(module.training for module in network.eval().modules())
        network.blocks.train()
        assert network.blocks[1].training
        assert not network.training


class TestOtherForms:
    def test_data_parallel_passes_through_on_a_cpu(self, network, images):
        wrapped = nn.DataParallel(network)
        assert torch.equal(wrapped(images), network(images))
        assert wrapped.state_dict().keys() == {f"module.{name}" for name in network.state_dict()}
        network.load_state_dict(wrapped.state_dict())

    @pytest.mark.parametrize("strict", [False, True])
    def test_exported(self, network, images, strict):
        network.eval()
        exported = torch.export.export(network, (images,), strict=strict)
        assert exported.state_dict.keys() == network.state_dict().keys()
        torch.testing.assert_close(exported.module()(images), network(images))

    def test_traced(self, network, images):
        network.eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch prefers torch.export
            traced = torch.jit.trace(network, images)
            file = io.BytesIO()
            torch.jit.save(traced, file)
            file.seek(0)
            loaded = torch.jit.load(file)
        more = random_images(count=3, side_px=32)
        torch.testing.assert_close(loaded(more), network(more))

    def test_symbolically_traced(self, network, images):
        network.eval()
        graph = torch.fx.symbolic_trace(network)
        assert torch.equal(graph(images), network(images))

    def test_written_as_onnx(self, network, images, tmp_path):
        network.eval()
        subnet = network if isinstance(network, OfaSubnet) else network.get_active_subnet()
        path = tmp_path / "network.onnx"
        export_onnx(subnet.to_subnet(), path, resolution_px=24)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, network(images).detach().numpy(), rtol=1e-4, atol=1e-5)

    def test_scripted(self, subnet, images):
        subnet.eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch prefers torch.export
            scripted = torch.jit.script(subnet)
        torch.testing.assert_close(scripted(images), subnet(images))
        assert scripted.state_dict().keys() == subnet.state_dict().keys()

    def test_quantized_by_calibration(self, network, images):
        network.eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch prefers torchao
            mapping = torch.ao.quantization.get_default_qconfig_mapping("x86")
            prepared = prepare_fx(copy.deepcopy(network), mapping, (images,))
            prepared(images)
            quantized = convert_fx(prepared)
            answer = quantized(images)
        expected = network(images)
        assert (answer - expected).abs().max() < 0.2 * expected.abs().max()

    def test_quantized(self, network, images):
        network.eval()
        network.classifier = nn.Identity()
        network.classifier = nn.Linear(network(images).shape[1], NUM_CLASSES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", UserWarning)
            quantized = torch.ao.quantization.quantize_dynamic(network, {nn.Linear})
        assert "quantized" in type(quantized.classifier).__module__
        assert (quantized(images) - network(images)).abs().max() < 0.5

    def test_compiled_and_compiled_again_for_another_subnet(self, network, images):
        torch.compiler.reset()
        network.eval()
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        assert torch.equal(compiled(images), network(images))
        if isinstance(network, OfaSupernet):
            for change in (network.set_max_net, network.sample_active_subnet):
                before = network(images)
                change()
                assert not torch.equal(network(images), before)
                assert torch.equal(compiled(images), network(images))
        assert compiled._orig_mod is network

    def test_compiled_with_its_gradients(self, images):
        network = build("mobilenet", "subnet").train()
        compiled = torch.compile(copy.deepcopy(network), backend="aot_eager", fullgraph=True)
        network(images).sum().backward()
        compiled(images).sum().backward()
        grads = dict(compiled._orig_mod.named_parameters())
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(grads[name].grad, parameter.grad, rtol=1e-3, atol=1e-3)
