import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ofa_pipeline.artifacts import (
    Layout,
    Manifest,
    digest_file,
    digest_input,
    digest_json,
    read_json,
    verify_artifact,
    write_artifact,
    write_bytes,
    write_json,
)
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError

DEAD_PID = 2**22 + 1


def write(root, name="one", *, content="data", params=None, inputs=()):
    folder = Layout(root).artifacts / name
    arguments = {"stage": "s", "item": None, "params": params or {}, "inputs": list(inputs)}
    with write_artifact(folder, **arguments) as writer:
        (writer.folder / "sub").mkdir()
        (writer.folder / "sub" / "data.txt").write_text(content)
        writer.summary["size"] = len(content)
    return folder


def manifest_of(folder):
    return Manifest.read(folder, made_by="a test")


def left_in(root):
    return sorted(path.name for path in Layout(root).artifacts.iterdir())


def test_artifact_has_its_files_and_a_manifest(tmp_path):
    folder = write(tmp_path, params={"seed": 1})
    manifest = manifest_of(folder)
    assert manifest.files == {"sub/data.txt": digest_file(folder / "sub" / "data.txt")}
    assert (manifest.stage, manifest.item, manifest.params) == ("s", None, {"seed": 1})
    assert manifest.summary == {"size": 4}
    assert left_in(tmp_path) == ["one"]


def test_same_content_gives_the_same_manifest_anywhere(tmp_path):
    one, other = write(tmp_path / "here"), write(tmp_path / "there")
    assert (one / "manifest.json").read_bytes() == (other / "manifest.json").read_bytes()


@pytest.mark.parametrize("change", [{"content": "other"}, {"params": {"seed": 2}}])
def test_digest_changes_with_content_and_params(tmp_path, change):
    before = manifest_of(write(tmp_path / "a", params={"seed": 1})).digest
    after = manifest_of(write(tmp_path / "b", **{"params": {"seed": 1}, **change})).digest
    assert before != after


def test_digest_changes_with_the_inputs(tmp_path):
    digests = set()
    for root, content in ((tmp_path / "a", "1"), (tmp_path / "b", "2")):
        first = write(root, "first", content=content)
        second = write(root, "second", inputs=[first])
        assert manifest_of(second).inputs == {"artifacts/first": manifest_of(first).digest}
        digests.add(manifest_of(second).digest)
    assert len(digests) == 2


def test_single_file_may_be_an_input(tmp_path):
    first = write(tmp_path, "first")
    second = write(tmp_path, "second", inputs=[first / "sub" / "data.txt"])
    assert manifest_of(second).inputs == {
        "artifacts/first/sub/data.txt": digest_file(first / "sub" / "data.txt")
    }


def test_missing_input_is_named_before_any_work(tmp_path):
    with pytest.raises(MissingArtifactError, match="nothing"):
        write(tmp_path, inputs=[Layout(tmp_path).artifacts / "nothing"])
    assert not Layout(tmp_path).artifacts.exists()


def test_artifact_of_a_deeper_folder_names_inputs_from_the_workspace(tmp_path):
    first = write(tmp_path, "first")
    deep = write(tmp_path, "supernet/kernel", inputs=[first])
    assert list(manifest_of(deep).inputs) == ["artifacts/first"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failed_writer_leaves_nothing_and_the_older_artifact_whole(tmp_path, error):
    folder = write(tmp_path, content="old")
    arguments = {"stage": "s", "item": None, "params": {}, "inputs": []}
    with pytest.raises(error), write_artifact(folder, **arguments) as writer:  # noqa: PT012
        (writer.folder / "half.txt").write_text("half")
        raise error
    assert left_in(tmp_path) == ["one"]
    assert (folder / "sub" / "data.txt").read_text() == "old"


def test_newer_artifact_replaces_every_file_of_the_older(tmp_path):
    folder = write(tmp_path)
    (folder / "stray.txt").write_text("")
    write(tmp_path, content="new")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "sub"]
    assert left_in(tmp_path) == ["one"]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    artifacts = Layout(tmp_path).artifacts
    (artifacts / f".one.writing.{DEAD_PID}.abc").mkdir(parents=True)
    (artifacts / f".other.writing.{DEAD_PID}.abc").mkdir()
    write(tmp_path)
    assert left_in(tmp_path) == [f".other.writing.{DEAD_PID}.abc", "one"]


def test_what_a_killed_writer_left_that_nobody_has_waited_for_is_removed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as writer:
        writer.kill()
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie
        (Layout(tmp_path).artifacts / f".one.writing.{writer.pid}.abc").mkdir(parents=True)
        write(tmp_path)
    assert left_in(tmp_path) == ["one"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_what_a_living_writer_works_on_is_left_alone(tmp_path):
    name = f".one.writing.{os.getppid()}.abc"
    (Layout(tmp_path).artifacts / name).mkdir(parents=True)
    write(tmp_path)
    assert left_in(tmp_path) == [name, "one"]


def test_sigkill_leaves_the_older_artifact_whole(tmp_path):
    folder = write(tmp_path, content="old")
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from ofa_pipeline.artifacts import write_artifact\n"
        "with write_artifact(Path(sys.argv[1]), stage='s', item=None, params={}, inputs=[]) as w:\n"
        "    (w.folder / 'half.txt').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    assert process.returncode == -9
    assert (folder / "sub" / "data.txt").read_text() == "old"
    assert len(left_in(tmp_path)) == 2
    write(tmp_path, content="new")
    assert left_in(tmp_path) == ["one"]


def test_full_disk_names_the_artifact(tmp_path):
    folder = Layout(tmp_path).artifacts / "one"
    arguments = {"stage": "s", "item": None, "params": {}, "inputs": []}
    with pytest.raises(OSError, match="No space left") as caught:  # noqa: SIM117
        with write_artifact(folder, **arguments):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(folder)
    assert left_in(tmp_path) == []


def test_artifact_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "artifacts").write_text("")
    with pytest.raises(OSError, match="artifacts"):
        write(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_artifact_folder_is_an_error_that_names_it(tmp_path):
    Layout(tmp_path).artifacts.mkdir()
    Layout(tmp_path).artifacts.chmod(0o555)
    with pytest.raises(PermissionError, match="artifacts"):
        write(tmp_path)


def test_verify_accepts_what_was_written(tmp_path):
    folder = write(tmp_path)
    assert verify_artifact(folder) == manifest_of(folder)


def test_verify_finds_a_changed_file(tmp_path):
    folder = write(tmp_path)
    (folder / "sub" / "data.txt").write_text("Data")
    with pytest.raises(ManifestMismatchError, match=r"data\.txt was changed after it was written"):
        verify_artifact(folder)


def test_verify_finds_a_missing_file(tmp_path):
    folder = write(tmp_path)
    (folder / "sub" / "data.txt").unlink()
    with pytest.raises(MissingArtifactError, match=r"data\.txt is missing"):
        verify_artifact(folder)


def test_missing_manifest_says_what_produces_it(tmp_path):
    with pytest.raises(MissingArtifactError, match=r"manifest\.json is missing.*with: a test"):
        manifest_of(tmp_path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "is not valid JSON"),
        ("[]", r"must be an object, got \[\]"),
        ('{"colour": 1}', "stage is missing"),
        ('{"stage": "s", "item": null, "params": {}, "colour": 1}', "unknown name colour"),
        ('{"stage": 4, "item": null, "params": {}}', "stage must be str, got 4"),
        ('{"stage": "s", "item": null, "params": []}', r"params must be dict, got \[\]"),
        ('{"stage": "s", "item": null, "params": {}, "format": 2}', "be of format 1, found 2"),
        *(
            (
                f'{{"stage": "s", "item": null, "params": {{}}, "files": {{"{name}": "0"}}}}',
                "files must lie in the artifact",
            )
            for name in ("../dvc.yaml", "a/../../b", "/etc/passwd", ".")
        ),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_field(tmp_path, content, fault):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ManifestMismatchError, match=fault) as raised:
        manifest_of(tmp_path)
    assert str(tmp_path / "manifest.json") in str(raised.value)


def test_input_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(MissingArtifactError, match="ofa-pipeline run"):
        digest_input(tmp_path / "nothing.json")


def test_json_is_written_with_sorted_keys_and_read_back(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"b": 1, "a": [0.5]})
    assert list(json.loads((tmp_path / "deep" / "a.json").read_text())) == ["a", "b"]
    assert read_json(tmp_path / "deep" / "a.json", made_by="a test") == {"a": [0.5], "b": 1}


def test_digest_of_json_does_not_depend_on_the_order_of_keys():
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})


def test_failed_write_leaves_the_older_file(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a", b"old")

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ofa_pipeline.artifacts.files.os.fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes(tmp_path / "a", b"new")
    assert caught.value.filename == str(tmp_path / "a")  # a full disk does not say which
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_layout_names_every_artifact_below_the_workspace(tmp_path):
    layout = Layout(tmp_path)
    folders = [
        layout.dataset,
        layout.supernet("kernel"),
        layout.accuracy,
        layout.predictor,
        layout.latency("cpu"),
        layout.search("cpu"),
        layout.subnets("cpu"),
        layout.registry("cpu"),
        layout.report,
    ]
    assert [layout.relative(folder) for folder in folders] == [
        "artifacts/dataset",
        "artifacts/supernet/kernel",
        "artifacts/accuracy",
        "artifacts/predictor",
        "artifacts/latency/cpu",
        "artifacts/search/cpu",
        "artifacts/subnets/cpu",
        "artifacts/registry/cpu",
        "artifacts/report",
    ]
    assert layout.scratch("search", "0" * 64) == tmp_path / "scratch" / "search" / ("0" * 16)
