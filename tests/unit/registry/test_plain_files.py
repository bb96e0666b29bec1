"""Nothing in a bundle leads out of it: names, links, folders."""

import json
import re
import shutil
from pathlib import Path

import pytest

from ofa_pipeline.cli.chosen import default_folder
from ofa_pipeline.errors import ManifestMismatchError, RegistryError
from ofa_pipeline.registry import RegisteredSubnet, certify_bundle
from ofa_pipeline.registry.plain_files import is_plain_name, plain_files
from ofa_pipeline.specialize import Classifier
from tests.support.certified import write_certified_bundle
from tests.support.registry import CLASS_NAMES, digest_of, subnet_record, write_bundle

NAMES = ["../x", "/etc/passwd", "a/b", "..\\x", "C:x", "a\0b", "..", ".", "", "a\nb"]


@pytest.fixture
def bundle(tmp_path):
    return write_certified_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("name", NAMES)
def test_name_that_leads_elsewhere_is_none(name):
    assert not is_plain_name(name)


@pytest.mark.parametrize("name", ["model.onnx", "a name", ".hidden", "a..b", "größe"])
def test_other_names_are_fine(name):
    assert is_plain_name(name)


def put_into(bundle, place, name):
    """Put a name of a file into a document of a bundle; as a key, or as the value of one."""
    document, *keys = place
    values = json.loads((bundle / document).read_text())
    part = values
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1] or name] = "0" * 64 if not keys[-1] else name
    (bundle / document).write_text(json.dumps(values))


PLACES = [
    ("card.json", "files", ""),
    ("card.json", "latency", "cpu", "file"),
    ("card.json", "accuracy", "evaluated_file"),
    ("subnet.json", "runs", "file"),
]


@pytest.mark.parametrize("place", PLACES)
def test_document_that_names_a_file_elsewhere_is_refused_on_every_way(
    registry, tmp_path, bundle, place
):
    record = subnet_record(bundle_digest=digest_of(bundle))
    registered = registry.register(record, bundle)
    put_into(bundle, place, "../x")
    message = rf"{place[0]} must name files of the bundle, found '\.\./x'"
    with pytest.raises(RegistryError, match=message):
        certify_bundle(bundle)
    changed = subnet_record(bundle_digest=digest_of(bundle))
    with pytest.raises(RegistryError, match=message):
        registry.register(changed, bundle)
    [kept] = (tmp_path / "workspace" / "mlruns").rglob("card.json")
    shutil.copyfile(bundle / place[0], kept.with_name(place[0]))
    altered = RegisteredSubnet(record=changed, version=registered.version)
    with pytest.raises(RegistryError, match=message):
        registry.download(altered, tmp_path / "copy")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_code_refuses_the_same_names(bundle, name):
    put_into(bundle, PLACES[0], name)
    with pytest.raises(ManifestMismatchError, match=r"card\.json must name files of the bundle"):
        Classifier(bundle)


@pytest.mark.parametrize("name", NAMES[:6])
def test_card_that_names_a_file_elsewhere_is_refused(bundle, tmp_path, name):
    (tmp_path / "x").write_text("a file of somebody else")
    card = json.loads((bundle / "card.json").read_text())
    card["files"][name] = "0" * 64
    (bundle / "card.json").write_text(json.dumps(card))
    with pytest.raises(RegistryError, match="must name files of the bundle"):
        certify_bundle(bundle)


def link(path, outside):
    path.symlink_to(outside)


def folder(path, _):
    path.mkdir()
    (path / "__init__.py").write_text("raise SystemExit")


@pytest.mark.parametrize(("put", "kind"), [(link, "a link"), (folder, "a folder")])
def test_bundle_with_a_link_or_a_folder_is_refused_on_every_way(
    registry, tmp_path, bundle, put, kind
):
    outside = tmp_path / "outside"
    outside.write_text("secret")
    put(bundle / "numpy", outside)  # beside classify.py, which imports a module of that name
    with pytest.raises(RegistryError, match=kind):
        certify_bundle(bundle)
    with pytest.raises(RegistryError, match=kind):
        registry.register(subnet_record(), bundle)


def test_what_was_put_into_a_registered_bundle_is_refused(registry, tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    subnet = registry.register(subnet_record(bundle_digest=digest_of(bundle)), bundle)
    registry.download(subnet, tmp_path / "before")
    [kept] = (tmp_path / "workspace" / "mlruns").rglob("classify.py")
    (kept.parent / "numpy").mkdir()
    (kept.parent / "numpy" / "__init__.py").write_text("raise SystemExit")
    with pytest.raises(RegistryError, match="plain files and nothing else, found 'numpy'"):
        registry.download(subnet, tmp_path / "after")


def test_cache_of_python_beside_a_pulled_bundle_is_fine(bundle):
    (bundle / "__pycache__").mkdir()
    certify_bundle(bundle)
    with pytest.raises(RegistryError, match="a folder"):
        plain_files(bundle, source="x")
    shutil.rmtree(bundle / "__pycache__")
    assert list(plain_files(bundle, source="x")) == sorted(path.name for path in bundle.iterdir())


def test_name_of_a_model_cannot_choose_where_it_is_pulled_to():
    subnet = RegisteredSubnet(record=subnet_record(model_name="../../home/x"), version=1)
    with pytest.raises(RegistryError, match="Name the folder"):
        default_folder(subnet)


def test_page_on_security_classifies_with_the_onnx_file_alone(
    bundle, tmp_path, monkeypatch, capsys
):
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "phone").mkdir()
    for name in ("model.onnx", "subnet.json"):
        shutil.copyfile(bundle / name, tmp_path / "phone" / name)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "security.md", "exec"), {})
    assert capsys.readouterr().out.strip() in CLASS_NAMES
