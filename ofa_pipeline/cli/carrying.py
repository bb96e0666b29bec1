"""What `ofa-pipeline device export` and `import` do: a folder goes, a result comes back."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.artifacts import Layout, digest_file, write_bytes
from ofa_pipeline.cli.hints import command
from ofa_pipeline.devices.elsewhere import ElsewhereStore, card_of, check_result, read_result
from ofa_pipeline.documents import (
    Awaited,
    ClassNames,
    MeasuringResult,
    MeasuringTask,
    WaitingRun,
    read_document,
)
from ofa_pipeline.errors import DeviceError, ManifestMismatchError
from ofa_pipeline.latency import ElsewhereBench, plan_latency_tasks
from ofa_pipeline.params import load_params, set_card
from ofa_pipeline.progress import SILENT, Reporter

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

_DIGITS = 12


def export_folder(
    workspace: Path, name: str, to: Path, *, is_again: bool, reporter: Reporter = SILENT
) -> Iterator[str]:
    """Write what is awaited of a device to a folder; yield lines for people.

    Args:
        workspace: Folder with params.yaml.
        name: Name of the device.
        to: New or empty.
        is_again: Whether to measure the networks of its latency model once more.
        reporter: Told that it takes a while.

    Raises:
        OfaPipelineError: If it cannot be; says what to do.
    """
    params = load_params(workspace / "params.yaml")
    settings, space = params.device(name).card, params.space.build()
    _check_is_away(params, name)
    layout = Layout(workspace.resolve())
    store = ElsewhereStore(layout, name)
    awaited = store.awaited()
    if is_again or settings.measured is None:
        awaited = Awaited(round="profile")
    if awaited is None:
        raise DeviceError(
            f"nothing is awaited of {name}: go on with ofa-pipeline run --device {name}, which "
            "says what is to be measured. To profile it once more: --again"
        )
    remake = f"ofa-pipeline run --device {name}"
    classes = read_document(layout.dataset / Layout.CLASSES, ClassNames, remake=remake)
    num_classes, latency = len(classes.class_names), params.latency
    reporter.message("writing the networks takes about a second each")
    bench = ElsewhereBench(
        store=store,
        settings=settings,
        space=space,
        num_classes=num_classes,
        warmup_runs=latency.warmup_runs,
        timed_runs=latency.timed_runs,
    )
    tasks = plan_latency_tasks(
        space,
        num_classes=num_classes,
        num_subnets=latency.num_subnets,
        num_holdout=latency.num_holdout,
        seed=latency.seed,
    )
    task = bench.export(to, awaited, tasks)
    store.keep_task(task)
    yield f"{to}: {len(task.networks)} measurements for {name} ({task.card.runtime})"
    yield f"Next: copy it there whole, and run in it: python measure.py ({to / 'README.txt'})"
    yield f"then: {command('device', 'import', name, 'FILE')}"


def import_result(workspace: Path, name: str, path: Path) -> Iterator[str]:
    """Check what came back from a device and keep it; yield lines for people.

    Args:
        workspace: Folder with params.yaml.
        name: Name of the device.
        path: What the measuring script wrote.

    Raises:
        OfaPipelineError: If it cannot be used; says why. Nothing is changed then.
    """
    params_path = workspace / "params.yaml"
    params = load_params(params_path)
    store = ElsewhereStore(Layout(workspace.resolve()), name)
    _check_is_away(params, name)
    result = read_result(path)
    task = store.task(result.task.id)
    if result.task.device != name or task is None:
        raise ManifestMismatchError(
            f"{path} must answer what this workspace exported for {name}, but is about "
            f"{result.task.device}, exported as {result.task.id[:_DIGITS]}, which is not known "
            f"here. Export a folder and measure in it: {store.remake}"
        )
    check_result(result, task, path=path)
    _check_fits(params, name, result, path, store)
    digest = digest_file(path)
    is_new = params.device(name).card.measured != digest[:_DIGITS]
    store.keep_result(path.read_bytes(), digest=digest)
    card = card_of(result)
    yield (
        f"{path}: {len(result.rows)} measurements on {card.hardware}, {card.runtime} "
        f"{card.runtime_version}, threads: {card.threads}"
    )
    if result.task.round == "profile":
        named = {"measured": digest[:_DIGITS]}
        text = set_card(params_path.read_text(), name, named, origin=str(params_path))
        write_bytes(params_path, text.encode())
        yield f"{params_path}: the profile of {name} is made of measurements {digest[:_DIGITS]} now"
    awaited = store.awaited()
    if awaited is None or (is_new and task.round == "profile") or _is_answer(task, awaited):
        store.arrived()
    else:
        yield f"What {name} is waited for is still to be measured: {store.remake}"


def is_waited_for(workspace: Path, name: str) -> bool:
    """Return whether a run of a deployment is suspended until a device was measured."""
    notes = Layout(workspace).waiting_runs.glob("*.json")
    remake = f"ofa-pipeline run --device {name}"
    return any(name in read_document(path, WaitingRun, remake=remake).devices for path in notes)


def _is_answer(task: MeasuringTask, awaited: Awaited) -> bool:
    """Return whether a task holds all that is awaited, not only what was awaited earlier."""
    keys = {network.key for network in task.networks}
    archs = {key.split()[1] for key in keys if key.startswith("search ")}
    return (
        awaited.round == task.round
        and archs.issuperset(arch.arch_id for arch in awaited.archs)
        and keys.issuperset(file.sha256 for file in awaited.files)
    )


def _check_is_away(params: "Params", name: str) -> None:
    location = params.device(name).card.location
    if location != "away":
        raise DeviceError(
            f"folders are carried to devices with location: away, but {name} is "
            f"{location or 'this machine'}. It is measured by: ofa-pipeline run --device {name}"
        )


def _check_fits(
    params: "Params", name: str, result: MeasuringResult, path: Path, store: ElsewhereStore
) -> None:
    """Check that a result is of the device as params.yaml describes it, and of its machine.

    Raises:
        ManifestMismatchError: If not.
    """
    settings, card = params.device(name).card, result.task.card
    found, wanted = card.to_dict(), settings.model_dump(mode="json")
    for key in type(card).model_fields:  # one that is left out is none
        if found.get(key) != wanted.get(key):
            raise ManifestMismatchError(
                f"{path} was measured with {key} {found.get(key)}, but params.yaml now has {key} "
                f"{wanted.get(key)} for {name}. Measure again: {store.remake}, or put {key} back."
            )
    if result.task.round == "profile":
        return
    if settings.measured is None:
        raise ManifestMismatchError(
            f"{path} is about {result.task.round}, but {name} has no profile any more. Measure "
            f"that first: {store.remake}"
        )
    profiled = store.result(settings.measured)
    differing = list(card_of(profiled).differences(card_of(result)))
    if not differing and profiled.card.machine != result.card.machine:
        differing = [f"machine {profiled.card.machine} against {result.card.machine}"]
    if differing:
        raise ManifestMismatchError(
            f"{path} must come from the machine that {name} was profiled on, but differs in "
            f"{', '.join(differing)}. Measure there; or profile the device on this one: "
            f"{store.remake} --again"
        )
