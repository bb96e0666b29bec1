"""The params that a stage is given: the sections that it declares, and no others."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, cast

from ofa_pipeline.errors import ParamsError

if TYPE_CHECKING:
    from ofa_pipeline.params import Params


def declared_params(params: "Params", sections: Sequence[str], *, stage: str) -> "Params":
    """Return the declared sections of params.yaml; asking for another one is an error.

    So whatever a stage reads is in ``dvc.yaml``, and a change of it runs the stage again.

    Args:
        params: All of them.
        sections: Dotted names, such as ``phases.kernel``.
        stage: Whose declaration it is, for the error message.
    """
    declared = (
        f"stage {stage} is given {', '.join(sections) or 'nothing'} of params.yaml, it asked for "
    )
    paths = [tuple(name.split(".")) for name in sections]
    return cast("Params", _only(params, paths, declared))


class _Given:
    """Some values of a section under their names."""

    def __init__(self, values: Mapping[str, object], declared: str) -> None:
        self.__dict__.update(values)
        self._declared = declared

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ParamsError(
            f"{self._declared}{name}. Declare the section in STAGES "
            "(ofa_pipeline/stages/table.py) and in dvc.yaml, so that a change of it runs the "
            "stage again."
        )


def _only(value: object, paths: Sequence[tuple[str, ...]], declared: str) -> object:
    """Return what of a value lies at the paths: all of it at an empty one."""
    if () in paths:
        return value
    inner: dict[str, list[tuple[str, ...]]] = {}
    for head, *rest in paths:
        inner.setdefault(head, []).append(tuple(rest))
    whole = value if isinstance(value, Mapping) else vars(value)
    values = {head: _only(whole[head], rest, f"{declared}{head}.") for head, rest in inner.items()}
    return values if isinstance(value, Mapping) else _Given(values, declared)
