"""A device elsewhere from the command line: a folder goes, a result comes back, stages go on."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli import app
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.documents import Awaited, MeasuringTask, read_document
from ofa_pipeline.errors import AwaitedError, DeviceError, ManifestMismatchError, ParamsError
from ofa_pipeline.exit_codes import EXIT_AWAITED, exit_code_of
from ofa_pipeline.latency import load_latency_profile
from ofa_pipeline.params import load_params
from ofa_pipeline.stages import StageContext, run_stage
from tests.support.elsewhere import MACHINE, result_of, write_result
from tests.support.workspace import read_params, tiny_params, write_params

ROOT = Path(__file__).parents[3]
CARD = ["--runtime", "pytorch", "--location", "away", "--threads", "8"]


def run(*words):
    return CliRunner().invoke(app, ["device", *words], catch_exceptions=False)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    write_params(tmp_path, tiny_params(read_params(ROOT)))
    (tmp_path / "artifacts" / "dataset").mkdir(parents=True)
    classes = tmp_path / "artifacts" / "dataset" / "classes.json"
    classes.write_text(json.dumps({"class_names": ["a", "b"]}))
    monkeypatch.chdir(tmp_path)
    run("add", "phone", *CARD)
    return tmp_path


def measured_elsewhere(workspace, folder, *words, **machine):
    """Export, and return what a device of known latencies brings back."""
    run("export", "phone", "--to", folder, *words)
    task = read_document(workspace / folder / "manifest.json", MeasuringTask, remake="")
    macs = {network.key: network.macs for network in task.networks}
    result = result_of(task, lambda key: 0.1 + macs[key] / 1e7, **machine)
    return write_result(workspace / f"{folder}.json", result)


def profile(workspace):
    params = load_params(workspace / "params.yaml")
    context = StageContext(layout=Layout(workspace), params=params, item="phone")
    return run_stage("profile_latency", context)


def test_a_stage_goes_on_when_the_result_is_here(workspace):
    with pytest.raises(AwaitedError, match="24 networks are to be measured") as awaited:
        profile(workspace)
    assert exit_code_of(awaited.value) == EXIT_AWAITED
    assert "device export phone --to FOLDER" in str(awaited.value)
    path = measured_elsewhere(workspace, "folder")
    shown = run("import", "phone", str(path)).stdout
    assert MACHINE["hardware"] in shown
    found = load_latency_profile(profile(workspace))
    assert found.card.hardware == MACHINE["hardware"]
    assert found.card.threads == 8
    assert 0.1 < found.smallest_ms < found.largest_ms
    assert ElsewhereStore(Layout(workspace), "phone").awaited() is None


def test_cores_that_measurements_are_pinned_to_go_there_and_come_back(workspace):
    run("remove", "phone")
    run("add", "phone", *CARD[:4], "--threads", "2", "--pinning", "6,7")
    with pytest.raises(AwaitedError):
        profile(workspace)
    path = measured_elsewhere(workspace, "folder")
    run("import", "phone", str(path))
    assert load_latency_profile(profile(workspace)).card.pinning == (6, 7)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([], ["--pinning", "6,7"], r"pinning None, .* now has pinning \[6, 7\]"),
        (["--pinning", "6,7"], [], r"pinning \[6, 7\], .* now has pinning None"),
    ],
    ids=["pinned since", "pinned no more"],
)
def test_a_result_of_other_cores_is_refused(workspace, before, after, said):
    card = [*CARD[:4], "--threads", "2"]
    for pinning in (before, after):
        run("remove", "phone")
        run("add", "phone", *card, *pinning)
        if pinning is before:
            path = measured_elsewhere(workspace, "folder")
    with pytest.raises(ManifestMismatchError, match=said):
        run("import", "phone", str(path))


def test_a_profile_of_settings_before_they_were_changed_is_not_one_of_the_device(workspace):
    run("import", "phone", str(measured_elsewhere(workspace, "folder")))
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("threads: 8", "threads: 4"))
    with pytest.raises(DeviceError, match=r"threads 8, but params.yaml now has threads 4"):
        profile(workspace)
    run("import", "phone", str(measured_elsewhere(workspace, "again")))
    assert load_latency_profile(profile(workspace)).card.threads == 4


def test_an_export_is_the_same_every_time(workspace):
    for folder in ("one", "two"):
        run("export", "phone", "--to", folder)
    one, two = (workspace / name / "manifest.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_what_cannot_be_exported_says_why(workspace):
    with pytest.raises(DeviceError, match=r"cpu-pytorch is this machine"):
        run("export", "cpu-pytorch", "--to", "folder")
    run("add", "board", *CARD[:2], "--location", "ssh://board")
    with pytest.raises(DeviceError, match=r"location: away, but board is ssh://board"):
        run("export", "board", "--to", "folder", "--again")
    with pytest.raises(ParamsError, match="unknown device"):
        run("export", "fone", "--to", "folder")
    (workspace / "full").mkdir()
    (workspace / "full" / "mine.txt").write_text("mine")
    with pytest.raises(DeviceError, match=r"holds mine\.txt"):
        run("export", "phone", "--to", "full")


def test_nothing_is_exported_where_nothing_is_awaited(workspace):
    run("import", "phone", str(measured_elsewhere(workspace, "folder")))
    with pytest.raises(DeviceError, match="nothing is awaited of phone"):
        run("export", "phone", "--to", "second")
    run("export", "phone", "--to", "second", "--again")
    assert (workspace / "second" / "measure.py").exists()


def test_a_result_of_other_settings_changes_nothing(workspace):
    path = measured_elsewhere(workspace, "folder")
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("threads: 8", "threads: 4"))
    before = params.read_bytes()
    with pytest.raises(
        ManifestMismatchError, match=r"threads 8, but params.yaml now has threads 4"
    ):
        run("import", "phone", str(path))
    assert params.read_bytes() == before
    assert not list((workspace / "measured" / "phone").glob("*.json"))


def test_a_result_of_another_workspace_or_of_a_device_here_is_refused(workspace):
    path = measured_elsewhere(workspace, "folder")
    for task in (workspace / "measured" / "phone" / "tasks").iterdir():
        task.unlink()
    with pytest.raises(ManifestMismatchError, match=r"which is not known here"):
        run("import", "phone", str(path))
    with pytest.raises(DeviceError, match=r"cpu-pytorch is this machine"):
        run("import", "cpu-pytorch", str(path))


def test_other_subnets_than_params_ask_for_are_measured_again(workspace):
    run("import", "phone", str(measured_elsewhere(workspace, "folder")))
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("num_subnets: 10\n", "num_subnets: 11\n"))
    with pytest.raises(DeviceError, match=r"are others\. Measure again"):
        profile(workspace)
    run("import", "phone", str(measured_elsewhere(workspace, "second")))
    profile(workspace)


def test_what_is_awaited_is_exported_and_must_come_from_the_machine_of_the_profile(workspace):
    run("import", "phone", str(measured_elsewhere(workspace, "folder")))
    params = load_params(workspace / "params.yaml")
    profiled, space = load_latency_profile(profile(workspace)), params.space.build()
    store = ElsewhereStore(Layout(workspace), "phone")
    card = params.device("phone").card
    archs = (space.smallest, space.largest)
    with pytest.raises(AwaitedError, match=r"2 networks .* candidates of its search"):
        profiled.open_device(card, space, store=store).expect(archs)
    other = measured_elsewhere(workspace, "second", machine="ffffffffff")
    with pytest.raises(ManifestMismatchError, match="differs in machine"):
        run("import", "phone", str(other))
    twice = run("import", "phone", str(workspace / "folder.json"))  # the profile, once more
    assert "What phone is waited for is still to be measured" in twice.output
    assert store.awaited().archs == archs
    third = run("import", "phone", str(measured_elsewhere(workspace, "third")))
    assert "still to be measured" not in third.output
    assert store.awaited() is None
    device = profiled.open_device(card, space, store=store)
    device.expect(archs)
    assert load_params(workspace / "params.yaml") == params


def test_an_answer_to_what_was_awaited_earlier_leaves_what_is_awaited_now(workspace):
    run("import", "phone", str(measured_elsewhere(workspace, "folder")))
    params = load_params(workspace / "params.yaml")
    profiled, space = load_latency_profile(profile(workspace)), params.space.build()
    store = ElsewhereStore(Layout(workspace), "phone")
    card = params.device("phone").card
    for name, arch in (("small", space.smallest), ("large", space.largest)):
        with pytest.raises(AwaitedError, match="1 networks"):
            profiled.open_device(card, space, store=store).expect((arch,))
        run("import", "phone", str(measured_elsewhere(workspace, name)))
    store.wait_for(Awaited(round="search", archs=(space.largest,)))
    said = run("import", "phone", str(workspace / "small.json")).output
    assert "What phone is waited for is still to be measured" in said
    assert store.awaited().archs == (space.largest,)


def test_check_says_what_was_exported_and_what_came_back(workspace):
    nothing = run("check", "phone")
    assert nothing.exit_code == EXIT_AWAITED
    assert "nothing was measured on phone yet. Export a folder: " in nothing.stdout
    path = measured_elsewhere(workspace, "folder")
    before = run("check", "phone")
    assert before.exit_code == EXIT_AWAITED
    assert "24 measurements for profile, not measured yet" in before.stdout
    run("import", "phone", str(path))
    after = run("check", "phone")
    assert after.exit_code == 0
    assert "24 measurements for profile, measured" in after.stdout
    assert "ARM Cortex-X9, pytorch 1.2.3, fingerprint" in after.stdout
    assert "12 measurements of 4 subnets repeat to 0.0%" in after.stdout
    assert "hardly ever quiet during 0 of 24" in after.stdout
    assert "profile: none yet" in after.stdout


def test_a_profile_from_before_the_last_import_is_stale(workspace):
    run("import", "phone", str(measured_elsewhere(workspace, "folder", cores=4)))
    profile(workspace)
    assert "measured elsewhere (away)" in run("list").stdout
    changed = {"runtime_version": "9.9", "governor": "powersave", "hardware": "6502", "cores": 2}
    run("import", "phone", str(measured_elsewhere(workspace, "other", "--again", **changed)))
    shown = " ".join(run("check", "phone").stdout.split())
    for key, value in changed.items():
        assert f"{key} " in shown
        assert f"against {value}" in shown
    assert "stale: " in run("list").stdout
    profile(workspace)
    assert "stale: " not in run("list").stdout
