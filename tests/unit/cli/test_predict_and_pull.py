"""`predict` on files and folders, `pull` into a folder: nothing lost, nothing half done."""

import json
import os
import sys
import time

import pytest
from PIL import Image

from ofa_pipeline.cli import main
from ofa_pipeline.cli.pull import _chosen_files
from ofa_pipeline.documents.answers import PromotionAnswer, PullAnswer, SubnetList
from tests.support.images import encoded, noise
from tests.support.registry import InMemoryRegistry, digest_of, subnet_record, write_bundle

MODEL = "models:/ofa-tiny-cpu"


@pytest.fixture
def cli(monkeypatch, tmp_path, capsys):
    """Run a command in this process; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ofa-pipeline", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err

    return run


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """A registry with a fast subnet and a more accurate one, wherever the commands look."""
    found = InMemoryRegistry()
    for latency_ms, accuracy in ((1.0, 0.8), (3.0, 0.9)):
        bundle = write_bundle(tmp_path / "registered" / str(latency_ms))
        (bundle / "weights.safetensors").write_bytes(b"w" * int(latency_ms))
        record = subnet_record(
            accuracy=accuracy, latency_ms=latency_ms, bundle_digest=digest_of(bundle)
        )
        found.register(record, bundle)
    monkeypatch.setattr("ofa_pipeline.registry.open_registry", lambda *_, **__: found)
    return found


@pytest.fixture
def photos(tmp_path):
    """A folder of folders with good images, a bad one, and what systems leave behind."""
    root = tmp_path / "photos"
    (root / "b" / "deep").mkdir(parents=True)
    for name, colour in (("a", "red"), ("b/two", "green"), ("b/deep/three", "blue")):
        Image.new("RGB", (20, 20), colour).save(root / f"{name}.png")
    (root / "b" / "bad.png").write_bytes(b"no")
    for junk in (".DS_Store", "Thumbs.db", "._a.png", "b/desktop.ini", "notes.txt"):
        (root / junk).write_text("x")
    (root / "b" / "weights.safetensors").write_bytes(bytes(range(256)))
    return root


# ---- predict ----------------------------------------------------------------------------------


def test_answers_for_programs_are_as_their_schemas_say(cli, registry):
    for words, model, length in [
        (("subnets", "--json"), SubnetList, None),
        (("pull", "-d", "cpu", "--json", "fetched"), PullAnswer, 8),
        (("promote", f"{MODEL}/1", "--json"), PromotionAnswer, 7),
    ]:
        out = json.loads(cli(*words)[1])
        found = model.model_validate(out, strict=False)
        assert found.model_dump(mode="json") == out  # nothing that the schema does not have
        assert length in (None, len(out))


def test_folder_is_classified_in_order_and_a_bad_image_stops_nothing(cli, registry, photos):
    code, out, err = cli("predict", "photos")
    assert code == 1
    assert [line.split(" (")[0] for line in out.splitlines()] == [
        "photos/a.png: red",
        "photos/b/two.png: green",
        "photos/b/deep/three.png: blue",
    ]
    assert "error: photos/b/bad.png: not an image" in err
    assert "1 of 4 images could not be read" in err
    assert f"asking {MODEL}/2" in err


def test_json_is_one_array_with_every_image_in_its_place(cli, registry, photos):
    code, out, _ = cli("predict", "photos", "--json", "--top", "2")
    answers = json.loads(out)
    assert code == 1
    assert [answer["image"] for answer in answers] == [
        f"photos/{name}" for name in ("a.png", "b/bad.png", "b/two.png", "b/deep/three.png")
    ]
    assert set(answers[1]) == {"image", "error"}
    good = answers[2]
    assert (good["class_name"], good["class_index"]) == ("green", 1)
    assert [len(good["top"]), good["top"][0]["class_name"]] == [2, "green"]
    assert good["probability"] == good["top"][0]["probability"] > 0.9
    assert "label" not in good


def test_top_shows_the_most_likely_first_and_never_more_than_there_are(cli, registry, photos):
    out = cli("predict", "photos/a.png", "--top", "5")[1]
    assert out.count("%") == 3
    assert out.startswith("photos/a.png: red (")


def test_files_and_folders_may_be_mixed(cli, registry, photos, tmp_path):
    code, out, err = cli("predict", "photos/a.png", "none.png", "photos/b/deep")
    assert code == 1
    assert out.count("\n") == 2
    assert "none.png cannot be read" in err


def test_good_images_end_with_zero(cli, registry, photos):
    (photos / "b" / "bad.png").unlink()
    assert cli("predict", "photos")[0] == 0


@pytest.mark.parametrize("content", [(), ("readme.txt", ".DS_Store")])
def test_folder_without_images_is_an_error(cli, registry, tmp_path, content):
    (tmp_path / "empty").mkdir()
    for name in content:
        (tmp_path / "empty" / name).write_text("text")
    code, out, err = cli("predict", "empty")
    assert (code, out) == (1, "")
    assert "found none" in err


def test_links_are_followed_once_and_strange_names_are_shown(cli, registry, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    content = encoded(noise(0))
    (folder / "new\nline.png").write_bytes(content)
    with open(os.fsencode(folder) + b"/caf\xe9.png", "wb") as file:  # noqa: PTH123 - bytes
        file.write(content)
    (folder / "loop").symlink_to("..", target_is_directory=True)
    code, out, _ = cli("predict", "odd", "--json")
    assert code == 0
    names = [answer["image"] for answer in json.loads(out)]
    assert sorted(names) == ["odd/caf\\xe9.png", "odd/new\\nline.png"]


def test_best_and_predict_choose_by_one_rule(cli, registry, photos):
    answers = []
    for number, bounds in enumerate(
        (
            (),
            ("-t", "2"),
            ("-t", "3"),
            ("--min-accuracy", "0.85"),
            ("-t", "3", "--quantile", "p95"),
            ("-t", "3", "--verdict", "within"),
            ("--max-size-mb", "1"),
        )
    ):
        answered = cli("predict", "photos/a.png", "-d", "cpu", *bounds)[2]
        words = bounds if "-t" in bounds else (*bounds, "-t", "99")
        best = json.loads(cli("best", "-d", "cpu", *words, "--json")[1])
        pulled = json.loads(cli("pull", f"p{number}", "-d", "cpu", *bounds, "--json")[1])
        assert best["model_uri"] in answered
        assert pulled["model_uri"] == best["model_uri"]
        answers.append(best["version"])
    assert answers == [2, 1, 2, 2, 1, 1, 2]


def test_neither_best_nor_predict_compares_datasets(cli, registry, photos, tmp_path):
    bundle = tmp_path / "registered" / "1.0"
    record = subnet_record(accuracy=0.99, dataset="cars", lineage={"artifacts/dataset": "ca" * 32})
    registry.register(record, bundle)
    for words in (("predict", "photos/a.png"), ("best", "-d", "cpu", "-t", "9")):
        code, out, err = cli(*words, "--dataset", "any")
        assert (code, out) == (1, "")
        assert "Accuracies on different ones do not compare" in err
        assert "cars" in err


def test_bounds_that_nothing_meets_end_with_four(cli, registry, photos):
    code, _, err = cli("predict", "photos/a.png", "-d", "cpu", "-t", "0.1", "-w", "elsewhere")
    assert code == 4
    assert "ofa-pipeline subnets --workspace elsewhere" in err


def test_bundle_leaves_no_room_for_bounds(cli, photos, tmp_path):
    write_bundle(tmp_path / "mine")
    code, _, err = cli("predict", "photos/a.png", "--bundle", "mine", "-t", "1")
    assert code == 1
    assert "leave out --max-latency-ms" in err
    code, _, err = cli("predict", "photos/a.png", "--bundle", "mine", "--quantile", "p95")
    assert (code, "leave out --quantile" in err) == (1, True)


def test_bundle_without_a_card_is_used_with_a_line(cli, photos, tmp_path):
    (write_bundle(tmp_path / "mine") / "card.json").unlink()
    code, out, err = cli("predict", "photos/a.png", "--bundle", "mine")
    assert (code, out[:17]) == (0, "photos/a.png: red")
    assert "holds no card.json" in err


def test_changed_network_does_not_answer(cli, photos, tmp_path):
    path = write_bundle(tmp_path / "mine") / "model.onnx"
    content = bytearray(path.read_bytes())
    content[content.index(b"gain") + 12] ^= 1
    path.write_bytes(content)
    code, out, err = cli("predict", "photos/a.png", "--bundle", "mine")
    assert (code, out) == (1, "")
    assert "was changed after it was written" in err
    assert "fault of the program" not in err


def test_a_thousand_images_take_seconds(cli, registry, tmp_path):
    (tmp_path / "many").mkdir()
    content = encoded(noise(0, height=28, width=28))
    for index in range(1000):
        (tmp_path / "many" / f"{index:04d}.png").write_bytes(content)
    start = time.monotonic()
    code, out, _ = cli("predict", "many")
    assert (code, out.count("\n")) == (0, 1000)
    assert time.monotonic() - start < 20  # measured: 1 s


# ---- pull -------------------------------------------------------------------------------------


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_version_is_pulled_whole(cli, registry, tmp_path):
    code, out, _ = cli("pull", f"{MODEL}/1", "phone")
    assert code == 0
    assert files_of(tmp_path / "phone") == files_of(tmp_path / "registered" / "1.0")
    assert f"{MODEL}/1: top-1 80.00%" in out
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_printed_command_classifies(cli, registry, photos, tmp_path):
    out = cli("pull", f"{MODEL}/1", "my phone")[1]
    assert "`ofa-pipeline predict --bundle 'my phone'`" in out
    assert "`python 'my phone/classify.py'`" in out
    assert cli("predict", "--bundle", "my phone", "photos/a.png")[0] == 0


def test_best_of_a_device_is_pulled_by_default_beside_us(cli, registry, tmp_path):
    assert json.loads(cli("pull", "-d", "cpu", "-t", "2", "--json")[1])["folder"] == (
        "ofa-tiny-cpu-v1"
    )
    shown = json.loads(cli("pull", "-d", "cpu", "--json", "best")[1])
    assert shown["model_uri"] == f"{MODEL}/2"
    assert set(shown["files"]) == set(files_of(tmp_path / "best"))


@pytest.mark.parametrize(
    ("name", "file"), [("onnx", "model.onnx"), ("weights", "weights.safetensors")]
)
def test_one_format_is_pulled_with_the_documents(cli, registry, tmp_path, name, file):
    assert cli("pull", f"{MODEL}/1", "out", "--format", name)[0] == 0
    assert set(files_of(tmp_path / "out")) == {file, "subnet.json", "card.json"}


def test_the_file_of_a_device_in_int8_is_an_onnx_file_too(registry, tmp_path):
    bundle = tmp_path / "in-int8"
    bundle.mkdir()
    for name in ("model.onnx", "model.int8.onnx", "subnet.json", "card.json", "classify.py"):
        (bundle / name).write_text(name)
    names = {path.name for path in _chosen_files(bundle, registry.version(f"{MODEL}/1"), "onnx")}
    assert names == {"model.onnx", "model.int8.onnx", "subnet.json", "card.json"}


def test_pulling_again_changes_nothing(cli, registry, tmp_path):
    cli("pull", f"{MODEL}/1", "phone")
    before = (tmp_path / "phone" / "model.onnx").stat().st_mtime_ns
    (tmp_path / "phone" / "__pycache__").mkdir()
    code, out, _ = cli("pull", f"{MODEL}/1", "phone")
    assert code == 0
    assert "is there already" in out
    assert (tmp_path / "phone" / "model.onnx").stat().st_mtime_ns == before


@pytest.mark.parametrize("kind", ["other file", "other version", "changed", "a file"])
def test_folder_with_something_else_is_left_alone(cli, registry, tmp_path, kind):
    target = tmp_path / "phone"
    if kind == "other version":
        cli("pull", f"{MODEL}/2", "phone")
    elif kind == "a file":
        target.write_text("mine")
    else:
        cli("pull", f"{MODEL}/1", "phone")
        (target / ("mine.txt" if kind == "other file" else "model.onnx")).write_text("mine")
    before = target.read_text() if kind == "a file" else files_of(target)
    code, _, err = cli("pull", f"{MODEL}/1", "phone")
    assert code == 1
    assert "must be" in err
    assert before == (target.read_text() if kind == "a file" else files_of(target))


def test_empty_folder_is_filled(cli, registry, tmp_path):
    (tmp_path / "phone").mkdir()
    assert cli("pull", f"{MODEL}/1", "phone")[0] == 0
    assert (tmp_path / "phone" / "model.onnx").exists()


def test_failed_pull_leaves_nothing(cli, registry, tmp_path):
    (tmp_path / "registered" / "1.0" / "weights.safetensors").unlink()
    code, _, err = cli("pull", f"{MODEL}/1", "out", "--format", "weights")
    assert code == 1
    assert "has no weights.safetensors for --format weights" in err
    assert {path.name for path in tmp_path.iterdir()} == {"registered"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "pull needs a version"),
        (("phone",), "pull needs a version"),
        ((f"{MODEL}/9",), "no models:/ofa-tiny-cpu/9"),
        (("models:/other/1",), "no models:/other/1"),
        ((f"{MODEL}/1", "-d", "cpu"), "leave out --device"),
        ((f"{MODEL}/1", f"{MODEL}/2"), "one models:/NAME/VERSION"),
        (("a", "b", "-d", "cpu"), "one folder"),
        (("", "-d", "cpu"), "must have a name"),
    ],
)
def test_question_that_is_none_is_refused(cli, registry, words, message):
    code, _, err = cli("pull", *words)
    assert code == 1
    assert message in err


@pytest.mark.parametrize(
    ("version", "is_formed"), [(f"{MODEL}/7", True), (MODEL, False), (f"{MODEL}/latest", False)]
)
def test_unknown_version_is_blamed_for_its_form_only_if_that_is_wrong(
    cli, registry, version, is_formed
):
    code, _, err = cli("pull", version, "phone")
    assert code == 1
    assert f"the registry has no {version}." in err
    assert ("It should read models:/NAME/VERSION" in err) is not is_formed


# ---- what `best` prints to paste --------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (None, "sqlite:///{workspace}/mlflow.db"),
        ("sqlite:///mine.db", "sqlite:///{workspace}/mine.db"),
        ("sqlite:////elsewhere/mine.db", None),
        ("http://you:secret@127.0.0.1:9", None),
    ],
)
def test_best_tells_python_where_the_registry_is_unless_python_knows(
    cli, registry, monkeypatch, tmp_path, address, told
):
    if address is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    else:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = tmp_path / "workspace"
    place.mkdir()
    _, out, _ = cli("best", "-d", "cpu", "-t", "2", "--workspace", place)
    [line] = [line for line in out.splitlines() if line.startswith("load it with")]
    assert "secret" not in line
    expected = told and f"mlflow.set_tracking_uri('{told.format(workspace=place)}')"
    assert (expected in line) if expected else ("set_tracking_uri" not in line)
