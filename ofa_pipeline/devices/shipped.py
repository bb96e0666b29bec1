"""What bundles carry of the runtimes: the classes that run their files."""

import inspect

from ofa_pipeline.devices.runtime import RunningNetwork, file_in
from ofa_pipeline.devices.runtimes import find_runtime, runtime_names

FIRST_RUNTIME = "onnxruntime"
"""What runs a bundle whose ``subnet.json`` does not say it: those that were written first."""
_BEFORE = '''
from collections.abc import Callable
from typing import ClassVar

CODE_FOLDER = Path(__file__).resolve().parent
Images = NDArray[np.float32]
RunningNetwork = Any
_NETWORK_CLASSES: dict[str, Any] = {}


def network_classes() -> dict[str, Any]:
    """Return what runs the file of a bundle, by runtime."""
    return _NETWORK_CLASSES


'''


def network_classes() -> dict[str, type[RunningNetwork]]:
    """Return what runs the file of a bundle, by runtime."""
    return {name: find_runtime(name).network for name in runtime_names()}


def shipped_source() -> str:
    """Return the source that stands in a bundle's ``classify.py`` for the import of this package.

    It needs `Any`, `NDArray`, `Path` and `np` before it.
    """
    classes = (
        f"{inspect.getsource(network)}\n\n_NETWORK_CLASSES[{name!r}] = {network.__name__}\n\n\n"
        for name, network in network_classes().items()
    )
    return f"{_BEFORE.lstrip()}{inspect.getsource(file_in)}\n\n{''.join(classes)}"
