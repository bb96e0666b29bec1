"""What a stage reads is what was written; a file is read once while nobody writes to it."""

import json
import os
import time

import pytest

from ofa_pipeline.artifacts import (
    Layout,
    Manifest,
    digest_file,
    read_json,
    verify_artifact,
    verify_file,
    write_artifact,
)
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.integrity import DigestCache, digest_cache, verify_inputs, verify_workspace


@pytest.fixture
def artifact(tmp_path):
    return write(tmp_path, "one")


def write(root, name, content=b"data" * 100):
    folder = Layout(root).artifacts / name
    arguments = {"stage": "s", "item": None, "params": {"a": 0.5, "b": "x"}, "inputs": []}
    with write_artifact(folder, **arguments) as writer:
        (writer.folder / "sub").mkdir()
        (writer.folder / "sub" / "data.bin").write_bytes(content)
        writer.summary["size"] = len(content)
    return folder


def flip(path, offset=0, *, bit=1, keep_time=True):
    state = path.stat()
    content = bytearray(path.read_bytes())
    content[offset] ^= bit
    path.write_bytes(content)
    if keep_time:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def make_old(monkeypatch, seconds=10):
    """Let the clock go on, so that what was just written is not too young to be remembered."""
    now = time.time_ns
    monkeypatch.setattr("ofa_pipeline.integrity.time.time_ns", lambda: now() + seconds * 10**9)


class TestVerifyInputs:
    def test_accepts_what_was_written(self, tmp_path, artifact):
        verify_inputs([artifact, artifact / "sub" / "data.bin"], root=tmp_path)

    def test_finds_a_bit_flipped_with_its_time_kept(self, tmp_path, artifact, monkeypatch):
        make_old(monkeypatch)
        verify_inputs([artifact], root=tmp_path)
        assert "data.bin" in (tmp_path / "scratch" / "digests.json").read_text()
        flip(artifact / "sub" / "data.bin", 123)
        with pytest.raises(ManifestMismatchError, match=r"data\.bin was changed.*rm -r .*one &&"):
            verify_inputs([artifact], root=tmp_path)

    def test_finds_a_damaged_file_that_is_an_input_alone(self, tmp_path, artifact):
        flip(artifact / "sub" / "data.bin")
        with pytest.raises(ManifestMismatchError, match=r"data\.bin was changed"):
            verify_inputs([artifact / "sub" / "data.bin"], root=tmp_path)

    def test_leaves_what_is_missing_to_the_stage(self, tmp_path):
        verify_inputs([tmp_path / "artifacts" / "nothing"], root=tmp_path)

    def test_finds_a_file_that_is_gone(self, tmp_path, artifact):
        (artifact / "sub" / "data.bin").unlink()
        with pytest.raises(MissingArtifactError, match=r"data\.bin is missing"):
            verify_inputs([artifact], root=tmp_path)

    def test_finds_a_file_that_was_added(self, tmp_path, artifact):
        (artifact / "sub" / "train-00009.parquet").write_text("")
        with pytest.raises(ManifestMismatchError, match=r"train-00009\.parquet was added"):
            verify_inputs([artifact], root=tmp_path)

    @pytest.mark.parametrize("name", [".DS_Store", "sub/._data.bin", "Thumbs.db"])
    def test_passes_over_what_browsers_leave(self, tmp_path, artifact, name):
        (artifact / name).write_text("")
        verify_inputs([artifact], root=tmp_path)


class TestManifest:
    def test_no_flipped_bit_gives_another_manifest(self, artifact):
        path = artifact / "manifest.json"
        whole, expected = path.read_bytes(), Manifest.read(artifact, made_by="a test")
        for offset in range(len(whole)):
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << offset % 8
            path.write_bytes(damaged)
            try:
                found = Manifest.read(artifact, made_by="a test")
            except ManifestMismatchError:
                continue
            assert found == expected, offset

    def test_of_an_earlier_version_has_no_digest_and_is_read(self, artifact):
        path = artifact / "manifest.json"
        expected = Manifest.read(artifact, made_by="a test")
        values = read_json(path, made_by="a test")
        assert values.pop("digest") == expected.digest
        path.write_text(json.dumps(values))
        assert Manifest.read(artifact, made_by="a test") == expected


class TestCache:
    def test_reads_a_file_once(self, tmp_path, artifact, monkeypatch):
        make_old(monkeypatch)
        verify_inputs([artifact], root=tmp_path)
        monkeypatch.setattr("ofa_pipeline.integrity.digest_file", None)  # reading would fail
        verify_inputs([artifact], root=tmp_path)

    def test_does_not_remember_a_file_that_was_just_written(self, tmp_path, artifact):
        verify_inputs([artifact], root=tmp_path)
        assert not (tmp_path / "scratch" / "digests.json").exists()

    @pytest.mark.parametrize("keep_time", [True, False])
    def test_reads_a_file_again_that_was_written_to(
        self, tmp_path, artifact, monkeypatch, keep_time
    ):
        make_old(monkeypatch)
        path = artifact / "sub" / "data.bin"
        cache = DigestCache(tmp_path / "digests.json")
        before = cache.digest(path)
        cache.save()
        flip(path, keep_time=keep_time)
        assert DigestCache(tmp_path / "digests.json").digest(path) == digest_file(path) != before

    def test_a_flipped_bit_in_it_never_gives_a_wrong_digest(self, tmp_path, artifact, monkeypatch):
        make_old(monkeypatch)
        verify_inputs([artifact], root=tmp_path)
        path, file = tmp_path / "scratch" / "digests.json", artifact / "sub" / "data.bin"
        whole, expected = path.read_bytes(), digest_file(file)
        for offset in range(len(whole)):
            damaged = bytearray(whole)
            damaged[offset] ^= 1
            path.write_bytes(damaged)
            assert digest_cache(tmp_path).digest(file) == expected

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"files": 3, "digest": 3}', b"\xff"])
    def test_of_another_kind_is_none(self, tmp_path, artifact, content):
        (tmp_path / "scratch").mkdir()
        (tmp_path / "scratch" / "digests.json").write_bytes(content)
        verify_inputs([artifact], root=tmp_path)

    def test_two_that_save_at_once_keep_what_both_read(self, tmp_path, monkeypatch):
        make_old(monkeypatch)
        folders = [write(tmp_path, name) for name in ("one", "two")]
        caches = [digest_cache(tmp_path) for _ in folders]
        for cache, folder in zip(caches, folders, strict=True):
            cache.digest(folder / "sub" / "data.bin")
        for cache in caches:
            cache.save()
        text = (tmp_path / "scratch" / "digests.json").read_text()
        assert "one/sub/data.bin" in text
        assert "two/sub/data.bin" in text


class TestVerifyFile:
    def test_finds_a_damaged_file_of_an_artifact(self, artifact):
        verify_file(artifact / "sub" / "data.bin")
        flip(artifact / "sub" / "data.bin")
        with pytest.raises(ManifestMismatchError):
            verify_file(artifact / "sub" / "data.bin")

    def test_has_nothing_to_say_of_other_files(self, tmp_path):
        (tmp_path / "a.bin").write_bytes(b"a")
        verify_file(tmp_path / "a.bin")


class TestVerifyWorkspace:
    def test_reads_all_again_whatever_the_cache_says(self, tmp_path, monkeypatch):
        make_old(monkeypatch)
        for name in ("dataset", "supernet/largest", "supernet/expand"):
            write(tmp_path, name)
        damaged = Layout(tmp_path).supernet("expand") / "sub" / "data.bin"
        flip(damaged)
        found = {item.name: item for item in verify_workspace(tmp_path)}
        assert sorted(found) == [
            "artifacts/dataset",
            "artifacts/supernet/expand",
            "artifacts/supernet/largest",
        ]
        assert found["artifacts/dataset"].fault == ""
        assert found["artifacts/dataset"].num_files == 2
        assert "data.bin was changed" in found["artifacts/supernet/expand"].fault

    def test_names_a_folder_without_a_manifest(self, tmp_path, artifact):
        (artifact / "manifest.json").unlink()
        (artifact / "stray.txt").write_text("")
        (found,) = verify_workspace(tmp_path)
        assert "manifest.json is missing" in found.fault

    def test_finds_nothing_in_an_empty_workspace(self, tmp_path):
        assert list(verify_workspace(tmp_path)) == []


def test_verify_artifact_takes_any_digest(artifact):
    with pytest.raises(ManifestMismatchError):
        verify_artifact(artifact, digest=lambda _: "0" * 64)
