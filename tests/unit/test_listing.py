"""What files a source has: names, sizes and times, and what changed among them."""

import os

import pytest

from ofa_pipeline.data.sources import junk
from ofa_pipeline.errors import DatasetError, ManifestMismatchError
from ofa_pipeline.listing import (
    IGNORED,
    compare,
    files_of_source,
    list_files,
    read_listing,
    write_listing,
)

T = 1_700_000_000_000_000_000


def put(root, name, content="x", *, mtime_ns=T):
    path = root / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


@pytest.fixture
def pets(tmp_path):
    root = tmp_path / "pets"
    for name in (b"cat/1.png", b"cat/2.png", b"dog/1.png", b"cat.d/9.png"):
        put(root, name)
    return root


def names(root):
    return [file.name for file in list_files(root)]


def listing(root, path):
    write_listing(path, list_files(root))
    return path


def difference(root, tmp_path, change):
    before = listing(root, tmp_path / "before.gz")
    change()
    after = listing(root, tmp_path / "after.gz")
    return str(compare(read_listing(before), read_listing(after)))


def test_files_come_by_name_folder_by_folder(pets):
    assert names(pets) == [b"cat/1.png", b"cat/2.png", b"cat.d/9.png", b"dog/1.png"]


def test_linked_folders_are_followed(pets, tmp_path):
    put(tmp_path / "more", b"7.png")
    (pets / "cat" / "batch2").symlink_to(tmp_path / "more")
    assert b"cat/batch2/7.png" in names(pets)


def test_a_link_to_a_folder_above_ends_there(pets):
    (pets / "cat" / "again").symlink_to(pets)
    (pets / "cat" / "self").symlink_to(pets / "cat")
    assert names(pets) == [b"cat/1.png", b"cat/2.png", b"cat.d/9.png", b"dog/1.png"]


def test_a_link_that_leads_nowhere_is_listed_and_seen_when_it_leads_somewhere(pets, tmp_path):
    (pets / "cat" / "later.png").symlink_to(tmp_path / "later.png")
    assert b"cat/later.png" in names(pets)
    text = difference(pets, tmp_path, lambda: put(tmp_path, b"later.png"))
    assert text == "1 changed (cat/later.png)"


def test_names_need_not_be_text(pets, tmp_path):
    put(pets, b"caf\xe9/new\nline.png")
    assert b"caf\xe9/new\nline.png" in names(pets)
    path = listing(pets, tmp_path / "l.gz")
    assert list(read_listing(path)) == list(list_files(pets))
    text = difference(pets, tmp_path, lambda: put(pets, b"th\xe9 1.png"))
    assert text == r"1 added (th\xe9 1.png)"


@pytest.mark.parametrize(
    "junk", [b".DS_Store", b"cat/._1.png", b"cat/Thumbs.db", b".git/x", b"dog/desktop.ini"]
)
def test_what_browsers_leave_is_no_file_of_the_source(pets, tmp_path, junk):
    assert difference(pets, tmp_path, lambda: put(pets, junk)) == ""


def test_the_sources_pass_over_the_same_names():
    visible = {name.encode() for name in junk._NAMES if not name.startswith(".")}
    assert visible == IGNORED


CHANGES = {
    "added": (lambda root: put(root, b"cat/3.png"), "1 added (cat/3.png)"),
    "removed": (lambda root: (root / "dog" / "1.png").unlink(), "1 removed (dog/1.png)"),
    "longer": (lambda root: put(root, b"cat/1.png", "xy"), "1 changed (cat/1.png)"),
    "touched": (lambda root: put(root, b"cat/1.png", mtime_ns=T + 1), "1 changed (cat/1.png)"),
    "renamed": (
        lambda root: (root / "cat" / "1.png").rename(root / "cat" / "0.png"),
        "1 added (cat/0.png), 1 removed (cat/1.png)",
    ),
    "file to folder": (
        lambda root: ((root / "cat" / "2.png").unlink(), put(root, b"cat/2.png/a")),
        "1 added (cat/2.png/a), 1 removed (cat/2.png)",
    ),
    "nothing": (lambda root: put(root, b"cat/1.png"), ""),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(pets, tmp_path, change):
    do, expected = change
    assert difference(pets, tmp_path, lambda: do(pets)) == expected


def test_many_changes_are_counted_and_two_are_named(pets, tmp_path):
    text = difference(pets, tmp_path, lambda: [put(pets, b"new/%04d" % n) for n in range(1500)])
    assert text == "1,500 added (new/0000, new/0001, ...)"


def test_equal_files_give_equal_bytes(pets, tmp_path):
    one, other = (listing(pets, tmp_path / name) for name in ("a.gz", "b.gz"))
    assert one.read_bytes() == other.read_bytes()


def test_a_file_alone_is_a_source(tmp_path):
    path = put(tmp_path, b"images.parquet", "abc")
    (file,) = list_files(tmp_path / "images.parquet")
    assert (file.name, file.size, file.mtime_ns) == (b"", 3, path.stat().st_mtime_ns)


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere is not: No such file"):
        list(list_files(tmp_path / "nowhere"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(pets):
    (pets / "cat").chmod(0)
    with pytest.raises(DatasetError, match="cat is not: Permission denied"):
        list(list_files(pets))


def test_a_flipped_bit_in_a_listing_is_noticed(pets, tmp_path):
    whole = listing(pets, tmp_path / "l.gz").read_bytes()
    expected = list(read_listing(tmp_path / "l.gz"))
    for offset in range(len(whole)):
        damaged = bytearray(whole)
        damaged[offset] ^= 4
        (tmp_path / "bad.gz").write_bytes(damaged)
        try:
            found = list(read_listing(tmp_path / "bad.gz"))
        except ManifestMismatchError:
            continue
        assert found == expected, offset  # fields of the header that say nothing of the content


def test_a_cut_listing_is_noticed(pets, tmp_path):
    whole = listing(pets, tmp_path / "l.gz").read_bytes()
    for size in range(1, len(whole)):
        (tmp_path / "cut.gz").write_bytes(whole[:size])
        with pytest.raises(ManifestMismatchError, match=r"cut\.gz must be a listing"):
            list(read_listing(tmp_path / "cut.gz"))


def test_relative_sources_start_from_the_workspace(tmp_path):
    assert files_of_source("image_folder:pets", base=tmp_path).folder == tmp_path / "pets"
    assert str(files_of_source("parquet:/data/x", base=tmp_path).folder) == "/data/x"


@pytest.mark.parametrize("spec", ["fashion_mnist_sample", "torchvision:CIFAR10"])
def test_sources_without_files_of_the_user_say_why(tmp_path, spec):
    source = files_of_source(spec, base=tmp_path)
    assert source.folder is None
    assert "none is listed" in source.note
