import pytest

from ofa_pipeline.artifacts import Layout, Manifest, write_artifact
from ofa_pipeline.dataset_summary import write_summary
from ofa_pipeline.errors import ManifestMismatchError
from ofa_pipeline.params import load_params
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.run_warnings import RunWarning, count_text, keep_warnings, read_warnings
from ofa_pipeline.stages import warnings_of_run
from tests.support.dataset_summary import sample_summary

FOUND = RunWarning(
    stage="train_supernet",
    item="elastic",
    message="It got worse.",
    figures={"difference": -0.1, "num_images": 5},
    advice="Change this.",
)


def write(folder, *warnings, reporter=SILENT):
    with write_artifact(folder, stage="a stage", item=None, params={}, inputs=[]) as writer:
        keep_warnings(warnings, writer, reporter)


def test_a_warning_is_told_at_once_and_kept(tmp_path):
    events = []
    folder = tmp_path / "artifacts" / "one"
    write(folder, FOUND, None, reporter=Reporter(events.append))
    assert [(event.label, event.is_warning) for event in events] == [
        ("It got worse. Change this.", True)
    ]
    assert read_warnings(folder) == (FOUND,)


def test_where_nothing_went_wrong_nothing_is_kept(tmp_path):
    folder = tmp_path / "artifacts" / "one"
    write(folder, None)
    assert read_warnings(folder) == ()
    assert Manifest.read(folder, made_by="test").summary == {"warnings": []}


def test_no_artifact_warns_of_nothing(tmp_path):
    assert read_warnings(tmp_path / "artifacts" / "none") == ()


def test_what_is_no_warning_is_refused_with_its_file(tmp_path):
    folder = tmp_path / "artifacts" / "one"
    with write_artifact(folder, stage="a stage", item=None, params={}, inputs=[]) as writer:
        writer.summary["warnings"] = [{"stage": "x", "text": "of another kind"}]
    with pytest.raises(ManifestMismatchError, match=r"manifest\.json must hold warnings"):
        read_warnings(folder)


def test_warnings_of_a_run_are_those_of_all_its_stages_in_order(tmp_path, request):
    layout, params = Layout(tmp_path), load_params(request.config.rootpath / "params.yaml")
    last = RunWarning(stage="fit_predictor", message="No order.")
    write(layout.predictor, last)
    write(layout.supernet("elastic"), FOUND)
    with write_artifact(
        layout.dataset, stage="prepare_dataset", item=None, params={}, inputs=[]
    ) as writer:
        write_summary(sample_summary(warnings=("odd images",)), writer.folder)
    found = warnings_of_run(layout, params)
    assert [warning.text for warning in found] == ["odd images", FOUND.text, last.text]
    assert [warning.address for warning in found] == [
        "prepare_dataset",
        "train_supernet@elastic",
        "fit_predictor",
    ]


def test_heading_counts():
    assert count_text([FOUND]).startswith("1 warning:")
    assert count_text([FOUND, FOUND]).startswith("2 warnings:")
