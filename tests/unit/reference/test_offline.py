import json
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ofa_pipeline.artifacts import write_json
from ofa_pipeline.cli import app
from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.documents import read_document
from ofa_pipeline.errors import ArchError, InfeasibleConstraintError, ParamsError
from ofa_pipeline.predictor import MlpEnsemble, MlpSettings, build_predictor, save_predictor
from ofa_pipeline.reference.offline import (
    PICKS_FILE,
    EstimatedPick,
    EstimatedPicks,
    OfflineRequest,
    OfflineResult,
    load_estimates,
    read_column,
    read_measured_table,
    search_offline,
)
from ofa_pipeline.search import EvolutionSettings
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.tables import FRONT_SCHEMA, read_table
from tests.support.synthetic import labeled_sample, small_space, true_accuracy

SPACE_ID = "ofa_mbv3_d234_e346_k357_w1.0"
RESOLUTIONS_PX = (192, 224)
QUICK = EvolutionSettings(
    population=64, generations=5, patience=3, elite=16, islands=0, filler_niches=4
)


@pytest.fixture(scope="module")
def space():
    return reference_space(SPACE_ID)


def rows_of(space, count=30, *, seed=0):
    """Return measured subnets as published tables have them."""
    searched = space.restrict(resolutions_px=RESOLUTIONS_PX)
    genes = searched.sample(np.random.default_rng(seed), count)
    values = searched.values(genes)
    macs = estimate_cost(searched, genes, num_classes=1000).macs
    return {
        "ks": np.maximum(values["kernel_size"], 3).astype(int).tolist(),
        "e": np.maximum(values["expand_ratio"], 3).astype(int).tolist(),
        "d": values["depth"].astype(int).tolist(),
        "image_size": values["resolution"][:, 0].astype(int).tolist(),
        "top1": (100 * true_accuracy(searched, genes)).tolist(),
        "macs": macs.tolist(),
        "phone_ms": (macs / 1e7).tolist(),
    }


def write(path, rows, **changes):
    pq.write_table(pa.table({**rows, **changes}), path)
    return path


@pytest.fixture
def table(space, tmp_path):
    return write(tmp_path / "measured.parquet", rows_of(space))


def request(table, output, **changes):
    values = {
        "space_id": SPACE_ID,
        "accuracy": table,
        "latency": table,
        "latency_column": "phone_ms",
        "budgets_ms": [40.0, 20.0, 40.0],
        "output": output,
        "settings": QUICK,
    }
    return OfflineRequest(**{**values, **changes})


def test_a_table_of_measurements_is_all_that_a_search_needs(table, tmp_path):
    result = search_offline(request(table, tmp_path / "out"))
    assert [pick.budget_ms for pick in result.picks] == [20.0, 40.0]
    for pick in result.picks:
        assert pick.latency_ms_estimated <= pick.budget_ms
        assert pick.arch.resolution_px in RESOLUTIONS_PX
        assert pick.runner_up is not None
    front = read_table(tmp_path / "out" / "front.parquet", FRONT_SCHEMA)
    assert front.num_rows == result.num_efficient > 2
    drawn = ElementTree.parse(tmp_path / "out" / "front.svg").getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    labels = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for pick in result.picks:
        assert f"{100 * pick.accuracy_top1_estimated:.2f} %" in labels
    written = read_document(tmp_path / "out" / PICKS_FILE, EstimatedPicks, remake="test")
    assert written.picks == result.picks


def found(arch, output):
    """Return what a search has found, and write its document."""
    pick = EstimatedPick(
        budget_ms=20.0,
        arch_id=arch.arch_id,
        arch=arch,
        accuracy_top1_estimated=0.75,
        accuracy_std_estimated=0.002,
        latency_ms_estimated=19.5,
        macs=200_000_000,
        num_params=5_000_000,
        price_points_per_ms=0.3,
        runner_up=None,
        runner_up_accuracy_top1_estimated=None,
        gap_points=None,
    )
    path = output / PICKS_FILE
    write_json(path, EstimatedPicks(picks=(pick,)).to_dict())
    return OfflineResult(
        picks=(pick,), num_efficient=7, hypervolume=1.0, duration_s=0.1, files=(path,)
    )


def test_the_command_prints_a_table_or_the_document(space, tmp_path, monkeypatch):
    asked = []

    def search(request, *, reporter):
        asked.append(request)
        return found(space.largest, request.output)

    monkeypatch.setattr("ofa_pipeline.reference.offline.search_offline", search)
    words = ["search", "--space", SPACE_ID, "--accuracy", "a.pth", "--latency", "tables"]
    words += ["--budgets", "40, 20", "--output", str(tmp_path)]
    shown = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "7 efficient subnets" in shown
    assert space.largest.arch_id in shown
    printed = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout
    assert EstimatedPicks.from_dict(json.loads(printed)).picks[0].arch == space.largest
    assert asked[0].budgets_ms == [40.0, 20.0]


def test_budgets_that_are_not_numbers_are_refused(table, tmp_path):
    words = ["search", "--space", SPACE_ID, "--accuracy", str(table), "--latency", str(table)]
    with pytest.raises(ParamsError, match="--budgets must be milliseconds"):
        CliRunner().invoke(app, [*words, "--budgets", "20ms"], catch_exceptions=False)


def test_an_impossible_budget_names_the_fastest_subnet(table, tmp_path):
    with pytest.raises(InfeasibleConstraintError, match="fastest subnet found has"):
        search_offline(request(table, tmp_path, budgets_ms=[0.5, 20.0]))


@pytest.mark.parametrize(
    ("column", "bad"),
    [("top1", np.nan), ("top1", -1.0), ("top1", 101.0), ("macs", np.nan), ("macs", -5.0)],
)
def test_rows_that_are_no_measurements_are_named(space, tmp_path, column, bad):
    rows = rows_of(space)
    rows[column] = [*map(float, rows[column][:7]), bad, *map(float, rows[column][8:])]
    path = write(tmp_path / "t.parquet", rows)
    with pytest.raises(ParamsError, match=f"{column} must be .* in row 7"):
        read_measured_table(path, space)


def test_equal_architectures_are_averaged_and_show_the_noise(space, tmp_path):
    rows = rows_of(space, 10)
    twice = {name: [*values, *values] for name, values in rows.items()}
    twice["top1"] = [v + 0.1 for v in rows["top1"]] + [v - 0.1 for v in rows["top1"]]
    table = read_measured_table(write(tmp_path / "t.parquet", twice), space)
    assert len(table.genes) == table.num_repeated == 10
    assert table.num_rows == 20
    np.testing.assert_allclose(100 * table.accuracy, rows["top1"])
    assert 100 * table.label_noise == pytest.approx(0.1 * np.sqrt(2))


def test_a_table_with_one_row_is_not_enough(space, tmp_path):
    path = write(tmp_path / "t.parquet", rows_of(space, 1))
    with pytest.raises(ParamsError, match="at least two different architectures"):
        load_estimates(SPACE_ID, accuracy=path, latency=path, latency_column="phone_ms")


def test_a_table_without_rows_or_columns_is_refused(space, tmp_path):
    empty = write(tmp_path / "e.parquet", rows_of(space, 0))
    with pytest.raises(ParamsError, match="is empty"):
        read_measured_table(empty, space)
    lacking = tmp_path / "l.parquet"
    pq.write_table(pa.table({"ks": [[3]]}), lacking)
    with pytest.raises(ParamsError, match="lacks"):
        read_measured_table(lacking, space)


def test_a_file_that_is_no_table_is_refused(space, tmp_path):
    path = tmp_path / "t.parquet"
    path.write_text("no table")
    with pytest.raises(ParamsError, match="must be a Parquet table"):
        read_measured_table(path, space)
    with pytest.raises(ParamsError, match="is missing"):
        read_measured_table(tmp_path / "none.parquet", space)


def test_architectures_outside_the_space_name_their_row(space, tmp_path):
    rows = rows_of(space, 4)
    rows["image_size"][2] = 300
    with pytest.raises(ArchError, match="row 2: resolution_px"):
        read_measured_table(write(tmp_path / "t.parquet", rows), space)


def test_the_column_of_a_latency_must_be_said_where_there_are_several(space, table):
    with pytest.raises(ParamsError, match="say which column"):
        read_column(table, space, column=None, quantity="latency_ms")
    with pytest.raises(ParamsError, match="say which column"):
        read_column(table, space, column="tablet_ms", quantity="latency_ms")


def test_a_predictor_of_another_space_is_refused(table, tmp_path):
    other = small_space()
    predictor = build_predictor(other, "ridge", seed=0)
    predictor.fit(*labeled_sample(other, 20, seed=0))
    save_predictor(predictor, tmp_path / "predictor")
    with pytest.raises(ArchError, match="not for ofa_mbv3"):
        load_estimates(SPACE_ID, accuracy=tmp_path / "predictor", latency=table)


def test_estimates_without_a_common_resolution_are_refused(space, table, tmp_path):
    rows = rows_of(space)
    rows["image_size"] = [128] * len(rows["image_size"])
    other = write(tmp_path / "o.parquet", rows)
    with pytest.raises(ParamsError, match="no resolution in common"):
        load_estimates(SPACE_ID, accuracy=table, latency=other, latency_column="phone_ms")


@pytest.mark.parametrize("name", ["accuracy", "latency"])
def test_a_file_of_no_known_kind_is_refused(table, tmp_path, name):
    files = {"accuracy": table, "latency": table, name: tmp_path / "x.csv"}
    with pytest.raises(ParamsError, match=f"--{name} must be"):
        load_estimates(SPACE_ID, **files, latency_column="phone_ms")


def test_a_predictor_is_asked_in_the_resolutions_of_its_own_space(space, table, tmp_path):
    predictor = build_predictor(space, "ridge", seed=0)
    genes = space.sample(np.random.default_rng(0), 60)
    predictor.fit(genes, true_accuracy(space, genes))
    save_predictor(predictor, tmp_path / "p")
    estimates = load_estimates(
        SPACE_ID, accuracy=tmp_path / "p", latency=table, latency_column="phone_ms"
    )
    assert estimates.space.resolutions_px == RESOLUTIONS_PX
    archs = estimates.space.archs(estimates.space.sample(np.random.default_rng(1), 5))
    ours = estimates.accuracy(estimates.space.genes(archs))[0]
    np.testing.assert_allclose(ours, predictor.predict(space.genes(archs))[0])


def test_slopes_are_those_of_the_resolutions_that_both_know(space, table, tmp_path):
    predictor = MlpEnsemble(space, settings=MlpSettings(width=8, epochs=3, members=2))
    genes = space.sample(np.random.default_rng(0), 60)
    predictor.fit(genes, true_accuracy(space, genes))
    save_predictor(predictor, tmp_path / "p")
    estimates = load_estimates(
        SPACE_ID, accuracy=tmp_path / "p", latency=table, latency_column="phone_ms"
    )
    assert estimates.trace is not None
    few = estimates.space.sample(np.random.default_rng(1), 5)
    rows = np.array([1, 3])
    ours = estimates.trace(few)
    theirs = predictor.trace(space.genes(estimates.space.archs(few)))
    np.testing.assert_allclose(ours.mean, theirs.mean)
    whole, part = theirs.slopes(rows), ours.slopes(rows)
    known = [space.resolutions_px.index(px) for px in RESOLUTIONS_PX]
    np.testing.assert_allclose(part[:, : len(known)], whole[:, known])
    others = len(space.resolutions_px)
    np.testing.assert_allclose(part[:, len(known) :], whole[:, others:])
