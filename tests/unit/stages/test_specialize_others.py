"""What the stage specialize takes from the bundles of other devices, and what it does not."""

import dataclasses

import pytest

from ofa_pipeline.artifacts import digest_file, verify_artifact
from ofa_pipeline.progress import Reporter
from ofa_pipeline.specialize import load_bundle
from ofa_pipeline.specialize.tuning import Tuner
from ofa_pipeline.stages import run_stage
from ofa_pipeline.supernet import build_supernet, save_supernet
from tests.unit.stages.test_specialize import (
    DEVICE,
    NUM_CLASSES,
    ElsewhereExecutor,
    archs,
    device_of,
    make_context,
    tiny,
    write,
    write_picks,
    write_profile,
)

__all__ = ["device_of", "make_context"]  # fixtures

OTHER = "cpu-pytorch"


@pytest.fixture
def tuned(monkeypatch):
    """Return the architectures that were fine-tuned."""
    found = []
    tune = Tuner.tune

    def note(self, arch, **given):
        found.append(arch)
        return tune(self, arch, **given)

    monkeypatch.setattr(Tuner, "tune", note)
    return found


@pytest.fixture
def first(make_context, device_of):
    """Return the context of a device whose two subnets are built."""
    context = make_context()
    small, large = archs(context)
    write_picks(context, (1.0, [small]), (2.0, [large]))
    device_of({small: [0.5], large: [0.5]})
    run_stage("specialize", context)
    return context


def other_device(context, *, params=None, **given):
    context = dataclasses.replace(context, item=OTHER, params=params or context.params, **given)
    write_profile(context)
    write_picks(context, (1.0, [archs(context)[0]]))
    return context


def test_a_subnet_that_another_device_has_is_not_fine_tuned_again(first, tuned):
    messages = []
    reporter = Reporter(lambda event: messages.append(event.label))
    context = other_device(first, reporter=reporter)
    small, _ = archs(context)
    run_stage("specialize", context)
    assert tuned == []
    assert any(f"subnet {small.arch_id} was fine-tuned for {DEVICE}" in m for m in messages)
    folders = [context.layout.subnets(name) for name in (DEVICE, OTHER)]
    verify_artifact(folders[1])
    before, after = (load_bundle(folder / small.arch_id) for folder in folders)
    # Evaluated as this device's own runtime computes it, and measured there.
    assert after.card.accuracy.evaluated_file == "network.safetensors"
    assert set(after.card.latency) == {OTHER}
    assert after.card.finetuning == before.card.finetuning
    selection = [
        {name: value for name, value in card.accuracy.to_dict().items() if "selection" in name}
        for card in (before.card, after.card)
    ]
    assert selection[0] == selection[1]


def test_what_is_taken_has_the_bits_of_what_is_fine_tuned(first, tuned):
    taken = run_stage("specialize", other_device(first))
    names = ("weights.safetensors", "model.onnx", "network.safetensors")
    small, _ = archs(first)
    found = [digest_file(taken / small.arch_id / name) for name in names]
    (first.layout.subnets(DEVICE) / "manifest.json").unlink()
    alone = run_stage("specialize", other_device(first))
    assert tuned == [small]
    assert [digest_file(alone / small.arch_id / name) for name in names] == found


def test_what_another_device_has_is_not_asked_of_a_cluster(first, device_of):
    small, large = archs(first)
    elsewhere = ElsewhereExecutor(device_of({small: [0.5], large: [0.5]}))
    context = other_device(first, executor=elsewhere)
    run_stage("specialize", context)
    assert elsewhere.done == []


def other_supernet(context):
    layout, phase = context.layout, context.params.final_phase
    supernet = build_supernet(context.params.space.build(), num_classes=NUM_CLASSES, seed=7)
    with write(context, layout.supernet(phase), inputs=[layout.dataset]) as writer:
        save_supernet(supernet, writer.folder / layout.supernet_weights(phase).name)
        writer.summary |= {"total_epochs": 2, "first_learning_rate": 0.1}


def rot(name):
    def damage(context):
        [path] = context.layout.subnets(DEVICE).glob(name.format(archs(context)[0].arch_id))
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)

    return damage


def remove(context):
    small, _ = archs(context)
    (context.layout.subnets(DEVICE) / small.arch_id / "weights.safetensors").unlink()


@pytest.mark.parametrize(
    "change",
    [
        other_supernet,
        rot("{}/weights.safetensors"),
        rot("manifest.json"),
        remove,
    ],
)
def test_what_is_of_another_supernet_or_damaged_is_not_taken(first, tuned, change):
    change(first)
    context = other_device(first)
    run_stage("specialize", context)
    assert tuned == [archs(context)[0]]
    verify_artifact(context.layout.subnets(OTHER))


@pytest.mark.parametrize(
    "sections",
    [
        {"specialize": {"seed": 3}},
        {"training": {"weight_decay": 0.01}},
    ],
)
def test_what_was_made_with_other_settings_is_not_taken(first, tuned, sections):
    context = other_device(first, params=tiny(OTHER, sections))
    run_stage("specialize", context)
    assert tuned == [archs(context)[0]]


def test_settings_of_measuring_do_not_matter(first, tuned):
    context = other_device(first, params=tiny(OTHER, {"latency": {"timed_runs": 11}}))
    run_stage("specialize", context)
    assert tuned == []
