"""The entry points of hubconf.py through torch.hub, each script in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ofa_pipeline.reference.checkpoints import write_reference_checkpoint
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import build_supernet

CLONE = Path(__file__).parents[2]
SUPERNET = "ofa_mbv3_d234_e346_k357_w1.0"
USES = """
import copy, sys, torch
import torch.distributed as dist
from torch import nn
def load(name, *words, **options):
    return torch.hub.load(sys.argv[1], name, *words, source="local", **options)
images = torch.randn(2, 3, 64, 64)
"""
AS_A_BACKBONE = """
net = load("ofa_supernet_mbv3_w10", checkpoint=sys.argv[2], num_classes=7).eval()
net.set_active_subnet(ks=3, e=4, d=2)
subnet = net.get_active_subnet()
assert torch.equal(net(images), subnet(images))
net.classifier = nn.Linear(1280, 3)
model = nn.ModuleDict({"backbone": net, "head": nn.Linear(3, 2)})
torch.save(model.state_dict(), "model.pt")
found = torch.load("model.pt", weights_only=True)
assert any(name.startswith("backbone.blocks.3.conv.depth_conv.") for name in found), list(found)
other = nn.ModuleDict({"backbone": copy.deepcopy(net), "head": nn.Linear(3, 2)})
other["backbone"].set_max_net()
for parameter in other.parameters():
    nn.init.zeros_(parameter)
other.load_state_dict(found)
other["backbone"].set_active_subnet(ks=3, e=4, d=2)
assert torch.equal(other["backbone"](images), net(images))
"""
SPECIALIZED = """
specialized = load("ofa_specialized_get")
net, image_size = specialized("note10_lat@8ms_top1@71.4_finetune@25", pretrained=False)
assert image_size == 160
torch.save(net, "net.pt")
assert torch.equal(torch.load("net.pt", weights_only=False)(images), net(images))
names = [name for name, _ in net.named_parameters()]
assert set(names) <= set(net.state_dict())
"""
IN_PARALLEL = """
def run(net, images, **options):
    wrapped = nn.parallel.DistributedDataParallel(net.train(), **options)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        wrapped(images).square().mean().backward()
        optimizer.step()
    assert all(name.startswith("module.") for name in wrapped.state_dict())
    net.load_state_dict(wrapped.state_dict())
if __name__ == "__main__":
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=0, world_size=1)
    supernet = load("ofa_supernet_mbv3_w10", pretrained=False)
    supernet.set_active_subnet(ks=3, e=3, d=2)
    run(supernet.get_active_subnet(), images)
    run(supernet, images, find_unused_parameters=True)
    dist.destroy_process_group()
"""
IN_A_WORKER = """
import torch.multiprocessing as mp
def classify(net, images, answers):
    answers.put(net(images).detach().sum().item())
if __name__ == "__main__":
    net = load("ofa_supernet_mbv3_w10", pretrained=False).eval().share_memory()
    net.set_active_subnet(ks=3, e=3, d=2)
    context = mp.get_context("spawn")
    answers = context.Queue()
    torch.set_num_threads(1)
    worker = context.Process(target=classify, args=(net, images, answers))
    worker.start()
    assert abs(answers.get(timeout=100) - net(images).sum().item()) < 1e-2
    worker.join()
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "supernet.pth"
    write_reference_checkpoint(build_supernet(reference_space(SUPERNET), num_classes=7), path)
    return path


@pytest.mark.parametrize("uses", [AS_A_BACKBONE, SPECIALIZED, IN_PARALLEL, IN_A_WORKER])
def test_networks_are_ordinary_modules_in_a_fresh_process(
    uses: str, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(USES + uses)
    second = tmp_path / "rendezvous" if uses is IN_PARALLEL else weights
    result = subprocess.run(
        [sys.executable, "script.py", str(CLONE), str(second)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr


def test_unfitting_checkpoint_names_what_it_is(weights: Path) -> None:
    from ofa_pipeline.errors import StateDictError
    from ofa_pipeline.reference.hub import ofa_supernet

    network = ofa_supernet("ofa_mbv3_d234_e346_k357_w1.2", pretrained=False)
    with pytest.raises(StateDictError, match=f"It is a checkpoint of {SUPERNET} with 7 classes"):
        network.load_state_dict(torch.load(weights, weights_only=True))
