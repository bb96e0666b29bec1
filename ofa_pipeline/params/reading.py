"""Read params.yaml and check it."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from ofa_pipeline.errors import ParamsError, YamlError
from ofa_pipeline.explain import explain
from ofa_pipeline.params.whole import Params
from ofa_pipeline.yaml_reader import read_yaml


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: If the file is missing, is not YAML, or a value is wrong; the message names
            every wrong value, what was found and what must hold.
    """
    try:
        values = read_yaml(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ParamsError(
            f"{path} is missing. Run in the project's folder, or name it with --workspace."
        ) from error
    except YamlError as error:
        raise ParamsError(str(error)) from error
    if values is None:
        raise ParamsError(f"{path} must hold sections such as dataset and space, it is empty.")
    return parse_params(values, origin=str(path))


def parse_params(values: object, *, origin: str) -> Params:
    """Check values as params.yaml holds them.

    Args:
        values: What the YAML parser returned.
        origin: Where they come from, for the error message.

    Raises:
        ParamsError: If a value is wrong.
    """
    try:
        return Params.model_validate(_lists_to_tuples(values))
    except ValidationError as error:
        raise ParamsError(f"{origin}: {explain(error, Params, values=values)}") from error


def _lists_to_tuples(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _lists_to_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_lists_to_tuples(item) for item in value)
    return value
