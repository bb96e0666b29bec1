"""Weight files of the reference: read in every spelling, strictly, and written back exactly."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.reference.checkpoints import (
    import_reference_supernet,
    load_reference_state,
    read_reference_checkpoint,
    read_state,
    write_reference_checkpoint,
)
from ofa_pipeline.reference.names import to_reference
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import build_subnet, build_supernet, extract_subnet
from tests.support.networks import NUM_CLASSES, random_archs, random_supernet, tiny_space

SPACE = tiny_space()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "checkpoint.pth"


def blank(*, num_classes=NUM_CLASSES):
    return build_supernet(SPACE, num_classes=num_classes, seed=9)


def assert_same(first, second):
    wanted = second.state_dict()
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name


def test_a_supernet_goes_through_the_reference_spelling_exactly(file):
    supernet = random_supernet(SPACE)
    write_reference_checkpoint(supernet, file)
    read = blank()
    read_reference_checkpoint(read, file)
    assert_same(read, supernet)


def test_a_subnet_goes_through_the_reference_spelling_exactly(file):
    supernet = random_supernet(SPACE)
    for arch in random_archs(SPACE, 2):
        subnet = extract_subnet(supernet, arch)
        write_reference_checkpoint(subnet, file)
        read = build_subnet(SPACE, arch, num_classes=NUM_CLASSES)
        read_reference_checkpoint(read, file)
        assert_same(read, subnet)


def test_weights_may_be_bare_or_in_the_older_spelling(file):
    supernet = random_supernet(SPACE)
    state = to_reference(supernet)
    older = {
        key.replace(".conv.", ".mobile_inverted_conv.", 1) if key.startswith("blocks.") else key: t
        for key, t in state.items()
    }
    assert older.keys() != state.keys()
    for content in (state, {"state_dict": older}):
        torch.save(content, file)
        read = blank()
        read_reference_checkpoint(read, file)
        assert_same(read, supernet)


@pytest.mark.parametrize("numpy_module", [b"numpy._core", b"numpy.core"])
def test_training_checkpoints_are_read(file, numpy_module):
    supernet = random_supernet(SPACE)
    content = {
        "epoch": 3,
        "best_acc": np.float64(71.5),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": []},
        "state_dict": to_reference(supernet),
    }
    torch.save(content, file.with_suffix(".new"))
    with zipfile.ZipFile(file.with_suffix(".new")) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"numpy._core", numpy_module))
    read = blank()
    read_reference_checkpoint(read, file)
    assert_same(read, supernet)


def test_the_largest_static_network_fills_a_supernet():
    supernet = random_supernet(SPACE)
    largest = extract_subnet(supernet, SPACE.largest)
    read = random_supernet(SPACE, seed=4)
    load_reference_state(read, to_reference(largest), origin="the largest")
    assert_same(extract_subnet(read, SPACE.largest), largest)
    transform = read.get_parameter("groups.0.0.depthwise.conv.transforms.7_to_5")
    assert torch.equal(transform, torch.eye(25))


def test_the_file_decides_the_number_of_classes(file):
    supernet = random_supernet(SPACE)
    write_reference_checkpoint(supernet, file)
    read = import_reference_supernet(file, SPACE)
    assert read.num_classes == NUM_CLASSES
    assert_same(read, supernet)


def test_half_precision_is_widened_exactly():
    supernet = random_supernet(SPACE)
    halved = {key: t.half() if t.is_floating_point() else t for key, t in
              to_reference(supernet).items()}  # fmt: skip
    read = blank()
    load_reference_state(read, halved, origin="half")
    assert read.get_parameter("stem.conv.weight").dtype == torch.float32
    assert_same(read, supernet.half().float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("first_conv.bn.bias"), r"1 missing \(first_conv\.bn\.bias\)"),
        (lambda s: s.update(extra=torch.zeros(1)), r"1 unexpected \(extra\)"),
        (
            lambda s: s.update({"first_conv.bn.bias": torch.zeros(3)}),
            r"1 of another shape \(first_conv\.bn\.bias \(3,\) for \(8,\)\)",
        ),
        (
            lambda s: s.pop("blocks.1.conv.depth_conv.conv.5to3_matrix"),
            r"1 missing \(blocks\.1\.conv\.depth_conv\.conv\.5to3_matrix\)",
        ),
        (
            lambda s: s.update({"first_conv.bn.bias": torch.full((8,), torch.nan)}),
            r"must hold finite numbers, but first_conv\.bn\.bias",
        ),
    ],
)
def test_entries_that_do_not_fit_are_listed_and_nothing_is_loaded(change, message):
    state = to_reference(random_supernet(SPACE))
    change(state)
    read = blank()
    with pytest.raises(CheckpointError, match=message):
        load_reference_state(read, state, origin="the file")
    assert_same(read, blank())


def test_another_number_of_classes_is_refused_unless_the_head_is_to_be_replaced(caplog):
    supernet = random_supernet(SPACE)
    state = to_reference(supernet)
    read = blank(num_classes=3)
    head = read.get_parameter("classifier.weight").detach().clone()
    with pytest.raises(
        CheckpointError, match=r"classifier\.linear\.weight \(5, 40\) for \(3, 40\)"
    ):
        load_reference_state(read, state, origin="the file")
    load_reference_state(read, state, origin="the file", replace_head=True)
    assert "the file has 5 classes, the network 3" in caplog.text
    assert torch.equal(read.get_parameter("classifier.weight"), head)
    stem = "stem.conv.weight"
    assert torch.equal(read.get_parameter(stem), supernet.get_parameter(stem))


def test_a_checkpoint_of_another_supernet_is_recognized():
    other = build_supernet(reference_space("ofa_mbv3_d234_e346_k357_w1.2"), num_classes=4)
    wanted = build_supernet(reference_space("ofa_mbv3_d234_e346_k357_w1.0"), num_classes=4)
    with pytest.raises(CheckpointError, match=r"is a checkpoint of ofa_mbv3_d234_e346_k357_w1\.2"):
        load_reference_state(wanted, to_reference(other), origin="the file")


def test_the_number_of_classes_of_the_right_supernet_is_named():
    space = reference_space("ofa_mbv3_d234_e346_k357_w1.0")
    state = to_reference(build_supernet(space, num_classes=4))
    with pytest.raises(CheckpointError, match="It has 4 classes: build the network with as many"):
        load_reference_state(build_supernet(space, num_classes=3), state, origin="the file")


def test_a_file_without_classifier_is_refused_even_when_the_head_may_be_replaced():
    state = to_reference(random_supernet(SPACE))
    del state["classifier.linear.bias"]
    with pytest.raises(CheckpointError, match=r"1 missing \(classifier\.linear\.bias\)"):
        load_reference_state(blank(), state, origin="the file", replace_head=True)


class Code:
    def __reduce__(self):
        return (print, ("code was run",))


def truncated(path: Path) -> None:
    write_reference_checkpoint(random_supernet(SPACE), path)
    path.write_bytes(path.read_bytes()[:-500])


def with_code(path: Path) -> None:
    path.write_bytes(pickle.dumps(Code()))


def with_code_inside(path: Path) -> None:
    torch.save({"state_dict": {"x": torch.zeros(1)}, "more": Code()}, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "must be a weight file, but is missing"),
        (lambda path: path.write_text("<!DOCTYPE html><html>404"), "is a web page"),
        (lambda path: path.write_bytes(b""), "damaged or no weight file|holds code"),
        (truncated, "damaged"),
        (with_code, "holds code, which is never run"),
        (with_code_inside, "holds code, which is never run"),
        (lambda path: torch.save([1, 2], path), "must hold named tensors, got list"),
        (lambda path: torch.save({"a": 1}, path), "nothing else.*found also a"),
    ],
)
def test_files_that_are_no_weights_are_refused(file, capsys, write, message):
    write(file)
    with pytest.raises(CheckpointError, match=message):
        read_state(file)
    assert "code was run" not in capsys.readouterr().out


def test_a_file_without_classifier_is_refused(file):
    torch.save({"first_conv.conv.weight": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="has no classifier"):
        import_reference_supernet(file, SPACE)


def test_nothing_is_left_when_writing_fails(tmp_path):
    with pytest.raises((RuntimeError, OSError)):
        write_reference_checkpoint(random_supernet(SPACE), tmp_path / "missing" / "file.pth")
    assert list(tmp_path.iterdir()) == []


def cut_and_flipped(content, *, every):
    """Yield what is left of a file that is cut, or in which a bit is flipped."""
    yield from (content[:size] for size in range(0, len(content), every * 8))
    for offset in [*range(0, min(len(content), 3000), every), *range(3000, len(content), 3001)]:
        damaged = bytearray(content)
        damaged[offset] ^= 1 << offset % 8
        yield bytes(damaged)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_damaged_file_is_read_or_refused_and_never_a_fault_of_the_program(file, is_zip):
    state = {
        "state_dict": {"classifier.weight": torch.ones(2, 3), "classifier.bias": torch.ones(2)}
    }
    torch.save(state, file, _use_new_zipfile_serialization=is_zip)
    refused = []
    for content in cut_and_flipped(file.read_bytes(), every=5):
        file.write_bytes(content)
        try:
            read_state(file)
        except CheckpointError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all(str(file) in message for message in refused)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 64, b"\x00\x00\x80?" * 64, b"s0.", b"\x80\x02u.", b"\x08\x0aonnx" * 9, b"}" * 99],
)
def test_a_file_of_another_kind_is_refused(file, content):
    """Weights outside an ONNX file, for example, are bytes that mean anything to a pickle."""
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pth"):
        read_state(file)
