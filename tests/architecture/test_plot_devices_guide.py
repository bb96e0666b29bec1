"""The pictures of the guide to devices are drawn by a script, from any workspace with profiles."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import LatencyLearningPoint, LatencySelection
from tests.support.report_workspace import DEVICES, write_report_workspace

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "plot_devices_guide.py"))


def with_curve(fitted):
    curve = [LatencyLearningPoint(num_subnets=10, mape=0.03)]
    selection = LatencySelection(
        losses={},
        outliers=[],
        share_launch_bound=0.0,
        learning_curve=curve,
        mape_with_20_more=0.02,
    )
    report = fitted.report.model_copy(update={"selection": selection})
    return fitted.model_copy(update={"report": report})


def test_each_device_is_drawn_in_each_picture(tmp_path):
    write_report_workspace(tmp_path)
    profiles = SCRIPT["load_profiles"](Layout(tmp_path))
    assert [profile.device for profile in profiles] == sorted(DEVICES)
    residuals, noise = (SCRIPT[f"draw_{name}"](profiles) for name in ("residuals", "noise"))
    for figure in (residuals, noise):
        assert len(figure.axes) == len(profiles)
    for axes, profile in zip(residuals.axes, profiles, strict=True):
        num_drawn = sum(len(points.get_offsets()) for points in axes.collections)
        assert num_drawn == sum(row["role"] in ("fit", "holdout") for row in profile.rows)
    with pytest.raises(SystemExit, match="no profile has a learning curve"):
        SCRIPT["draw_learning"](profiles)
    learned = [replace(profile, fitted=with_curve(profile.fitted)) for profile in profiles]
    (axes,) = SCRIPT["draw_learning"](learned).axes
    labels = [line.get_label() for line in axes.lines]
    assert set(labels) >= {profile.device for profile in profiles}


def test_the_guide_shows_the_pictures_that_it_draws():
    guide = (ROOT / "docs" / "guides" / "devices.md").read_text()
    for path in (ROOT / "docs" / "pictures").glob("devices-*.png"):
        assert f"../pictures/{path.name}" in guide
