"""The stage that sees that images changed under an unchanged path."""

import os

import pytest

from ofa_pipeline.artifacts import Layout, Manifest, verify_artifact
from ofa_pipeline.errors import DatasetError
from ofa_pipeline.params import parse_params
from ofa_pipeline.progress import Reporter
from ofa_pipeline.stages import StageContext, run_stage
from tests.support.images import write_image_folder
from tests.unit.stages.test_prepare_dataset import VALUES


@pytest.fixture
def pets(tmp_path):
    return write_image_folder(tmp_path / "pets", images_a_class=20)


def run(root, stage="list_source", *, source="image_folder:pets"):
    """Run a stage; return its digest and what it said."""
    lines = []
    values = {**VALUES, "dataset": {**VALUES["dataset"], "source": source, "image_size_px": 8}}
    context = StageContext(
        layout=Layout(root),
        params=parse_params(values, origin="a test"),
        reporter=Reporter(lambda event: lines.append(event.label) if not event.total else None),
    )
    return verify_artifact(run_stage(stage, context)).digest, "\n".join(lines)


def touch(path, ns=1):
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + ns))


def test_the_first_listing_says_how_many_files_there_are(tmp_path, pets):
    assert run(tmp_path)[1] == "40 files"


def test_unchanged_files_give_the_same_artifact(tmp_path, pets):
    before, _ = run(tmp_path)
    after, text = run(tmp_path)
    assert (before, text) == (after, "40 files, unchanged")


def test_changes_are_counted_and_named(tmp_path, pets):
    before, _ = run(tmp_path)
    (pets / "cat" / "new.png").write_bytes(b"new")
    (pets / "dog" / "00.png").unlink()
    touch(pets / "dog" / "01.png")
    after, text = run(tmp_path)
    assert before != after
    assert text == (
        "40 files: 1 added (cat/new.png), 1 removed (dog/00.png), 1 changed (dog/01.png)"
    )


def test_another_source_is_not_compared_with_the_last_one(tmp_path, pets):
    run(tmp_path)
    write_image_folder(tmp_path / "other", images_a_class=3)
    assert run(tmp_path, source="image_folder:other")[1] == "6 files"


def test_a_source_that_is_gone_is_no_change_and_the_line_says_so(tmp_path, pets):
    before, _ = run(tmp_path)
    pets.rename(tmp_path / "unmounted")
    after, text = run(tmp_path)
    assert before == after
    assert "is not there, so it cannot be compared; what was made from its 40 files stays" in text


def test_a_source_that_never_was_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"pets is not: No such file.*Check dataset\.source"):
        run(tmp_path)


@pytest.mark.parametrize("name", ["files.gz", "manifest.json"])
def test_a_damaged_last_listing_is_said_and_written_anew(tmp_path, pets, name):
    before, _ = run(tmp_path)
    path = tmp_path / "artifacts" / "source" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    after, text = run(tmp_path)
    assert before == after
    assert "is damaged: nothing to compare with\n40 files" in text


def test_the_sample_that_comes_with_the_package_is_not_listed(tmp_path):
    one, text = run(tmp_path / "a", source="fashion_mnist_sample")
    other, _ = run(tmp_path / "b", source="fashion_mnist_sample")
    assert one == other
    assert text == "the images come with the package, none is listed"


def test_the_dataset_does_not_know_when_its_files_were_written(tmp_path, pets):
    run(tmp_path)
    before, _ = run(tmp_path, "prepare_dataset")
    touch(pets / "cat" / "00.png", ns=10**9)
    run(tmp_path)
    after, _ = run(tmp_path, "prepare_dataset")
    assert before == after
    manifest = Manifest.read(Layout(tmp_path).dataset, made_by="a test")
    assert manifest.inputs == {}


def test_a_dataset_is_prepared_by_hand_without_a_listing(tmp_path, pets):
    digest, _ = run(tmp_path, "prepare_dataset")
    assert digest
