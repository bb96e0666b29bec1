"""The chain from a registered subnet to its data, each link with its digest."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from ofa_pipeline.artifacts import digest_file
from ofa_pipeline.documents import Card
from ofa_pipeline.documents.lineage import LineageAnswer, LineageOrigin, LineageStep
from ofa_pipeline.errors import YamlError
from ofa_pipeline.registry.certificates import card_of
from ofa_pipeline.registry.origin import LOCK_FILE, PARAMS_FILE
from ofa_pipeline.registry.protocol import Origin, SubnetRegistry
from ofa_pipeline.registry.record import DATASET_KEY, RegisteredSubnet
from ofa_pipeline.temporary import temporary_folder
from ofa_pipeline.yaml_reader import read_yaml

_SUPERNET = "artifacts/supernet/"


def read_lineage(registry: SubnetRegistry, subnet: RegisteredSubnet, folder: Path) -> LineageAnswer:
    """Return what a version was made from, after its files were fetched and compared.

    Args:
        registry: That holds it.
        subnet: The version.
        folder: Receives params.yaml and dvc.lock of the registration, where they were kept.

    Raises:
        RegistryError: If a file is gone or not the one that was registered.
    """
    origin = registry.origin(subnet, folder)
    with temporary_folder("lineage") as temporary:
        bundle = registry.download(subnet, temporary)  # compares every byte
        files = {path.name: digest_file(path) for path in sorted(bundle.iterdir())}
        card = card_of(bundle, subnet)
    record = subnet.record
    return LineageAnswer(
        model_uri=subnet.model_uri,
        arch_id=record.arch.arch_id,
        device=record.device,
        bundle_digest=record.bundle_digest,
        files=files,
        steps=tuple(_steps(subnet, card, origin, phases=_phases(folder))),
        origin=_facts(origin, has_lock=(folder / LOCK_FILE).exists()),
        params=dict(origin.params),
    )


def _facts(origin: Origin, *, has_lock: bool) -> LineageOrigin:
    names = LineageOrigin.model_fields.keys() - {"has_lock"}
    values = {name: value for name, value in asdict(origin).items() if name in names}
    return LineageOrigin(**values, has_lock=has_lock)


def _phases(folder: Path) -> list[str]:
    """Return the phases in the order of training, as the params of the registration tell it."""
    try:
        values = read_yaml(folder / PARAMS_FILE)
    except (OSError, YamlError):
        return []
    phases = values.get("phases") if isinstance(values, Mapping) else None
    return list(phases) if isinstance(phases, Mapping) else []


def _steps(
    subnet: RegisteredSubnet, card: Card, origin: Origin, *, phases: list[str]
) -> Iterator[LineageStep]:
    record = subnet.record
    device, lineage = record.device, record.lineage
    yield LineageStep(
        what="bundle",
        stage=f"register@{device}",
        artifact=f"artifacts/subnets/{device}/{record.arch.arch_id}",
        digest=record.bundle_digest,
        note="every file is as it was registered",
    )
    yield LineageStep(
        what="fine-tuning",
        stage=f"specialize@{device}",
        artifact=f"artifacts/subnets/{device}",
        digest=origin.subnets_digest,
        note=_finetuning(card),
    )
    for what, stage, artifact in (
        ("search", f"search@{device}", f"artifacts/search/{device}"),
        ("latency model", f"profile_latency@{device}", f"artifacts/latency/{device}"),
        ("accuracy predictor", "fit_predictor", "artifacts/predictor"),
        ("measured accuracies", "collect_accuracy", "artifacts/accuracy"),
    ):
        digest = lineage.get(artifact, "")
        yield LineageStep(what=what, stage=stage, artifact=artifact, digest=digest)
    yield from _supernet_steps(lineage, origin, phases)
    yield LineageStep(
        what="dataset",
        stage="prepare_dataset",
        artifact=DATASET_KEY,
        digest=record.dataset_digest,
        note=record.dataset,
    )
    yield LineageStep(
        what="listing of the images",
        stage="list_source",
        artifact="artifacts/source",
        digest=origin.source_digest,
        note=origin.source,
    )


def _supernet_steps(
    lineage: Mapping[str, str], origin: Origin, phases: list[str]
) -> Iterator[LineageStep]:
    """Yield the phases of the supernet, the last one first, then what they started from."""
    trained = [path.removeprefix(_SUPERNET) for path in lineage if path.startswith(_SUPERNET)]
    trained.sort(key=lambda phase: phases.index(phase) if phase in phases else -1)
    for phase in reversed(trained):
        digest = lineage[f"{_SUPERNET}{phase}"]
        yield LineageStep(
            what="supernet",
            stage=f"train_supernet@{phase}",
            artifact=f"{_SUPERNET}{phase}",
            digest=digest,
            note=f"phase {phase}",
            run=origin.runs.get(digest, ""),
        )
    if "artifacts/initial" in lineage:
        yield LineageStep(
            what="weights to start from",
            stage="import_weights",
            artifact="artifacts/initial",
            digest=lineage["artifacts/initial"],
        )


def _finetuning(card: Card) -> str:
    before = card.accuracy.accuracy_top1_selection_extracted
    after = card.accuracy.accuracy_top1_selection_finetuned
    if after is None:
        return "none"
    epochs = f"{card.finetuning.epochs} epochs, " if card.finetuning else ""
    kept = "kept" if card.accuracy.is_finetuned else "not kept"
    return f"{epochs}{kept}: top-1 on selection {before:.2%}, then {after:.2%}"
