"""`dvc.yaml` says the same as `STAGES`, and names the code that each stage runs."""

import re
from pathlib import Path, PurePosixPath

import grimp
import pytest
import yaml

from ofa_pipeline.params import load_params
from ofa_pipeline.stages import STAGES, Stage, find_stage

ROOT = Path(__file__).parents[2]
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())

# Modules that carry values about and compute none: a change there cannot change a result
# without breaking loudly (docs/adr/0061-code-is-a-dependency.md).
PLUMBING = {
    *("errors", "exit_codes", "progress", "cores", "memory", "params", "artifacts", "workspace"),
    *("yaml_reader", "cron", "explain", "parts", "weights_source"),  # of params
    *("dataset_summary", "documents", "run_warnings", "masking", "temporary", "user", "proxies"),
    *("integrity", "resume", "stopwatch", "measuring", "compute", "launching", "telemetry"),
}

ROOM = "ofa_pipeline.stages"
COMMON = {ROOM, *(f"{ROOM}.{name}" for name in ("run", "ranks", "table", "given", "fan_out"))}
"""Of the room of the stages, what every stage has in common: plumbing as well."""

TO_DVC = {
    "{item}": "${key}",
    "{final}": "${final_phase}",
    "{start_from}": "${item.start_from}",
    "/{phase}": "",
    "/{device}": "",
}
LOOPS = {
    "phase": "${phases}",
    "device": "${devices}",
    "kind of weights": "${training.initial_weights}",
}


def block(stage: Stage) -> dict:
    entry = GRAPH["stages"][stage.name]
    return entry["do"] if stage.item_kind else entry


def in_dvc_words(text: str) -> str:
    for ours, theirs in TO_DVC.items():
        text = text.replace(ours, theirs)
    return text


def deps(stage: Stage, *, code: bool) -> list[str]:
    return [path for path in block(stage)["deps"] if path.startswith("ofa_pipeline/") is code]


def test_stages_come_in_the_order_of_the_table():
    assert list(GRAPH["stages"]) == [stage.name for stage in STAGES]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
class TestStage:
    def test_loops_over_its_phases_or_devices(self, stage):
        loop = GRAPH["stages"][stage.name].get("foreach")
        assert loop == LOOPS.get(stage.item_kind)

    def test_command_is_the_one_at_the_keyboard(self, stage):
        command = block(stage)["cmd"].removeprefix('PATH="$PATH:.venv/bin" ')
        item = " --item ${key}" if stage.item_kind else ""
        assert command == f"ofa-pipeline stage {stage.name}{item}"

    def test_reads_what_the_table_says(self, stage):
        assert deps(stage, code=False) == [in_dvc_words(path) for path in stage.reads]

    def test_writes_what_the_table_says(self, stage):
        out, *seconds = block(stage)["outs"]
        assert seconds == [in_dvc_words(stage.writes_seconds)] * stage.is_timed
        # What is always run keeps its last result, to compare with.
        options = {in_dvc_words(stage.writes): {"persist": True}}
        assert out == (options if stage.is_always_run else in_dvc_words(stage.writes))

    def test_runs_each_time_if_the_table_says_so(self, stage):
        assert block(stage).get("always_changed", False) is stage.is_always_run

    def test_watches_only_what_it_reads(self, stage):
        assert set(stage.watches) <= set(stage.reads)

    def test_gets_the_params_that_the_table_says(self, stage):
        assert block(stage)["params"] == [in_dvc_words(name) for name in stage.params]

    def test_description_is_the_summary_of_the_table(self, stage):
        assert block(stage)["desc"] == stage.summary


@pytest.fixture(scope="module")
def imports():
    graph = grimp.build_graph("ofa_pipeline", exclude_type_checking_imports=True)
    # Parts are imported by their names, which the graph cannot see.
    for name in (
        "devices.runtimes",
        "search.samplers",
        "training.distillation",
        "training.recipes",
    ):
        room = f"ofa_pipeline.{name}"
        for part in graph.find_children(room):
            graph.add_import(importer=room, imported=part)
    return graph


def modules_below(stage: Stage, imports) -> set[str]:
    """Return the modules that a stage imports, and those that these import."""
    return imports.find_upstream_modules(f"ofa_pipeline.stages.{stage.name}") - {"ofa_pipeline"}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_stage_imports_no_other_stage(stage, imports):
    room = {name for name in modules_below(stage, imports) if name.startswith(ROOM)}
    assert room - COMMON == set()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_stage_depends_on_the_code_that_it_runs(stage, imports):
    rooms = {found.split(".")[1] for found in modules_below(stage, imports) if found not in COMMON}
    if "space" in stage.params:  # it is built of the section
        rooms |= {"arch", "spaces"}
    expected = {
        f"ofa_pipeline/{room}"
        if (ROOT / "ofa_pipeline" / room).is_dir()
        else f"ofa_pipeline/{room}.py"
        for room in rooms - PLUMBING
    }
    assert set(deps(stage, code=True)) == {*expected, f"ofa_pipeline/stages/{stage.name}.py"}
    assert deps(stage, code=True) == sorted(deps(stage, code=True))


def stages_that_watch(path: str) -> set[str]:
    """Return the stages that DVC runs again once this file of the package has changed."""
    folders = {path, *(str(parent) for parent in PurePosixPath(path).parents)}
    return {stage.name for stage in STAGES if folders & set(deps(stage, code=True))}


@pytest.mark.parametrize(
    ("room", "watching"),
    [
        ("reference", {"import_weights"}),
        ("initial_weights", {"import_weights"}),
        ("report", {"report"}),
        ("cli", set()),
    ],
)
def test_an_edit_of_what_comes_after_training_makes_no_training_stale(room, watching):
    files = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "ofa_pipeline" / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert files
    assert {path: stages_that_watch(path) for path in files} == dict.fromkeys(files, watching)


def test_every_template_of_dvc_is_known_to_params():
    params = load_params(ROOT / "params.yaml")
    named = set(re.findall(r"\$\{(\w+)", (ROOT / "dvc.yaml").read_text()))
    assert named - {"key", "item"} <= set(type(params).model_fields)


def test_report_writes_what_dvc_shows():
    files = [*GRAPH["metrics"], *GRAPH["plots"]]
    assert all(file.startswith(find_stage("report").writes + "/") for file in files)
