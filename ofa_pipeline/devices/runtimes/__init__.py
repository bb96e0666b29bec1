"""The runtimes, one file each: a runtime is called as its file, and a new file is a new runtime."""

from importlib import import_module

from ofa_pipeline.devices.runtime import Runtime
from ofa_pipeline.errors import DeviceError, suggest
from ofa_pipeline.parts import part_names

__all__ = ["find_runtime", "runtime_names"]


def runtime_names() -> tuple[str, ...]:
    """Return the names of all runtimes, in alphabetical order."""
    return part_names("devices/runtimes")


def find_runtime(name: str) -> type[Runtime]:
    """Return a runtime by its name.

    Raises:
        DeviceError: If there is no such runtime; the message names those that there are.
    """
    known = runtime_names()
    if name not in known:
        raise DeviceError(
            f"runtime of a device must be one of {', '.join(known)}, got {name!r}."
            f"{suggest(name, known)}"
        )
    runtime: type[Runtime] = import_module(f"{__name__}.{name}").RUNTIME
    return runtime
