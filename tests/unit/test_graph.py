"""A workspace's dvc.yaml is a copy: what if it is of an earlier version?"""

import pytest
import yaml

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.graph import check_graph, graph_warning, own_stages, update_graph
from ofa_pipeline.workspace import create_workspace


@pytest.fixture
def root(tmp_path):
    create_workspace(tmp_path)
    return tmp_path


def edit(root, change):
    path = root / "dvc.yaml"
    graph = yaml.safe_load(path.read_text())
    change(graph["stages"])
    path.write_text(yaml.safe_dump(graph, sort_keys=False))


def test_a_fresh_copy_is_content(root):
    assert check_graph(root) == ""


def test_other_words_for_the_same_graph_and_more_stages_are_content(root):
    edit(root, lambda stages: stages.update(mine={"cmd": "true"}))
    edit(root, lambda stages: stages["report"]["deps"].append("extra.txt"))
    assert check_graph(root) == ""


NEEDED = {
    "the stage list_source": lambda stages: stages.pop("list_source"),
    "artifacts/source of prepare_dataset": lambda stages: stages["prepare_dataset"]["deps"].remove(
        "artifacts/source"
    ),
    "always_changed of list_source": lambda stages: stages["list_source"].pop("always_changed"),
    "evaluation of search": lambda stages: stages["search"]["do"]["params"].remove("evaluation"),
    "artifacts/report of report": lambda stages: stages["report"].pop("outs"),
}


@pytest.mark.parametrize("missing", NEEDED)
def test_what_is_missing_is_named_with_the_remedy(root, missing):
    edit(root, NEEDED[missing])
    with pytest.raises(ParamsError, match=f"lacks {missing}.*ofa-pipeline init {root} --update"):
        check_graph(root)
    assert missing in graph_warning(root)


def test_code_that_is_missing_does_not_stop_a_run(root):
    edit(root, lambda stages: stages["report"]["deps"].remove("ofa_pipeline/report"))
    assert "lacks ofa_pipeline/report of report" in check_graph(root)


def test_a_stage_without_any_code_of_ours_is_somebody_elses(root):
    edit(root, lambda stages: stages["fit_predictor"].update(deps=["artifacts/accuracy", "my.py"]))
    assert check_graph(root) == ""


@pytest.mark.parametrize("text", ["", "[]", "stages: 3", "stages: {a: 3}", "{", "stages: [a]"])
def test_what_is_no_graph_is_an_error(root, text):
    (root / "dvc.yaml").write_text(text)
    with pytest.raises(ParamsError, match=r"dvc\.yaml must"):
        check_graph(root)


def test_a_folder_without_a_graph_is_no_fault_of_the_graph(tmp_path):
    assert check_graph(tmp_path) == ""


def test_an_update_keeps_the_former_graph(root):
    before = {}
    for number in (1, 2):
        edit(root, lambda stages, n=number: stages.update({f"mine{n}": {"cmd": "true"}}))
        text = (root / "dvc.yaml").read_text()
        kept = update_graph(root)
        before[kept] = text
        assert own_stages(kept) == (f"mine{number}",)
    assert {path: path.read_text() for path in before} == before
    assert len(before) == 2
    assert check_graph(root) == ""


def test_an_update_of_what_is_up_to_date_changes_nothing(root):
    assert update_graph(root) is None
    assert [path.name for path in root.glob("dvc.yaml*")] == ["dvc.yaml"]
