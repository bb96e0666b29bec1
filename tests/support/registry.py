"""The contract of a `SubnetRegistry`, a registry in memory, and what to register in tests."""

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import digest_file, digest_json, write_json
from ofa_pipeline.devices import CODE_FOLDER, build_runtime
from ofa_pipeline.documents import Quantile
from ofa_pipeline.errors import InfeasibleConstraintError, RegistryError
from ofa_pipeline.params import RuntimeSettings
from ofa_pipeline.registry import (
    Entry,
    Explanation,
    HomeDataset,
    LatencyFigures,
    Lookups,
    Origin,
    Part,
    Question,
    RegisteredSubnet,
    RunNotes,
    Snapshot,
    SubnetRecord,
    SubnetRegistry,
)
from ofa_pipeline.registry.fields import SIGNATURE_TAG
from ofa_pipeline.registry.lookups import version_of
from ofa_pipeline.registry.questions import Bounds, OtherBounds
from ofa_pipeline.specialize import classify_code
from ofa_pipeline.specialize.bundle import shipped_file

MODEL = "ofa-tiny-cpu"
DATASET = "artifacts/dataset"
CLASS_NAMES = ("red", "green", "blue")


def latency_figures(p50_ms: float) -> LatencyFigures:
    """Return a measurement around a median."""
    return LatencyFigures(
        p50_ms=p50_ms,
        p95_ms=1.2 * p50_ms,
        ci_low_ms=0.99 * p50_ms,
        ci_high_ms=1.01 * p50_ms,
        num_runs=60,
    )


def subnet_record(
    *, accuracy: float = 0.9, latency_ms: float = 1.0, device: str = "cpu", **changes: Any
) -> SubnetRecord:
    """Return a record whose digest follows from its figures."""
    record = SubnetRecord(
        model_name=f"ofa-tiny-{device}",
        device=device,
        space_id="tiny",
        arch=Arch(resolution_px=8, depths=(1, 1), kernel_sizes=(3, 5), expand_ratios=(2, 3)),
        num_classes=len(CLASS_NAMES),
        budgets_ms=(latency_ms,),
        accuracy_top1=accuracy,
        accuracy_top5=1.0,
        num_test_images=100,
        accuracy_top1_selection=accuracy,
        latency={device: latency_figures(latency_ms)},
        macs=1000,
        num_params=100,
        parity_max_abs_difference=1e-6,
        parity_top1_agreement=1.0,
        bundle_digest=f"{round(accuracy * 1e6):08x}{round(latency_ms * 1e6):08x}",
        lineage={DATASET: "da7a" * 16, "artifacts/supernet/expand_2": "5afe" * 16},
    )
    return replace(record, **changes)


class StrongestColor(nn.Module):
    """Says which color is strongest."""

    def __init__(self) -> None:
        """Take the mean of each channel, 20 times."""
        super().__init__()
        self.gain = nn.Conv2d(3, 3, 1, bias=False)
        self.gain.weight.data = 20 * torch.eye(3)[:, :, None, None]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.gain(images).mean((2, 3))
        return logits


def write_bundle(
    folder: Path,
    *,
    resolution_px: int = 8,
    image_size_px: int = 16,
    value_range: tuple[float, float] | None = None,
    runtime: str = "",
    options: Mapping[str, bool | str] | None = None,
) -> Path:
    """Write a bundle whose network says which color is strongest.

    With a runtime named, only the file that it runs holds that network.
    """
    folder.mkdir(parents=True)
    gain = numpy_helper.from_array(np.array(20, dtype=np.float32), name="gain")
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("Mul", ["flat", "gain"], ["logits"]),
        ],
        "strongest_color",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.FLOAT, ["batch", 3, resolution_px, resolution_px]
            )
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [gain],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    runs: dict[str, Any] = {
        "runtime": runtime,
        "file": shipped_file(runtime or "onnxruntime"),
        **({"options": dict(options)} if options else {}),
    }
    write_json(
        folder / "subnet.json",
        {
            "class_names": list(CLASS_NAMES),
            "arch": {"resolution_px": resolution_px},
            "image_size_px": image_size_px,
            "value_range": value_range,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            **({"runs": runs | {"accelerator": "cpu", "threads": 1}} if runtime else {}),
        },
    )
    (folder / "classify.py").write_text(classify_code())
    if runtime and runs["file"] != "model.onnx":
        _write_shipped(folder, runtime, resolution_px=resolution_px)
        (folder / "model.onnx").write_bytes(b"not this one")
    digests = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
    write_json(folder / "card.json", {"files": digests})
    return folder


def _write_shipped(folder: Path, name: str, *, resolution_px: int) -> None:
    runtime = build_runtime(
        RuntimeSettings(runtime=name, accelerator="cpu", precision="fp32", threads=1, batch_size=1)
    )
    path = folder / runtime.network.file_name
    runtime.write(StrongestColor(), path, resolution_px=resolution_px)
    for code in runtime.network.code_names:
        shutil.copyfile(CODE_FOLDER / code, folder / code)


def digest_of(bundle: Path) -> str:
    """Return the digest that the record of a bundle bears."""
    return digest_json({path.name: digest_file(path) for path in sorted(bundle.iterdir())})


class InMemoryRegistry:
    """A `SubnetRegistry` that forgets everything at the end."""

    def __init__(
        self, *, foreign_models: Sequence[str] = (), home: HomeDataset | None = None
    ) -> None:
        """Start empty, except for models of somebody else; asked from a workspace or from none."""
        self.home = home
        self._foreign = set(foreign_models)
        self._subnets: list[RegisteredSubnet] = []
        self._bundles: dict[tuple[str, int], Path] = {}
        self.runs: list[RunNotes] = []
        self.marks: dict[tuple[str, str], str] = {}
        self._aliases: dict[str, dict[str, int]] = {}
        self.time = datetime.now(UTC)
        self.came_from = Origin()
        self._lookups = Lookups(self.snapshot, home=lambda: self.home, where="memory")

    def check(self, model_names: Iterable[str] = ()) -> None:
        """Refuse the names of foreign models."""
        for name in model_names:
            if name in self._foreign:
                raise RegistryError(f"the registered model {name!r} was not made by this pipeline")

    def register(self, record: SubnetRecord, bundle_folder: Path) -> RegisteredSubnet:
        """Register one subnet."""
        entry = Entry(record=record, bundle_folder=bundle_folder)
        return self.register_all([entry], notes=RunNotes(name="register"))[0]

    def register_all(
        self, entries: Sequence[Entry], *, notes: RunNotes
    ) -> tuple[RegisteredSubnet, ...]:
        """Register what is new; note the run when something is."""
        self.check(entry.record.model_name for entry in entries)
        before = len(self._subnets)
        registered = tuple(self._add(entry) for entry in entries)
        if len(self._subnets) > before:
            self.runs.append(notes)
        return registered

    def _add(self, entry: Entry) -> RegisteredSubnet:
        record = entry.record
        found = self.find(model_name=record.model_name, bundle_digest=record.bundle_digest)
        if found is not None:
            return found
        names = [subnet.record.model_name for subnet in self._subnets]
        subnet = RegisteredSubnet(record=record, version=names.count(record.model_name) + 1)
        self._subnets.append(subnet)
        self._bundles[record.model_name, subnet.version] = entry.bundle_folder
        return subnet

    def choose(self, **bounds: Unpack[Bounds]) -> RegisteredSubnet:
        """Return the most accurate subnet within the bounds."""
        return self.answer(Question(**bounds))

    def answer(self, question: Question) -> RegisteredSubnet:
        """Return the most accurate subnet within the bounds."""
        return self._lookups.choose(question)

    def best(
        self, *, device: str, max_latency_ms: float, **bounds: Unpack[OtherBounds]
    ) -> RegisteredSubnet:
        """Return the most accurate subnet within the latency."""
        return self.answer(Question(device=device, max_latency_ms=max_latency_ms, **bounds))

    def runner_up(self, question: Question) -> RegisteredSubnet | None:
        """Return the second best."""
        return self._lookups.runner_up(question)

    def explain(self, question: Question) -> Explanation:
        """Return the best and what more would cost."""
        return self._lookups.explain(question)

    def front(
        self, *, device: str, quantile: Quantile = "p50", dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return the Pareto front."""
        return self._lookups.front(device=device, quantile=quantile, dataset=dataset)

    def compare(self, uris: Sequence[str]) -> tuple[RegisteredSubnet, ...]:
        """Return versions."""
        return self._lookups.compare([version_of(uri, self.aliases) for uri in uris])

    def version(self, uri: str) -> RegisteredSubnet:
        """Return a version."""
        return self._lookups.version(version_of(uri, self.aliases))

    def snapshot(self, part: Part | None = None) -> Snapshot:
        """Return what is registered, the newest first."""
        return Snapshot(self._subnets[::-1])

    def list_subnets(
        self, *, device: str | None = None, dataset: str | None = None
    ) -> tuple[RegisteredSubnet, ...]:
        """Return what is registered, ordered by device, then latency."""
        return self._lookups.list_subnets(device=device, dataset=dataset)

    def find(self, *, model_name: str, bundle_digest: str) -> RegisteredSubnet | None:
        """Return the subnet with this content, or None."""
        for item in self._subnets:
            if (item.record.model_name, item.record.bundle_digest) == (model_name, bundle_digest):
                return item
        return None

    def download(self, subnet: RegisteredSubnet, folder: Path) -> Path:
        """Copy the bundle."""
        source = self._bundles[subnet.record.model_name, subnet.version]
        return Path(shutil.copytree(source, folder / "bundle"))

    def registered_at(self, subnet: RegisteredSubnet) -> datetime:
        """Return the time that the test sets."""
        del subnet
        return self.time

    def origin(self, subnet: RegisteredSubnet, folder: Path) -> Origin:
        """Return what the test sets."""
        del subnet, folder
        return self.came_from

    def aliases(self, model_name: str) -> dict[str, int]:
        """Return the aliases that were set."""
        return self._aliases.setdefault(model_name, {})

    def set_alias(self, subnet: RegisteredSubnet, alias: str) -> None:
        """Set an alias."""
        self.aliases(subnet.record.model_name)[alias] = subnet.version

    def mark(self, subnet: RegisteredSubnet, tag: str) -> str:
        """Return what was written."""
        return self.marks.get((subnet.model_uri, tag), "")

    def set_mark(self, subnet: RegisteredSubnet, tag: str, text: str) -> None:
        """Keep what is written."""
        self.marks[subnet.model_uri, tag] = text


class SubnetRegistryContract:
    """What every `SubnetRegistry` does; a test class gives the fixture `registry`, empty."""

    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Path:
        """A small bundle."""
        return write_bundle(tmp_path / "a-bundle")

    def test_is_a_subnet_registry(self, registry: SubnetRegistry) -> None:
        assert isinstance(registry, SubnetRegistry)

    def test_registered_record_comes_back_as_it_was(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        record = subnet_record()
        registered = registry.register(record, bundle)
        assert registered == RegisteredSubnet(record=record, version=1)
        assert registry.list_subnets() == (registered,)
        found = registry.find(model_name=MODEL, bundle_digest=record.bundle_digest)
        assert found == registered

    def test_same_content_is_registered_once(self, registry: SubnetRegistry, bundle: Path) -> None:
        first = registry.register(subnet_record(), bundle)
        assert registry.register(subnet_record(), bundle) == first
        assert len(registry.list_subnets()) == 1

    def test_new_content_is_a_new_version_of_the_same_model(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        records = [subnet_record(latency_ms=1.0), subnet_record(latency_ms=2.0)]
        entries = [Entry(record=record, bundle_folder=bundle) for record in records]
        registered = registry.register_all(entries, notes=RunNotes(name="both"))
        assert [item.version for item in registered] == [1, 2]
        assert [item.model_uri for item in registered] == [
            f"models:/{MODEL}/1",
            f"models:/{MODEL}/2",
        ]

    def test_best_is_the_most_accurate_within_the_latency(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        for accuracy, latency_ms in [(0.8, 1.0), (0.9, 2.0), (0.95, 4.0)]:
            registry.register(subnet_record(accuracy=accuracy, latency_ms=latency_ms), bundle)
        best = registry.best(device="cpu", max_latency_ms=3.0)
        assert best.record.accuracy_top1 == 0.9
        best = registry.best(device="cpu", max_latency_ms=1.0)
        assert best.record.accuracy_top1 == 0.8
        best = registry.best(device="cpu", max_latency_ms=4.0, min_accuracy=0.95)
        assert best.record.latency_ms == 4.0

    def test_best_of_equal_accuracy_is_the_faster(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        for latency_ms in (2.0, 1.0, 3.0):
            registry.register(subnet_record(latency_ms=latency_ms), bundle)
        assert registry.best(device="cpu", max_latency_ms=9.0).record.latency_ms == 1.0

    def test_best_compares_on_one_dataset_only(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        easy = subnet_record(accuracy=0.99, lineage={DATASET: "ea" * 32})
        hard = subnet_record(accuracy=0.60, lineage={DATASET: "ba" * 32})
        for record in (easy, hard):
            registry.register(record, bundle)
        assert registry.best(device="cpu", max_latency_ms=9.0, dataset="ba").record == hard
        assert registry.best(device="cpu", max_latency_ms=9.0, dataset="ea").record == easy
        with pytest.raises(RegistryError, match="Accuracies on different ones do not compare"):
            registry.best(device="cpu", max_latency_ms=9.0, dataset="any")

    def test_subnets_of_several_datasets_are_never_mixed_by_a_guess(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        for name, digest in [("cats", "ca" * 32), ("dogs", "d0" * 32), ("", "ea" * 32)]:
            record = subnet_record(dataset=name, lineage={DATASET: digest}, bundle_digest=digest)
            registry.register(record, bundle)
        for question in (registry.choose, partial(registry.choose, device="cpu")):
            with pytest.raises(RegistryError, match=r"several are registered: cats, dogs, eaeaea"):
                question()
        assert registry.choose(dataset="dogs").record.dataset == "dogs"
        assert registry.choose(dataset="d0d0").record.dataset == "dogs"
        assert [item.record.dataset for item in registry.list_subnets(dataset="cats")] == ["cats"]
        assert len(registry.list_subnets()) == len(registry.list_subnets(dataset="any")) == 3

    def test_one_dataset_that_was_registered_with_and_without_its_name_is_one(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        for accuracy, name in [(0.8, ""), (0.7, "cats")]:
            registry.register(subnet_record(accuracy=accuracy, dataset=name), bundle)
        assert registry.choose().record.accuracy_top1 == 0.8

    def test_newest_images_of_a_name_answer(self, registry: SubnetRegistry, bundle: Path) -> None:
        for accuracy, digest in [(0.9, "0d"), (0.8, "ef"), (0.7, "ef")]:
            record = subnet_record(
                accuracy=accuracy, dataset="cats", lineage={DATASET: digest * 32}
            )
            registry.register(record, bundle)
        assert registry.choose(dataset="cats").record.accuracy_top1 == 0.8
        assert registry.choose(dataset="0d").record.accuracy_top1 == 0.9

    def test_beginning_of_several_digests_is_refused(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        for digest in ("a1", "a2"):
            record = subnet_record(dataset="cats", lineage={DATASET: digest * 32})
            registry.register(replace(record, bundle_digest=digest * 8), bundle)
        with pytest.raises(RegistryError, match=r"several begin with 'a': cats a1a1.*, cats a2a2"):
            registry.choose(dataset="a")

    def test_unknown_dataset_is_answered_with_those_that_there_are(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        registry.register(subnet_record(dataset="cats"), bundle)
        with pytest.raises(RegistryError, match=r"'cat' is registered on .* mean 'cats'\?"):
            registry.choose(dataset="cat")
        with pytest.raises(RegistryError, match="measured on cpu of the dataset"):
            registry.best(device="cpu", max_latency_ms=9, dataset="x' OR '1'='1")
        assert registry.list_subnets(dataset="x' OR '1'='1") == ()

    @pytest.mark.parametrize(
        ("device", "limit_ms", "accuracy"),
        [(None, None, 0.95), (None, 1.5, 0.8), ("cpu", None, 0.9), ("gpu", None, 0.95)],
    )
    def test_choosing_needs_no_bound(
        self,
        registry: SubnetRegistry,
        bundle: Path,
        device: str | None,
        limit_ms: float | None,
        accuracy: float,
    ) -> None:
        for place, found, latency_ms in [("cpu", 0.8, 1.0), ("cpu", 0.9, 2.0), ("gpu", 0.95, 3.0)]:
            record = subnet_record(accuracy=found, latency_ms=latency_ms, device=place)
            registry.register(record, bundle)
        chosen = registry.choose(device=device, max_latency_ms=limit_ms)
        assert chosen.record.accuracy_top1 == accuracy

    def test_bound_that_is_no_number_is_refused(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        registry.register(subnet_record(), bundle)
        with pytest.raises(RegistryError, match="max_latency_ms must be a number, got nan"):
            registry.choose(max_latency_ms=math.nan)
        with pytest.raises(RegistryError, match="min_accuracy must be a number, got nan"):
            registry.choose(min_accuracy=math.nan)

    def test_best_names_the_fastest_when_none_is_fast_enough(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        registry.register(subnet_record(latency_ms=2.5), bundle)
        with pytest.raises(InfeasibleConstraintError, match=r"fastest of 1 takes 2\.5 ms"):
            registry.best(device="cpu", max_latency_ms=1.0)

    def test_best_names_the_most_accurate_when_none_is_accurate_enough(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        registry.register(subnet_record(accuracy=0.8), bundle)
        with pytest.raises(InfeasibleConstraintError, match=r"reaches 0\.8000"):
            registry.best(device="cpu", max_latency_ms=1.0, min_accuracy=0.9)

    def test_best_on_a_device_without_subnets_is_an_error(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        with pytest.raises(RegistryError, match="no subnet measured on 'gpu'"):
            registry.best(device="gpu", max_latency_ms=1.0)
        registry.register(subnet_record(), bundle)
        with pytest.raises(RegistryError, match="no subnet measured on 'gpu'"):
            registry.best(device="gpu", max_latency_ms=1.0)

    def test_list_is_ordered_and_can_be_narrowed_to_a_device(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        for device, latency_ms in [("gpu", 1.0), ("cpu", 3.0), ("cpu", 2.0)]:
            registry.register(subnet_record(device=device, latency_ms=latency_ms), bundle)
        assert [
            (item.record.device, item.record.latency_ms) for item in registry.list_subnets()
        ] == [("cpu", 2.0), ("cpu", 3.0), ("gpu", 1.0)]
        assert len(registry.list_subnets(device="gpu")) == 1

    def test_what_is_not_there_is_not_found(self, registry: SubnetRegistry) -> None:
        assert registry.find(model_name=MODEL, bundle_digest="0" * 64) is None
        assert registry.list_subnets() == ()

    def test_bundle_comes_back_byte_for_byte(
        self, registry: SubnetRegistry, bundle: Path, tmp_path: Path
    ) -> None:
        registered = registry.register(subnet_record(bundle_digest=digest_of(bundle)), bundle)
        folder = registry.download(registered, tmp_path / "copy")
        names = sorted(path.name for path in bundle.iterdir())
        assert sorted(path.name for path in folder.iterdir()) == names
        for name in names:
            assert (folder / name).read_bytes() == (bundle / name).read_bytes()

    def test_front_leaves_out_what_is_as_fast_and_less_accurate(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        for accuracy, latency_ms in [(0.8, 1.0), (0.9, 2.0), (0.85, 3.0), (0.95, 4.0), (0.7, 1.0)]:
            registry.register(subnet_record(accuracy=accuracy, latency_ms=latency_ms), bundle)
        front = registry.front(device="cpu")
        assert [item.record.accuracy_top1 for item in front] == [0.8, 0.9, 0.95]

    def test_budget_has_a_runner_up_and_a_price(
        self, registry: SubnetRegistry, bundle: Path
    ) -> None:
        for accuracy, latency_ms in [(0.8, 1.0), (0.9, 2.0), (0.95, 4.0), (0.97, 9.0)]:
            registry.register(subnet_record(accuracy=accuracy, latency_ms=latency_ms), bundle)
        found = registry.explain(Question(device="cpu", max_latency_ms=3))
        assert found.subnet == registry.best(device="cpu", max_latency_ms=3)
        assert found.runner_up == registry.runner_up(Question(device="cpu", max_latency_ms=3))
        assert found.runner_up is not None
        assert found.runner_up.record.accuracy_top1 == 0.8
        assert found.next_better is not None
        assert found.next_better.record.latency_ms == 4.0
        assert found.points_per_ms == pytest.approx(2.5)
        assert not found.is_gain_noise
        with pytest.raises(InfeasibleConstraintError):
            registry.explain(Question(device="cpu", max_latency_ms=0.5))

    def test_version_is_found_by_an_alias(self, registry: SubnetRegistry, bundle: Path) -> None:
        one, two = (registry.register(subnet_record(accuracy=a), bundle) for a in (0.8, 0.9))
        registry.set_alias(one, "champion")
        champion = f"models:/{MODEL}@champion"
        assert registry.version(champion) == one
        assert registry.compare([two.model_uri, champion]) == (two, one)
        with pytest.raises(RegistryError, match=r"the alias 'champ'\. It has .*champion"):
            registry.version(f"models:/{MODEL}@champ")
        with pytest.raises(RegistryError, match="It has none"):
            registry.version("models:/nobody@champion")

    def test_versions_of_one_dataset_compare(self, registry: SubnetRegistry, bundle: Path) -> None:
        for accuracy in (0.8, 0.9):
            registry.register(subnet_record(accuracy=accuracy), bundle)
        registry.register(subnet_record(lineage={DATASET: "ea" * 32}, accuracy=0.7), bundle)
        one, two, other = (f"models:/{MODEL}/{version}" for version in (1, 2, 3))
        assert [item.version for item in registry.compare([two, one])] == [2, 1]
        assert registry.version(one).record.accuracy_top1 == 0.8
        for uris, told in [
            ([one], "from 2 to 20 different versions, got 1"),
            ([one, one], "1 different"),
            ([one, other], "must be of one dataset"),
            ([one, f"{one}0"], f"no {one}0. Did you mean '{one}'"),
            ([one, "models:/../x"], "should read models:/NAME/VERSION"),
        ]:
            with pytest.raises(RegistryError, match=told):
                registry.compare(uris)

    def test_signature_and_alias_are_kept(self, registry: SubnetRegistry, bundle: Path) -> None:
        subnet = registry.register(subnet_record(budgets_ms=()), bundle)
        assert registry.mark(subnet, SIGNATURE_TAG) == ""
        registry.set_mark(subnet, SIGNATURE_TAG, "a" * 10_000)
        registry.set_alias(subnet, "candidate")
        assert registry.mark(registry.version(subnet.model_uri), SIGNATURE_TAG) == "a" * 10_000
        assert registry.aliases(MODEL) == {"candidate": 1}
