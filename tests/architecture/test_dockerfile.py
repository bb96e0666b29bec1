"""The Dockerfile takes what is there, nothing else, and ends as a user of its own."""

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
LINES = [line.split() for line in TEXT.splitlines() if line and not line.startswith("#")]
COPIED = [
    source
    for words in LINES
    if words[0] == "COPY" and "--from=build" not in words
    for source in words[1:-1]
]


def is_sent(name):
    """Whether Docker gets a file: the last pattern that fits decides; one fits what lies below."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").rstrip("/").replace("**/", "*")
        if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, f"{pattern}/*"):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_is_there_and_sent(source):
    assert (ROOT / source).exists()
    assert is_sent(source)


def test_what_the_wheel_is_built_of_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    first, second = (ROOT / "MANIFEST.in").read_text().splitlines()
    data = {*first.split()[1:], second.split()[1]}
    needed = {*(name.rstrip("*") for name in packages), *data}
    assert needed | {"pyproject.toml", "setup.py", "README.md", "LICENSE"} <= set(COPIED)


@pytest.mark.parametrize(
    "name",
    [
        *("artifacts/dataset/classes.json", "mlflow.db", ".env", ".venv/bin/python", ".git/config"),
        *(".dvc/config.local", ".dvc/cache/x", "ofa_pipeline/__pycache__/errors.pyc", "scratch/x"),
    ],
)
def test_what_a_run_or_a_user_leaves_there_is_not_sent(name):
    assert not is_sent(name)


def test_uv_is_that_of_the_makefile():
    wanted = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert ["ARG", f"UV_VERSION={wanted}"] in LINES


def test_python_is_one_that_the_package_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert ["ARG", f"PYTHON_VERSION={project['requires-python'].removeprefix('>=')}"] in LINES


def test_it_ends_as_a_user_of_its_own_and_builds_for_a_cpu_unless_told():
    assert [words[1] for words in LINES if words[0] == "USER"] == ["1000"]
    assert ["ARG", "TORCH_BACKEND=cpu"] in LINES
