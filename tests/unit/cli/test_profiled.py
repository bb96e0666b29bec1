"""What `ofa-pipeline device profile` starts, refuses and shows."""

import pytest
from typer.testing import CliRunner

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.cli import app
from ofa_pipeline.cli.profiled import show_profiles
from ofa_pipeline.documents import (
    DeviceProfile,
    FittedLatency,
    LatencyCosts,
    LatencyLearningPoint,
    LatencySelection,
    MeasurementNoise,
    PredictionInterval,
    ReferenceSubnet,
)
from ofa_pipeline.errors import DeviceError, MissingArtifactError, ParamsError
from ofa_pipeline.workspace import checkout_folder
from tests.support.documents import DEVICE_CARD, latency_report
from tests.support.synthetic import small_space

ARCH: Arch = small_space().smallest


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    text = (checkout_folder() / "params.yaml").read_text()
    board = "{runtime: onnxruntime, accelerator: cpu, precision: fp32, threads: 1, batch_size: 1, "
    device = f"  board:\n    card: {board}location: away}}\n    budgets_ms: [1.0]\n"
    (tmp_path / "params.yaml").write_text(text.replace("devices:\n", f"devices:\n{device}", 1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def started(monkeypatch):
    found = []
    monkeypatch.setattr("ofa_pipeline.cli.device.become", lambda *words: found.append(words))
    return found


def run(*words):
    return CliRunner().invoke(app, ["device", "profile", *words], catch_exceptions=False)


@pytest.mark.parametrize("again", [(), ("--again",)])
def test_one_device_is_profiled(workspace, started, again):
    run("cpu-pytorch", *again)
    run("board")
    first = ("flows.run", "--workspace", ".", "--device", "cpu-pytorch", "--profile", *again)
    assert started == [first, ("flows.run", "--workspace", ".", "--device", "board", "--profile")]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["cpu-pytorhc"], ParamsError, "cpu-pytorch"),
        (["board", "--again"], DeviceError, "device export board --to FOLDER --again"),
    ],
)
def test_what_cannot_be_profiled_starts_nothing(workspace, started, words, error, message):
    with pytest.raises(error, match=message):
        run(*words)
    assert not started


def write_profile(layout, *, selection):
    folder = layout.latency("board")
    folder.mkdir(parents=True)
    profile = DeviceProfile(
        device=DEVICE_CARD,
        fingerprint=DEVICE_CARD.fingerprint,
        reference=ReferenceSubnet(arch=ARCH, latency_ms=1.0),
        smallest_ms=0.5,
        largest_ms=2.5,
        measurement={},
    )
    noise = MeasurementNoise(cv=0.012, num_subnets=4, num_measurements=12, num_contended=3)
    report = latency_report().model_copy(update={"selection": selection, "noise": noise})
    costs = LatencyCosts(
        space_digest="d",
        num_classes=3,
        costs_ms={},
        fixed_ms=1.0,
        interval=PredictionInterval(coverage=0.9, low=-0.02, high=0.03),
    )
    write_json(folder / Layout.DEVICE_PROFILE, profile.to_dict())
    fitted = FittedLatency(format=2, model=costs, report=report)
    write_json(folder / Layout.LATENCY_MODEL, fitted.to_dict())


def test_what_is_shown_says_how_far_to_trust_the_model(tmp_path, capsys):
    selection = LatencySelection(
        losses={"totals": 0.02},
        outliers=["0123456789"],
        share_launch_bound=0.25,
        learning_curve=[LatencyLearningPoint(num_subnets=20, mape=0.02)],
        mape_with_20_more=0.015,
    )
    write_profile(Layout(tmp_path), selection=selection)
    show_profiles(tmp_path, ["board"])
    shown = " ".join(capsys.readouterr().out.split())
    for text in (
        "a processor, onnxruntime 1.31.0 fp32, threads: 1, batch: 1",
        "0.5 ms (smallest subnet) to 2.5 ms (largest)",
        "hardly ever quiet during 3 of them: when it is, profile again with --again",
        "-2.0% to +3.0% around an estimate, for 90% of subnets",
        "as outliers: 0123456789",
        "25% of the fitted subnets",
        "would bring the mean error to about 1.5%",
        "run --device board",
    ):
        assert text in shown


def test_a_profile_of_an_earlier_version_has_less_to_say(tmp_path, capsys):
    write_profile(Layout(tmp_path), selection=None)
    show_profiles(tmp_path, ["board"])
    assert "20 subnets more" not in capsys.readouterr().out
    with pytest.raises(MissingArtifactError, match="ofa-pipeline device profile phone"):
        show_profiles(tmp_path, ["phone"])
