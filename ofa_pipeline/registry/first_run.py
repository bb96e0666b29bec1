"""What a file takes before its first answer, as people read it on the pages of a subnet."""

from ofa_pipeline.documents import DeviceCertificate, LatencyMeasurement

NOT_MEASURED = "not measured"


def first_run_rows(found: DeviceCertificate | LatencyMeasurement) -> tuple[tuple[str, str], ...]:
    """Return name and text of each figure; of what was not measured, those words.

    Certificates of earlier versions have none of them, and no system but Linux tells memory.
    """
    memory = _shown(found.peak_memory_mb, "MB")
    if found.network_memory_mb is not None:
        memory += (
            f" with Python and the runtime, of it {found.network_memory_mb:.3g} MB for the network"
        )
    return (
        ("opening the file", _shown(found.load_ms, "ms")),
        ("first call", _shown(found.first_call_ms, "ms")),
        ("peak memory", memory),
    )


def _shown(value: float | None, unit: str) -> str:
    return NOT_MEASURED if value is None else f"{value:.3g} {unit}"
