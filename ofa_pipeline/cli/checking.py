"""What `ofa-pipeline device check` says of a device, and `device list` of its profile."""

from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.display import Display
from ofa_pipeline.cli.hints import command
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.devices.elsewhere import ElsewhereStore, card_of, measured
from ofa_pipeline.documents import ClassNames, DeviceCard, MeasuringResult, read_document
from ofa_pipeline.errors import DeviceError, OfaPipelineError
from ofa_pipeline.exit_codes import EXIT_AWAITED, EXIT_ERROR
from ofa_pipeline.progress import Reporter

if TYPE_CHECKING:
    from ofa_pipeline.latency import MachineNoise
    from ofa_pipeline.params import Params

AWAY = "away"
_STALE = "stale: "
_NUM_CLASSES = 10
"""Of the network that the noise is measured with, where no dataset is there yet."""


def check_device(params: "Params", name: str, workspace: Path) -> int:
    """Print what a device is and how noisy, and return the exit code.

    Args:
        params: The devices.
        name: One of them.
        workspace: Folder with params.yaml.

    Raises:
        ClusterError: If it is a node of a cluster that cannot be used.
        DeviceError: If it cannot be measured on; says what is missing and what to do.
        ParamsError: If there is no such device.
    """
    location = params.device(name).card.location
    if location == AWAY:
        return _check_away(params, name, workspace)
    if location is not None:
        card, noise = _measured_there(params, name, workspace)
        _show_card(card, name, profile_state(params, name, workspace))
    else:
        from ofa_pipeline.devices import describe_device

        card = describe_device(params.device(name).card)
        _show_card(card, name, profile_state(params, name, workspace))
        noise = _measured_here(params, name, workspace)
    _show_noise(noise)
    return 0 if noise.is_fit else EXIT_ERROR


def profile_state(params: "Params", name: str, workspace: Path) -> str:
    """Say what the profile of a device is of: the device as it is, or as it was.

    A machine elsewhere is not asked: what was seen of it last counts.
    """
    from ofa_pipeline.latency import stale_reasons

    settings = params.device(name).card
    layout = Layout(workspace)
    folder = layout.latency(name)
    if not (folder / Layout.DEVICE_PROFILE).exists():
        return "none yet"
    try:
        found = _seen(params, name, workspace)
        reasons = stale_reasons(folder, settings, found=found)
    except DeviceError as error:
        return f"cannot be compared: {error}"
    except OfaPipelineError as error:
        return f"unreadable: {error}"
    if reasons:
        return f"{_STALE}{'; '.join(reasons)}"
    if settings.location is None:
        return "of this machine as it is"
    return f"measured elsewhere ({settings.location})"


def _seen(params: "Params", name: str, workspace: Path) -> DeviceCard | None:
    """Return what is known here of a device elsewhere; None of one that is here."""
    settings, store = params.device(name).card, ElsewhereStore(Layout(workspace), name)
    if settings.measured is not None:
        return card_of(store.result(settings.measured))
    return None if settings.location is None else store.seen(settings.location)


def _measured_here(params: "Params", name: str, workspace: Path) -> "MachineNoise":
    from ofa_pipeline.latency import measure_noise

    with Display(stderr) as display:
        return measure_noise(
            params.device(name).card,
            params.space.build(),
            num_classes=_num_classes(workspace),
            warmup_runs=params.latency.warmup_runs,
            timed_runs=params.latency.timed_runs,
            reporter=Reporter(lambda event: display.show("check", event)),
        )


def _measured_there(
    params: "Params", name: str, workspace: Path
) -> tuple[DeviceCard, "MachineNoise"]:
    from ofa_pipeline.latency import ElsewhereBench

    store = ElsewhereStore(
        Layout(workspace.resolve()), name, cluster=params.compute.fan_out.address
    )
    with Display(stderr) as display:
        return ElsewhereBench(
            store=store,
            settings=params.device(name).card,
            space=params.space.build(),
            num_classes=_num_classes(workspace),
            warmup_runs=params.latency.warmup_runs,
            timed_runs=params.latency.timed_runs,
            reporter=Reporter(lambda event: display.show("check", event)),
        ).check()


def _num_classes(workspace: Path) -> int:
    classes = Layout(workspace).dataset / Layout.CLASSES
    if not classes.exists():
        return _NUM_CLASSES
    remake = "ofa-pipeline stage prepare_dataset"
    return len(read_document(classes, ClassNames, remake=remake).class_names)


def _show_card(card: DeviceCard, name: str, state: str) -> None:
    shown = {**card.to_dict(), "fingerprint": card.fingerprint, "profile": state}
    for key, value in shown.items():
        stdout.print(f"{key}: {value}", **PLAIN)
    if state.startswith(_STALE):
        again = command("device", "profile", name)
        stdout.print(f"Next: make its profile again: {again}", **PLAIN)
    if card.governor not in (None, "performance"):
        stdout.print(
            f"warning: the governor {card.governor} changes the clock of the CPU while it "
            "measures. Set it to performance: cpupower frequency-set -g performance",
            style="yellow",
            **PLAIN,
        )


def _show_noise(noise: "MachineNoise") -> None:
    count = len(noise.measurements)
    lines = [
        "load: how busy the machine is cannot be seen"
        if noise.busy_cores is None
        else f"load: other programs keep {noise.busy_cores:.1f} of {noise.num_cores} cores busy",
        f"noise: {count} measurements of the largest subnet repeat to {noise.cv:.1%}; the machine "
        f"was hardly ever quiet during {noise.num_contended} of them",
    ]
    if noise.num_cold:
        lines.append(
            f"warm-up: calls still became faster when they were timed in {noise.num_cold} of them; "
            "let more of them pass: latency.warmup_runs in params.yaml"
        )
    for line in lines:
        stdout.print(line, **PLAIN)
    if noise.is_fit:
        stdout.print("fit to measure on", style="green", **PLAIN)
        return
    reason = (
        "other programs leave too few cores. Stop them, or wait"
        if noise.is_loaded
        else "measurements repeat badly. Measure when the machine is quiet, fix the clock of the "
        "CPU, or raise latency.timed_runs"
    )
    stdout.print(f"too noisy: {reason}", style="yellow", **PLAIN)


def _check_away(params: "Params", name: str, workspace: Path) -> int:
    """Say what was exported for a device, and what came back; return the exit code."""
    store = ElsewhereStore(Layout(workspace.resolve()), name)
    export = command("device", "export", name, "--to", "FOLDER")
    results = store.results()
    answered = {result.task.id for result in results}
    for task in store.tasks():
        state = "measured" if task.id in answered else "not measured yet"
        stdout.print(
            f"exported {task.id[:8]}: {len(task.networks)} measurements for {task.round}, {state}",
            **PLAIN,
        )
    for result in results:
        _show_result(result)
    settings = params.device(name).card
    if settings.measured is None:
        stdout.print(
            f"nothing was measured on {name} yet. Export a folder: {export}; there, in it: python "
            f"measure.py; then bring its result back: {command('device', 'import', name, 'FILE')}",
            style="yellow",
            **PLAIN,
        )
        return EXIT_AWAITED
    from ofa_pipeline.latency import QUIET_CV, noise_of

    profiled = store.result(settings.measured)
    _show_card(card_of(profiled), name, profile_state(params, name, workspace))
    noise = noise_of(measured(profiled))
    stdout.print(
        f"noise: {noise.num_measurements} measurements of {noise.num_subnets} subnets repeat to "
        f"{noise.cv:.1%}; the machine was hardly ever quiet during {noise.num_contended} of "
        f"{len(profiled.rows)}",
        **PLAIN,
    )
    if noise.cv <= QUIET_CV and 2 * noise.num_contended <= len(profiled.rows):
        return 0
    again = command("device", "export", name, "--to", "FOLDER", "--again")
    stdout.print(f"too noisy: measure once more when it is quiet: {again}", style="yellow", **PLAIN)
    return EXIT_ERROR


def _show_result(result: MeasuringResult) -> None:
    card = card_of(result)
    load = result.load
    busy = (
        f"; other programs kept {load.busy_cores:.1f} of {load.num_cores} cores busy"
        if load and load.busy_cores is not None
        else ""
    )
    stdout.print(
        f"result {result.task.id[:8]}: {len(result.rows)} measurements for {result.task.round} on "
        f"{card.hardware}, {card.runtime} {card.runtime_version}, fingerprint {card.fingerprint}"
        f"{busy}",
        **PLAIN,
    )
