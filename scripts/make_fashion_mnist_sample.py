"""Make the sample of Fashion-MNIST that ships in the package.

Draws 12,000 different images, 1,200 a class, out of the 70,000 of the original IDX files, and
writes them as one Parquet file of losslessly compressed PNGs. The same seed gives the same file.

The IDX files: Debian's package ``dataset-fashion-mnist`` installs them in
``/usr/share/datasets/fashion-mnist``; torchvision downloads them to ``ROOT/FashionMNIST/raw``.

    python scripts/make_fashion_mnist_sample.py [--idx-folder FOLDER]
"""

import argparse
import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
IMAGES_A_CLASS = 1200
SEED = 0
ROWS_A_GROUP = 1000
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SAMPLE = Path(__file__).parents[1] / "ofa_pipeline" / "data" / "fashion_mnist_sample.parquet"
FILE_STEMS = {"train": "train", "test": "t10k"}
UBYTE_TYPE = 0x08


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Source:
        The format as described with the original MNIST: two zero bytes, the type, the number of
        dimensions, one big-endian 32-bit size each, the values.
    """
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    zeros, kind, dimensions = struct.unpack(">HBB", content[:4])
    if zeros or kind != UBYTE_TYPE:
        raise SystemExit(f"{path} is not an IDX file of unsigned bytes")
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def find_idx(folder: Path, name: str) -> Path:
    """Return the file ``name``, gzipped or not."""
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.exists():
            return candidate
    raise SystemExit(
        f"{folder / name} is missing, with and without .gz. "
        "Install Debian's dataset-fashion-mnist, or name the folder with --idx-folder."
    )


def draw(labels: NDArray[np.uint8], images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the indices of the sample, in its order: balanced, no image twice."""
    generator = np.random.default_rng(SEED)
    seen: set[bytes] = set()
    counts = dict.fromkeys(range(len(CLASS_NAMES)), 0)
    chosen = []
    for index in generator.permutation(len(labels)):
        label, pixels = int(labels[index]), images[index].tobytes()
        if counts[label] < IMAGES_A_CLASS and pixels not in seen:
            seen.add(pixels)
            counts[label] += 1
            chosen.append(int(index))
    return np.array(chosen)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Compress a gray image of shape (H, W)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Write the sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--idx-folder", type=Path, default=DEBIAN_FOLDER)
    parser.add_argument("--output", type=Path, default=SAMPLE)
    options = parser.parse_args()
    images, labels, names = [], [], []
    for split, stem in FILE_STEMS.items():
        images.append(read_idx(find_idx(options.idx_folder, f"{stem}-images-idx3-ubyte")))
        labels.append(read_idx(find_idx(options.idx_folder, f"{stem}-labels-idx1-ubyte")))
        names += [f"{split}/{index:05d}.png" for index in range(len(labels[-1]))]
    all_images, all_labels = np.concatenate(images), np.concatenate(labels)
    chosen = draw(all_labels, all_images)
    schema = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
        ],
        metadata={"class_names": ",".join(CLASS_NAMES)},
    )
    rows = [{"bytes": encode_png(all_images[i]), "path": names[i]} for i in chosen]
    table = pa.table({"image": rows, "label": all_labels[chosen].astype(np.int64)}, schema=schema)
    pq.write_table(
        table, options.output, compression="zstd", compression_level=19, row_group_size=ROWS_A_GROUP
    )
    size = options.output.stat().st_size / 1e6
    print(f"{options.output}: {len(chosen)} images, {size:.2f} MB")


if __name__ == "__main__":
    main()
