"""The exceptions of the package.

::

    OfaPipelineError
    |-- ParamsError (ValueError)        a value in params.yaml or an option of a command
    |-- ArchError (ValueError)          an architecture that its search space does not hold
    |-- DatasetError (ValueError)       a data source that cannot be used
    |-- CheckpointError (ValueError)    a weight file that does not fit or cannot be read
    |   `-- StateDictError (RuntimeError)   a state dictionary that does not fit a module
    |-- MissingArtifactError            a file that an earlier stage writes
    |-- ManifestMismatchError           an artifact that does not match its manifest
    |-- WorkspaceBusyError              another run holds the workspace
    |-- InfeasibleConstraintError       no architecture meets the budget
    |-- NotEnoughBatchesError           an iterator of images that ended too early
    |-- TrainingDivergedError           a loss or a weight that is not finite
    |-- DeviceMemoryError               work that does not fit an accelerator
    |-- ExportError                     a file that answers otherwise than its network
    |-- DeviceError                     a device or runtime that is not usable here
    |   `-- MachineBusyError            others computed while latencies were measured
    |-- AwaitedError                    measurements of a device elsewhere that are not here yet
    |-- LaunchError                     a process of several that work together has failed
    |-- ClusterError                    a Ray cluster that cannot be used, or lost a worker
    |-- YamlError (ValueError)          a file that is no YAML of settings
    `-- RegistryError                   the model registry refused, or holds something foreign

A message says what must hold, what was found, where it came from, and what to do.
"""

import difflib
import reprlib
from collections.abc import Iterable


class OfaPipelineError(Exception):
    """Base of every error that a user can meet."""


class ParamsError(OfaPipelineError, ValueError):
    """A parameter has a wrong name, type or value."""


class ArchError(OfaPipelineError, ValueError):
    """An architecture does not belong to its search space."""


class DatasetError(OfaPipelineError, ValueError):
    """A data source or a prepared dataset cannot be used."""


class CheckpointError(OfaPipelineError, ValueError):
    """A weight file cannot be read, or does not fit the network."""


class StateDictError(CheckpointError, RuntimeError):
    """A state dictionary does not fit a network; a RuntimeError, as what torch raises is."""


class MissingArtifactError(OfaPipelineError):
    """A file that an earlier stage writes is not there."""


class ManifestMismatchError(OfaPipelineError):
    """An artifact does not match its manifest, or was made from other inputs."""


class WorkspaceBusyError(OfaPipelineError):
    """Another run holds the workspace."""


class InfeasibleConstraintError(OfaPipelineError):
    """No architecture meets the constraint."""


class NotEnoughBatchesError(OfaPipelineError):
    """An iterator of images ended before the work was done."""


class TrainingDivergedError(OfaPipelineError):
    """A loss or a weight became infinite or not a number."""


class DeviceMemoryError(OfaPipelineError):
    """An accelerator has less memory than a piece of work needs."""


class LaunchError(OfaPipelineError):
    """Work that is spread over several processes has failed, because one of them did."""


class ClusterError(OfaPipelineError):
    """A Ray cluster does not answer, does not fit this machine, or has lost a worker too often."""


class NodeLostError(ClusterError):
    """A node of a cluster died while it worked."""


class ExportError(OfaPipelineError):
    """An exported file does not answer as the network that it was made from."""


class DeviceError(OfaPipelineError):
    """A device or a runtime is unknown, missing or failing."""


class MachineBusyError(DeviceError):
    """Others computed while latencies were measured: they say nothing."""


class AwaitedError(OfaPipelineError):
    """Nothing is wrong, but what is measured elsewhere is not here yet."""


class YamlError(OfaPipelineError, ValueError):
    """A YAML file cannot be read, or is deeper or longer than settings ever are."""


class RegistryError(OfaPipelineError):
    """The model registry cannot be reached, or does not hold what it should."""


MAX_SHOWN = 80
"""Characters of a value in a message."""

_MAX_LISTED = 10


def shorten(text: str, limit: int = MAX_SHOWN) -> str:
    """Return a text of at most about `limit` characters: its two ends, and how much is left out."""
    if len(text) <= limit:
        return text
    end = limit // 3
    return f"{text[: limit - end]} ... ({len(text) - limit:,} more) ... {text[-end:]}"


def shown(value: object) -> str:
    """Return a value as a message shows it: as Python writes it, but never long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = MAX_SHOWN
    short.maxlevel, short.maxlist, short.maxtuple, short.maxdict, short.maxset = 3, 5, 5, 5, 5
    try:
        return shorten(short.repr(value), 2 * MAX_SHOWN)
    except ValueError:  # an integer of thousands of digits
        return f"a very large {type(value).__name__}"


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name: the nearest known ones, or all of them when few.

    Args:
        name: What the user wrote.
        known: What would have been right.

    Returns:
        A sentence that starts with a space, or an empty string when nothing is known.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name[:MAX_SHOWN], names, n=3)
    if near:
        return f" Did you mean {' or '.join(shown(item) for item in near)}?"
    if names and len(names) <= _MAX_LISTED:
        return f" Known: {', '.join(shorten(item) for item in names)}."
    return ""
