"""Every document: written and read by its model; a damaged one says what is wrong, and where."""

import json

import pytest
from pydantic import TypeAdapter

from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.dataset_summary import DatasetSummary, write_summary
from ofa_pipeline.documents import UnnumberedDocument, read_document
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from scripts.write_schemas import MODELS
from tests.support import documents as samples
from tests.support import elsewhere
from tests.support.dataset_summary import sample_summary

DOCUMENTS = {
    Layout.ACCURACY_NOISE: samples.accuracy_noise(),
    Layout.BUNDLES: samples.bundle_index(),
    Layout.CARD: samples.card(),
    Layout.CLASSES: samples.class_names(),
    Layout.DATASET_SUMMARY: sample_summary(),
    Layout.DEVICE_PROFILE: samples.device_profile(),
    Layout.LATENCY_MODEL: samples.fitted_latency(),
    Layout.PICKS: samples.picks(),
    Layout.PREDICTOR: samples.stored_predictor(),
    Layout.PREDICTOR_REPORT: samples.predictor_report(),
    Layout.RECEIPTS: samples.receipts(),
    Layout.RECERTIFICATION: samples.recertification(),
    Layout.STATISTICS: samples.pixel_statistics(),
    Layout.SUBNET: samples.subnet_description(),
    Layout.AWAITED: elsewhere.sample_awaited(),
    Layout.SEEN_DEVICE: elsewhere.sample_seen(),
    "measuring_task.json": elsewhere.sample_task(),
    "measuring_result.json": elsewhere.sample_result(),
    "waiting_run.json": elsewhere.sample_waiting_run(),
}
REMAKE = "ofa-pipeline stage NAME --item ITEM"


@pytest.fixture(params=DOCUMENTS.items(), ids=lambda item: item[0])
def written(request, tmp_path):
    """A file, and the document in it."""
    name, document = request.param
    if isinstance(document, DatasetSummary):
        write_summary(document, tmp_path)
    else:
        write_json(tmp_path / name, document.to_dict())
    return tmp_path / name, document


def read(written):
    path, document = written
    return read_document(path, type(document), remake=REMAKE)


def edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def refused(written):
    """Return the message that refuses a file; it names the file and the command."""
    with pytest.raises(ManifestMismatchError) as raised:
        read(written)
    message = str(raised.value)
    assert message.startswith(str(written[0]))
    assert message.endswith(f"Produce it again with: {REMAKE}")
    return message


def first_needed(document):
    """Return the first field that must be in the file."""
    return TypeAdapter(type(document)).json_schema()["required"][0]


def test_every_document_is_tried_here():
    assert {name: type(document) for name, document in DOCUMENTS.items()} == {
        name: model for name, model in MODELS.items() if name != Layout.MANIFEST
    }


def test_what_is_read_is_what_was_written(written):
    assert read(written) == written[1]


def test_its_format_is_in_the_file_unless_digests_depend_on_it(written):
    path, document = written
    is_numbered = not isinstance(document, UnnumberedDocument | DatasetSummary)
    assert ("format" in json.loads(path.read_text())) is is_numbered


def test_a_file_without_a_format_is_of_the_first(written):
    edit(written[0], lambda values: values.pop("format", None))
    assert read(written).format == 1


def test_what_a_later_version_adds_is_left_alone(written):
    edit(written[0], lambda values: values.update(added=[1]))
    assert read(written) == written[1]


def test_a_newer_format_is_named(written):
    edit(written[0], lambda values: values.update(format=9))
    message = refused(written)
    assert "must be of format 1" in message
    assert "found 9" in message


def test_a_missing_field_is_named(written):
    name = first_needed(written[1])
    edit(written[0], lambda values: values.pop(name))
    assert f"{name} is missing" in refused(written)


def test_a_value_of_another_type_is_named_and_shown(written):
    name = first_needed(written[1])
    edit(written[0], lambda values: values.update({name: None}))
    message = refused(written)
    assert f"{name}: " in message
    assert "got None" in message


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000], ids=repr)
def test_what_is_no_json_is_refused(written, content):
    written[0].write_bytes(content)
    message = refused(written)
    assert "must be valid JSON" in message
    assert len(message) < 400


def test_a_list_is_no_document(written):
    written[0].write_text("[]")
    assert "got []" in refused(written)


def test_a_missing_file_says_how_to_make_it(written):
    written[0].unlink()
    with pytest.raises(MissingArtifactError, match=f"Produce it with: {REMAKE}"):
        read(written)
