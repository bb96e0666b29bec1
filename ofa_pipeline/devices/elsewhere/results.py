"""What comes back from elsewhere: whether it can be trusted, and the latencies in it."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ofa_pipeline.artifacts import digest_json
from ofa_pipeline.devices.fresh_load import FreshLoad
from ofa_pipeline.devices.meter import (
    Comparison,
    Visit,
    comparisons_of,
    quiet_reference_ms,
    summarize,
)
from ofa_pipeline.devices.meter import Session as Measured
from ofa_pipeline.documents import (
    DeviceCard,
    LatencyMeasurement,
    MachineElsewhere,
    MeasuredRow,
    MeasuringResult,
    MeasuringTask,
    ProfiledOn,
    Session,
    read_document,
)
from ofa_pipeline.documents import Visit as VisitElsewhere
from ofa_pipeline.errors import DeviceError, ManifestMismatchError, shorten

LEAST_MS = 1e-3
"""A call of Python and a runtime takes more."""
MOST_MS = 6e5
MOST_MACS_PER_MS = 1e12
"""No accelerator of today computes a quadrillion multiply-accumulates a second."""
MAX_CPU_SHARE = 1.2
"""Of the wall time, the CPU time of one thread; above 1 by no more than the clocks differ."""
MOST_BYTES = 2**50
"""No machine of today has a pebibyte of memory."""
COUNTED_LATE_BYTES = 2**26
"""The kernel's counts of resident memory lag behind by at most this."""
MIN_DIFFERING = 3
"""Two networks may take the same time by a coarse clock; more all of them, not."""
MIN_CALLS = 20
"""No two networks take the same in each of as many calls."""
_MAX_NAMED = 3


def read_result(path: Path) -> MeasuringResult:
    """Read the file that the measuring script wrote.

    Raises:
        MissingArtifactError: If it is not there.
        ManifestMismatchError: If it is no such file, is of another version, or was edited.
    """
    result = read_document(path, MeasuringResult, remake="python measure.py")
    values = json.loads(path.read_text(encoding="utf-8"))
    stated = values.pop("digest")
    if digest_json(values) != stated:
        raise ManifestMismatchError(
            f"{path} must be as the measuring script wrote it, but was changed afterwards: its "
            "digest is not that of its content. Bring the file again, or measure again."
        )
    return result


def check_result(result: MeasuringResult, task: MeasuringTask, *, path: Path) -> None:
    """Check that a result answers a task, wholly, from one machine, with times that can be.

    Args:
        result: What came back.
        task: What was exported.
        path: The file, for messages.

    Raises:
        ManifestMismatchError: If not; says what is wrong, of which network, and what to do.
        DeviceError: If the runtime there cannot run a network.
    """
    if result.task != task:
        raise ManifestMismatchError(
            f"{path} must answer what was exported as {task.id[:12]}, but its manifest says "
            "something else. Measure in the folder as it was exported."
        )
    rows = {row.key: row for row in result.rows}
    _check_whole(Counter(row.key for row in result.rows), task, path)
    _check_one_machine(result, path)
    _check_profiled(result, path)
    for network in task.networks:
        row = rows[network.key]
        if row.sha256 != network.sha256 or row.task != task.id:
            raise ManifestMismatchError(
                f"{path}: what was measured as {network.key!r} must be the file "
                f"{network.sha256[:12]} that was exported, it is {row.sha256[:12]}. Copy the whole "
                "folder again and measure again."
            )
        if row.error is not None:
            raise DeviceError(
                f"{path}: {task.card.runtime} {result.card.runtime_version} cannot run the network "
                f"{network.key!r} there: {shorten(row.error, 500)}. Mend that there and run "
                "measure.py again, which tries it once more; use another version of the runtime; "
                "or leave what it does not know out of the space."
            )
        if not row.sessions:
            raise ManifestMismatchError(
                f"{path} must hold the times of {network.key!r}, or what its runtime said, but "
                "holds neither. Run measure.py in the folder again, or measure anew: --again"
            )
        _check_loads(row, f"{path}: {network.key!r}")
        for session in row.sessions:
            _check_times(session, network.macs * task.card.batch_size, f"{path}: {network.key!r}")
    _check_differ(result, path)


def card_of(result: MeasuringResult) -> DeviceCard:
    """Return the card of the device that measured."""
    return _card(result.task, result.card)


def card_said(said: str, task: MeasuringTask) -> DeviceCard:
    """Return the card of a device from what the script says of its machine.

    Args:
        said: What ``measure.py --card`` printed.
        task: Of the folder that it is in.

    Raises:
        DeviceError: If it is no such thing.
    """
    try:
        machine = MachineElsewhere.model_validate_json(said)
    except ValueError as error:
        raise DeviceError(
            f"{task.device} must say what it is, but says: {shorten(said, 300)!r}. Look at what "
            "python names in the device's card."
        ) from error
    return _card(task, machine)


def profiled_on(card: DeviceCard) -> ProfiledOn:
    """Return what a machine must be to count as that of a profile."""
    return ProfiledOn(
        runtime_version=card.runtime_version,
        hardware=card.hardware,
        governor=card.governor,
        driver=card.driver,
        cores=card.cores,
    )


def measured(
    result: MeasuringResult, *, reference_ms: float | None = None
) -> Mapping[str, LatencyMeasurement]:
    """Return the latency of each network, by key, computed as on this machine.

    Args:
        result: What came back, checked.
        reference_ms: Latency of the reference network on the quiet machine, from the profile;
            None: what the result itself says of it.
    """
    sessions = {row.key: [_session(one) for one in row.sessions] for row in result.rows}
    if reference_ms is None:
        before_ms = [
            [one.before.latency_ms for one in comparisons_of(each)] for each in sessions.values()
        ]
        reference_ms = quiet_reference_ms([float(np.quantile(each, 0.1)) for each in before_ms])
    loads = {row.key: _loads(row) for row in result.rows}
    return {key: summarize(each, loads[key], reference_ms) for key, each in sessions.items()}


def _card(task: MeasuringTask, machine: MachineElsewhere) -> DeviceCard:
    return DeviceCard(
        **dict(task.card),
        runtime_version=machine.runtime_version,
        hardware=machine.hardware,
        governor=machine.governor,
        driver=machine.driver,
        cores=machine.cores,
    )


def _check_whole(counts: Mapping[str, int], task: MeasuringTask, path: Path) -> None:
    wanted = [network.key for network in task.networks]
    if repeated := [key for key, count in counts.items() if count > 1]:
        raise ManifestMismatchError(
            f"{path} must hold each network once, but holds several times {_some(repeated)}. Bring "
            "the file as the script wrote it, or measure anew: --again"
        )
    if missing := [key for key in wanted if key not in counts]:
        raise ManifestMismatchError(
            f"{path} must hold all of {len(wanted)} networks, but {len(missing)} are missing: "
            f"{_some(missing)}. Run measure.py in the folder again: it goes on where it was."
        )
    if unknown := [key for key in counts if key not in wanted]:
        raise ManifestMismatchError(
            f"{path} holds networks that nobody asked for: {_some(unknown)}"
        )


def _check_one_machine(result: MeasuringResult, path: Path) -> None:
    if any(row.card != result.card for row in result.rows):
        first, *others = [card.to_dict() for card in [result.card, *(r.card for r in result.rows)]]
        differing = sorted({key for other in others for key in first if other[key] != first[key]})
        raise ManifestMismatchError(
            f"{path} must come from one machine, but its rows come from several, which differ in "
            f"{', '.join(differing)}. Measure all of them on one: python measure.py --again"
        )


def _check_profiled(result: MeasuringResult, path: Path) -> None:
    profiled, device = result.task.profiled_on, result.task.device
    if profiled is None:
        return
    was, found = profiled.to_dict(), result.card.to_dict()
    differing = [
        f"{key}: {found.get(key)}, not {was[key]}" for key in was if found.get(key) != was[key]
    ]
    if differing:
        raise ManifestMismatchError(
            f"{path} must come from the machine of the profile of {device}, but differs in "
            f"{', '.join(differing)}. Measure there, or profile the device again: "
            f"ofa-pipeline device profile {device} --again"
        )


def _check_loads(row: MeasuredRow, where: str) -> None:
    loads = [(one.load_ns, one.first_call_ns) for one in (*row.sessions, row.alone) if one]
    for load in loads:
        for what, ns in zip(("opening the file", "the first call"), load, strict=True):
            if ns > 1e6 * MOST_MS:
                raise ManifestMismatchError(
                    f"{where}: impossible times: {what} must take {MOST_MS:g} ms at most, found "
                    f"{ns / 1e6:g}. Measure again."
                )
    if row.alone is None or row.alone.peak_bytes is None:
        return
    before, peak = row.alone.resident_bytes or 0, row.alone.peak_bytes
    if not before - COUNTED_LATE_BYTES <= peak <= MOST_BYTES:
        raise ManifestMismatchError(
            f"{where}: impossible memory: the most must be {before:,} bytes, as many as before, to "
            f"{MOST_BYTES:,}, found {peak:,}. Measure again."
        )


def _check_times(session: Session, macs: int, where: str) -> None:
    if len(session.reference) != len(session.network) + 1:
        raise ManifestMismatchError(
            f"{where}: visits to the reference must stand before and after each visit to the "
            f"network, found {len(session.reference)} and {len(session.network)}"
        )
    for visit, work in (
        *((visit, macs) for visit in session.network),
        *((visit, 0) for visit in session.reference),
    ):
        ms = np.array(visit.ns) / 1e6
        fault = ""
        if not LEAST_MS <= ms.min() <= ms.max() <= MOST_MS:
            fault = f"a call must take {LEAST_MS:g} to {MOST_MS:g} ms, found {ms.min():g}"
        elif work > MOST_MACS_PER_MS * ms.min():
            fault = f"{work:,} multiply-accumulates cannot be done in {ms.min():g} ms"
        elif visit.cpu_ns is not None and visit.cpu_ns > MAX_CPU_SHARE * np.mean(visit.ns) + 1e4:
            fault = (
                f"a call of {ms.mean():g} ms cannot take {visit.cpu_ns / 1e6:g} ms of CPU time on "
                "one thread"
            )
        if fault:
            raise ManifestMismatchError(f"{where}: impossible times: {fault}. Measure again.")


def _check_differ(result: MeasuringResult, path: Path) -> None:
    """Check that other networks took other times, as they do by any clock that runs."""
    macs = {network.key: network.macs for network in result.task.networks}
    rows = list({row.sha256: row for row in result.rows}.values())  # one of each file
    p50_ms = [float(np.median(_network_ns(row))) / 1e6 for row in rows]
    if len(rows) >= MIN_DIFFERING and len(set(p50_ms)) == 1:
        least, most = (limit(macs[row.key] for row in rows) for limit in (min, max))
        raise ManifestMismatchError(
            f"{path}: impossible times: {len(rows)} networks of {least:,} to {most:,} "
            f"multiply-accumulates must take different times, but each took {p50_ms[0]:g} ms "
            "exactly. Its clock stands, or somebody wrote it. Measure again: "
            "python measure.py --again"
        )
    seen: dict[tuple[int, ...], str] = {}
    for row in rows:
        calls = tuple(_network_ns(row))
        other = seen.setdefault(calls, row.key)
        if other != row.key and len(calls) >= MIN_CALLS and len(set(calls)) > 1:
            raise ManifestMismatchError(
                f"{path}: impossible times: the {len(calls)} calls of {row.key!r} must be its "
                f"own, but are those of {other!r}. Measure again: python measure.py --again"
            )


def _network_ns(row: MeasuredRow) -> list[int]:
    return [ns for session in row.sessions for visit in session.network for ns in visit.ns]


def _loads(row: MeasuredRow) -> list[FreshLoad]:
    """Return the load alone; those of the sessions where an earlier version noted no other."""
    if row.alone is None:
        return [FreshLoad(one.load_ns, one.first_call_ns, None, None) for one in row.sessions]
    return [FreshLoad(**dict(row.alone))]


def _session(session: Session) -> Measured:
    turns = zip(session.reference[:-1], session.network, session.reference[1:], strict=True)
    comparisons = [
        Comparison(_visit(before), _visit(network), _visit(after))
        for before, network, after in turns
    ]
    return Measured(is_warm=session.is_warm, comparisons=comparisons)


def _visit(visit: VisitElsewhere) -> Visit:
    cpu_ms = None if visit.cpu_ns is None else visit.cpu_ns / 1e6
    return Visit(np.array(visit.ns) / 1e6, cpu_ms)


def _some(keys: list[str]) -> str:
    named = ", ".join(repr(shorten(key)) for key in keys[:_MAX_NAMED])
    return named + (" and others" if len(keys) > _MAX_NAMED else "")
