"""A wheel works without a clone: all files are in it, and a workspace starts from them."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STARTED_FROM = ("params.yaml", "dvc.yaml", ".dvc/config", ".dvcignore")
BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_wheel(sys.argv[1]))
"""

pytestmark = pytest.mark.slow


def files_of_repository():
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the repository: a build leaves files behind."""
    copy = tmp_path_factory.mktemp("copy")
    for name in files_of_repository():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-c", BUILD, folder], cwd=copy, check=True, capture_output=True)
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A new environment with the wheel; what it depends on is borrowed from the present one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "pip", "install", "--no-deps", "--no-index", "--python", folder / "bin/python"]
    subprocess.run([*install, wheel], check=True, capture_output=True)
    return folder


def run(installed, *words, folder):
    """Run a command of the new environment where nothing of the clone is to be found."""
    environment = {**os.environ, "PATH": f"{installed / 'bin'}:/usr/bin:/bin"}
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    found = subprocess.run(
        [installed / "bin" / words[0], *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = {
        name for name in files_of_repository() if name.startswith(("ofa_pipeline/", "flows/"))
    }
    start = {name for name in files_of_repository() if name.startswith("presets/")} | {
        *STARTED_FROM
    }
    assert shipped == tracked | {f"ofa_pipeline/workspace_files/{name}" for name in start}


def test_workspace_starts_from_what_is_in_the_wheel(installed, tmp_path):
    run(installed, "ofa-pipeline", "init", "mine", folder=tmp_path)
    for name in STARTED_FROM:
        assert (tmp_path / "mine" / name).read_bytes() == (ROOT / name).read_bytes()
    [packages] = installed.glob("lib/python*/site-packages")
    assert (tmp_path / "mine" / "ofa_pipeline").resolve() == (packages / "ofa_pipeline").resolve()
    checked = run(
        installed, "ofa-pipeline", "params", "check", "--workspace", "mine", folder=tmp_path
    )
    assert "fashion_mnist_sample: 12,000 rows" in checked


def test_presets_are_in_the_wheel(installed, tmp_path):
    run(installed, "ofa-pipeline", "init", "big", "--preset", "resnet50", folder=tmp_path)
    assert "ofa_resnet50" in (tmp_path / "big" / "params.yaml").read_text()


def test_flows_and_hub_code_come_from_the_wheel(installed, tmp_path):
    names = "ofa_pipeline.reference.hub, flows.pipeline, flows.serve, flows.devices"
    code = (
        f"import {names}, sys; print(*(sys.modules[n].__file__ for n in ('ofa_pipeline', 'flows')))"
    )
    for path in run(installed, "python", "-c", code, folder=tmp_path).split():
        assert Path(path).is_relative_to(installed)
