"""The ``classify.py`` of a bundle: one file, made from the modules of this package."""

import ast
import importlib
import inspect
from types import ModuleType

from ofa_pipeline import devices
from ofa_pipeline import errors as package_errors
from ofa_pipeline.specialize import classify


def classify_code() -> str:
    """Return the ``classify.py`` that ships: it needs numpy, Pillow and the device's runtime.

    It is `ofa_pipeline.specialize.classify` with the modules of the package that it imports where
    it imports them, so that images are decoded by one set of rules. Of the runtimes it holds
    the classes that run their files; the errors of the package become plain classes.
    """
    modules: list[ModuleType] = []
    errors: set[str] = set()
    _collect(classify, modules, errors)
    classes = "".join(
        f'class {name}(ValueError):\n    """{getattr(package_errors, name).__doc__}"""\n\n\n'
        for name in sorted(errors)
    )
    *others, last = modules
    sources = [_source(module) for module in others]
    return _source(last, put=classes + "\n".join([*sources, devices.shipped_source()]))


def _collect(module: ModuleType, modules: list[ModuleType], errors: set[str]) -> None:
    """Collect a module, after those of the package that it imports, and the errors they raise."""
    for node in _imports(module):
        if node.module == package_errors.__name__:
            errors.update(name.name for name in node.names)
        elif node.module != devices.__name__:
            found = importlib.import_module(str(node.module))
            if found not in modules:
                _collect(found, modules, errors)
    modules.append(module)


def _source(module: ModuleType, *, put: str = "") -> str:
    """Return a module's source without its imports of the package.

    Args:
        module: Imports from the package at its top level only, with ``from MODULE import NAME``.
        put: What stands where the first of these imports stood.
    """
    lines = inspect.getsource(module).splitlines(keepends=True)
    for node in _imports(module):
        last = node.end_lineno or node.lineno
        lines[node.lineno - 1 : last] = [put] + [""] * (last - node.lineno)
        put = ""
    return "".join(lines)


def _imports(module: ModuleType) -> list[ast.ImportFrom]:
    return [
        node
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ofa_pipeline.")
    ]
