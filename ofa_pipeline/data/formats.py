"""What a file is, by its first bytes: an image, a text beside images, or something with a name.

A name's ending only decides what becomes of a file that is no image: with the ending of one it
is an image that was lost, without it may be a note that belongs to the images.
"""

import re
from functools import cache
from pathlib import Path

from PIL import Image

HEAD_BYTES = 512
"""First bytes of a file that are enough to tell what it is."""

_STUBS = frozenset({"BUFR", "GRIB", "HDF5", "MPEG"})
"""Formats that Pillow knows by name and cannot decode."""
_MORE_ENDINGS = frozenset({".heic", ".heif", ".hif", ".avif", ".jxl", ".svg", ".dng", ".cr2"})
_LAST_ENDING = re.compile(r"(\.[a-z0-9]+)(?:[?#].*|[^a-z0-9.][^.]*|\.\d+)?", re.DOTALL)
"""Ending of ``a.png``, ``a.png?w=300&u=b.c``, ``a.png~``, ``a.jpg (1)``, ``a.jpg.2``."""
_NOTE_ENDINGS = frozenset(
    {
        *(".txt", ".json", ".jsonl", ".xml", ".csv", ".tsv", ".md", ".yaml", ".yml", ".toml"),
        *(".ini", ".cfg", ".html", ".htm", ".log", ".lock", ".done", ".md5", ".sha256"),
        *(".names", ".lst", ".pbtxt"),
    }
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_ASCII_IMAGE = re.compile(rb"P[1-7]\s|#define \w+_width|/\* XPM \*/")
_SVG = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg\b", re.DOTALL
)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_IMAGE_STARTS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"qoif", b"8BPS"),
    *(b"icns", b"DDS ", b"\x76\x2f\x31\x01", b"SIMPLE  ="),
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2")
_AVIF_BRANDS = (b"avif", b"avis")


def heif_kind(content: bytes) -> str | None:
    """Return ``HEIC`` or ``AVIF`` for a file of that kind, by its ``ftyp`` box; else None."""
    if content[4:8] != b"ftyp":
        return None
    length = int.from_bytes(content[:4], "big")
    brands = [content[at : at + 4] for at in (8, *range(16, min(length, HEAD_BYTES), 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return "AVIF"
    return "HEIC" if any(brand in _HEIC_BRANDS for brand in brands) else None


def describe(content: bytes) -> str:
    """Say what a file is that no decoder knows, and what helps; for the end of a sentence."""
    head = content[:HEAD_BYTES]
    for pattern, text in _OTHERS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return text
    return "of no known image format"


_OTHERS: tuple[tuple[bytes, str], ...] = (
    (rb"\Z", "empty"),
    (re.escape(_LFS_POINTER), "a pointer of Git LFS: fetch the files with git lfs pull"),
    (_SVG.pattern, "a drawing (SVG): save it as PNG"),
    (rb"\s*(<!doctype html|<html)", "a web page: the download of the image failed"),
    (rb"(\xff\x0a|\0\0\0\x0cJXL )", "a JPEG XL image: save it as PNG or JPEG"),
    (rb".{4}ftyp", "a film: save its frames as images"),
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive: unpack it"),
    (rb"\x1f\x8b", "a gzip archive: unpack it"),
)


def has_image_ending(name: str) -> bool:
    """Return whether a name ends as that of an image, whatever follows: ``photo.png?w=300``."""
    lowered = name.lower()
    if lowered.endswith((".png", ".jpg", ".jpeg")):
        return True  # nearly all there are: a million names are looked at
    endings = _image_endings()
    matches = (_LAST_ENDING.fullmatch(lowered, dot.start()) for dot in re.finditer(r"\.", lowered))
    return any(match is not None and match[1] in endings for match in matches)


@cache
def _image_endings() -> frozenset[str]:
    Image.init()
    known = Image.registered_extensions().items()
    decoded = {e for e, name in known if name in Image.OPEN and name not in _STUBS}
    return frozenset(decoded) | _MORE_ENDINGS


def is_image_start(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a common image format."""
    return (
        head.startswith(_IMAGE_STARTS)
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or heif_kind(head) is not None
        or _ASCII_IMAGE.match(head) is not None
        or _SVG.match(head) is not None
    )


def is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are text in UTF-8, UTF-16 or an 8-bit code."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return bool(head) and _CONTROL.search(head) is None


def why_no_image(path: Path) -> str | None:
    """Return why a file beside images is no image and may be passed over; None to decode it.

    The rule: a file is passed over when it is a text and neither its name nor its content says
    image. Everything else is decoded, and lost when that fails.
    """
    if has_image_ending(path.name):
        return None
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None  # reading it again gives the reason
    if not head:
        is_note = path.suffix.lower() in _NOTE_ENDINGS
        return "not an image: an empty file" if is_note else None
    if is_image_start(head) or head.startswith(_LFS_POINTER) or not is_text(head):
        return None
    return "not an image: a text"
