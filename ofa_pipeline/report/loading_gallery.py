"""Pictures of the dataset: some of each class, and some that the best subnet takes for another."""

import base64
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.data import Split, open_dataset
from ofa_pipeline.report.contents import ConfusionFacts
from ofa_pipeline.report.gallery import ClassPictures, ErrorPictures, Gallery, Picture
from ofa_pipeline.report.source import Source
from ofa_pipeline.tables import PREDICTIONS_SCHEMA, read_table

MOST_CLASSES = 60
"""More are not shown: then those that are missed most often are."""
PER_CLASS = ((12, 8), (30, 4), (MOST_CLASSES, 3))
"""Number of classes up to which, and pictures of each class then."""
MOST_CONFUSIONS, PER_CONFUSION = 8, 4
SMALL_PX = 64
"""Images up to this side are kept as they are."""
THUMBNAIL_PX = 96
"""Side that larger images are shown with."""
JPEG_QUALITY = 80
BATCH = 64

_Ids = Sequence[int]


def load_gallery(dataset: Source, subnets: Source, *, confusion: ConfusionFacts) -> Gallery:
    """Read the pictures that a report shows; only the row groups that they lie in are read.

    Args:
        dataset: The prepared dataset.
        subnets: The subnets of the device whose errors are shown.
        confusion: What the best of them takes for what.

    Raises:
        MissingArtifactError: If a split is not there.
        ManifestMismatchError: If one of its files cannot be read.
    """
    opened = open_dataset(dataset.folder, memory_limit_bytes=0)
    names = confusion.class_names
    shown = shown_classes(confusion)
    train = opened.split("train")
    labels = train.labels.numpy()
    per_class = next((count for most, count in PER_CLASS if len(names) <= most), PER_CLASS[-1][1])
    of_class = {label: np.flatnonzero(labels == label)[:per_class].tolist() for label in shown}
    errors = _errors(subnets, confusion)
    examples = _pictures(train, [id_ for ids in of_class.values() for id_ in ids])
    missed = _pictures(opened.split("test"), [id_ for ids in errors.values() for id_ in ids])
    return Gallery(
        image_size_px=opened.image_size_px,
        classes=tuple(
            ClassPictures(name=names[label], pictures=tuple(examples[id_] for id_ in ids))
            for label, ids in of_class.items()
        ),
        num_classes=len(names),
        errors=tuple(
            ErrorPictures(
                true=names[true],
                predicted=names[predicted],
                count=confusion.counts[true][predicted],
                pictures=tuple(missed[id_] for id_ in ids),
            )
            for (true, predicted), ids in errors.items()
        ),
        files=(dataset.name("train-*.parquet"), dataset.name("test-*.parquet"), confusion.file),
    )


def shown_classes(confusion: ConfusionFacts) -> list[int]:
    """Return the classes to show in their order: all, or those that are missed most often."""
    classes = range(len(confusion.class_names))
    if len(classes) <= MOST_CLASSES:
        return list(classes)
    missed = {label: sum(row) - row[label] for label, row in enumerate(confusion.counts)}
    return sorted(sorted(classes, key=lambda label: -missed[label])[:MOST_CLASSES])


def _errors(subnets: Source, confusion: ConfusionFacts) -> dict[tuple[int, int], list[int]]:
    """Return test images of the most frequent confusions, by true and predicted class."""
    found = [
        (count, true, predicted)
        for true, row in enumerate(confusion.counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    found.sort(key=lambda item: (-item[0], item[1], item[2]))
    wanted = [(true, predicted) for _, true, predicted in found[:MOST_CONFUSIONS]]
    rows = read_table(subnets.path(Layout.PREDICTIONS), PREDICTIONS_SCHEMA)
    columns = (rows[name].to_pylist() for name in ("arch_id", "image", "label", "predicted"))
    images: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for arch_id, image, true, predicted in zip(*columns, strict=True):
        pair = (true, predicted)
        is_ours = arch_id == confusion.subnet.arch.arch_id
        if is_ours and pair in wanted and len(images[pair]) < PER_CONFUSION:
            images[pair].append(image)
    return {pair: images[pair] for pair in wanted}


def _pictures(split: Split, ids: _Ids) -> Mapping[int, Picture]:
    """Return pictures by their place in the split, as a network sees them: the middle square."""
    found = {}
    for batch in split.batches(BATCH, order=sorted(ids)) if ids else ():
        for id_, pixels in zip(batch.ids.tolist(), batch.images.numpy(), strict=True):
            found[id_] = picture_of(pixels.transpose(1, 2, 0))
    return found


def picture_of(pixels: NDArray[np.uint8]) -> Picture:
    """Encode an image of shape (H, H, 3) for the page."""
    image = Image.fromarray(pixels)
    if (pixels == pixels[:, :, :1]).all():
        image = image.convert("L")
    is_small = image.width <= SMALL_PX
    content = io.BytesIO()
    if is_small:
        image.save(content, "PNG", optimize=True)
    else:
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        image.save(content, "JPEG", quality=JPEG_QUALITY)
    kind = "png" if is_small else "jpeg"
    text = base64.b64encode(content.getvalue()).decode()
    return Picture(uri=f"data:image/{kind};base64,{text}")
