"""What the report says of subnets that another process has measured again."""

import json
from dataclasses import replace

import pytest

from ofa_pipeline.artifacts import Layout, write_artifact, write_json
from ofa_pipeline.errors import ManifestMismatchError
from ofa_pipeline.report import load_contents
from ofa_pipeline.report.decisions import answer
from ofa_pipeline.report.exports import details
from ofa_pipeline.report.trust import AGAIN, judge_pick
from tests.support.documents import canary, recertification
from tests.support.report import page_of, sample_contents
from tests.support.report_workspace import DEVICES, write_report_workspace


@pytest.fixture(scope="module")
def contents():
    return sample_contents()


def with_again(contents, again):
    first, *others = contents.devices
    return replace(contents, devices=(replace(first, again=again), *others))


def judged(contents, again):
    device = with_again(contents, again).devices[0]
    subnet = device.subnets[0]
    findings = judge_pick(subnet, device, budget_ms=subnet.budgets_ms[0], chance=0.1)
    return next(finding for finding in findings if finding.about == AGAIN)


@pytest.mark.parametrize(
    ("share", "changes", "has_moved", "level"),
    [
        (0.98, {}, False, "good"),
        (0.98, {}, True, "care"),
        (0.98, {"is_contended": True}, False, "care"),
        (1.02, {}, False, "poor"),
        (1.02, {"is_contended": True}, False, "care"),
    ],
)
def test_a_pick_is_judged_by_its_later_median(contents, share, changes, has_moved, level):
    subnet = contents.devices[0].subnets[0]
    found = canary(
        subnet.name,
        certified_ms=subnet.p50_ms,
        measured_ms=share * subnet.budgets_ms[0],
        budgets_ms=subnet.budgets_ms,
        **changes,
    )
    finding = judged(contents, recertification(found, has_moved=has_moved))
    assert finding.level == level
    assert f"{100 * share:.0f} % of the budget" in finding.text
    assert ("another one" in finding.text) is has_moved


def test_a_pick_that_nobody_measured_again_is_not_known(contents):
    finding = judged(contents, None)
    assert finding.level == "unknown"
    assert f"ofa-pipeline recertify {contents.devices[0].name}" in finding.text


def test_picks_that_became_too_slow_are_counted_in_the_verdict(contents):
    first, *_ = contents.devices
    slow = [
        canary(
            subnet.name, certified_ms=subnet.p50_ms, measured_ms=1.1 * subnet.p50_ms, budgets_ms=()
        )
        for subnet in first.subnets
    ]
    found = answer(with_again(contents, recertification(*slow)))
    assert found.headline == "Do not rely on 3 of the 6 picks."
    assert found.reasons[0].text.startswith("3 of 6 picks: another process did not find again")


def panel(contents):
    html = page_of(contents)
    return html[html.index('id="again"') : html.index('<section id="pareto"')]


def test_page_counts_what_is_within_budget_for_each_device(contents):
    canaries = [
        canary("a", measured_ms=1.012, budgets_ms=(2.0,)),
        canary("b", measured_ms=1.0, budgets_ms=(1.1,), is_contended=True),
        canary("c", measured_ms=1.0, budgets_ms=(0.9,)),
    ]
    first, second = contents.devices
    text = panel(with_again(contents, recertification(*canaries, device=first.name)))
    assert "2026-01-31 12:59 UTC: 2 of 3 subnets within budget (p50), 1 of 3 (p95)" in text
    assert "+1.2&nbsp;%" in text
    assert "never quiet during 1 of them" in text
    assert "stale" not in text
    assert f"artifacts/seconds/recertify/{first.name}/recertification.json" in text
    assert f"ofa-pipeline recertify {second.name}" in text
    assert f"ofa-pipeline recertify {first.name}" not in text


def test_page_says_that_a_device_has_become_another_one(contents):
    assert "its versions are stale" in panel(with_again(contents, recertification(has_moved=True)))


def test_page_asks_to_measure_where_nobody_has(contents):
    text = panel(contents)
    assert all(f"ofa-pipeline recertify {device.name}" in text for device in contents.devices)
    assert "Source" not in text


def test_nobody_is_told_to_measure_a_device_elsewhere_here(contents):
    first, *others = contents.devices
    elsewhere = replace(contents, devices=(replace(first, location="away"), *others))
    assert "the device is elsewhere (away)" in panel(elsewhere)
    assert f"ofa-pipeline recertify {first.name}" not in page_of(elsewhere)


@pytest.fixture
def folders(tmp_path):
    return write_report_workspace(tmp_path)


def write_again(folders, device=DEVICES[0]):
    found = folders.devices[device]
    with write_artifact(
        found.recertified, stage="recertify", item=device, params={}, inputs=[found.subnets]
    ) as writer:
        again = recertification(device=device)
        write_json(writer.folder / Layout.RECERTIFICATION, again.to_dict())
    return again


def loaded(folders):
    return load_contents(folders, title="A title")


def test_what_was_measured_of_the_present_bundles_is_read(folders):
    again = write_again(folders)
    contents = loaded(folders)
    assert [device.again for device in contents.devices] == [again, None]
    measured, unmeasured = details(contents)["devices"].values()
    assert measured["measured_again"]["num_within_budget_p50"] == 1
    assert unmeasured["measured_again"] is None


def test_where_a_device_is_comes_from_what_it_was_profiled_with(folders):
    path = folders.devices[DEVICES[0]].latency / Layout.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["digest"]
    params = {f"devices.{DEVICES[0]}.card": {"runtime": "onnxruntime", "location": "away"}}
    write_json(path, {**manifest, "params": params})
    assert [device.location for device in loaded(folders).devices] == ["away", None]


def test_what_was_measured_of_other_bundles_is_dropped(folders):
    write_again(folders)
    path = folders.devices[DEVICES[0]].subnets / Layout.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["digest"]  # one of another run
    write_json(path, {**manifest, "summary": {"num_bundles": 9}})
    assert loaded(folders).devices[0].again is None


def test_a_file_that_was_edited_is_refused(folders):
    write_again(folders)
    path = folders.devices[DEVICES[0]].recertified / Layout.RECERTIFICATION
    path.write_text(path.read_text().replace('"over"', '"within"'))
    with pytest.raises(ManifestMismatchError, match=r"recertification\.json"):
        loaded(folders)
