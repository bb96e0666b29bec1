"""Names of files in artifacts and bundles are written down once, in `Layout`."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"[\w*-]*\w\.(json|parquet|safetensors|npz|html)")
ELSEWHERE = {
    # code that runs where the package is not installed
    "ofa_pipeline/specialize/classify.py": {"subnet.json"},
    "ofa_pipeline/specialize/shipped_checks.py": {"card.json"},
    "ofa_pipeline/registry/pyfunc_model.py": {"card.json"},
    # notes in scratch, which one module writes and reads
    "ofa_pipeline/integrity.py": {"digests.json"},
    "ofa_pipeline/launching/mailbox.py": {"request.json"},
    "ofa_pipeline/specialize/build.py": {"facts.json", "seal.json"},
    "ofa_pipeline/training/checkpoint.py": {"checkpoint.safetensors"},
    # what a runtime brings, and what the package ships
    "ofa_pipeline/devices/runtimes/pytorch.py": {"network.safetensors"},
    "ofa_pipeline/data/sources/__init__.py": {"fashion_mnist_sample.parquet"},
    "ofa_pipeline/preflight/source.py": {"fashion_mnist_sample.parquet"},
    "ofa_pipeline/reference/zoo/catalogue.py": {"catalogue.json"},
    # the output of a command that needs no workspace
    "ofa_pipeline/reference/offline/search.py": {"estimated_picks.json"},
    # a script that goes where this package is not
    "ofa_pipeline/devices/exported.py": {"manifest.json"},
    # an example in a help text
    "ofa_pipeline/cli/checkpoints.py": {"FILE.safetensors"},
}
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("ofa_pipeline", "flows")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "layout.py"
)


def names_in(path):
    tree = ast.parse((ROOT / path).read_text())
    values = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in values if isinstance(value, str) and NAME.fullmatch(value)}


def test_no_file_of_an_artifact_is_named_outside_of_the_layout():
    found = {path: names for path in FILES if (names := names_in(path))}
    assert found == ELSEWHERE
