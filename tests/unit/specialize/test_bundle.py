"""Bundles: what they hold, their digest, and how they are used."""

import numpy as np
import pytest
from PIL import Image

from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.specialize import bundle_digest, load_bundle, write_bundle
from tests.support import documents as samples
from tests.support import registry as support
from tests.support.synthetic import small_space

ARCH = small_space().largest


@pytest.fixture
def bundle_folder(tmp_path):
    made = support.write_bundle(tmp_path / "made")
    (made / "weights.safetensors").write_bytes(b"weights")
    subnet = samples.subnet_description(space=small_space(resolutions_px=(8,)))
    write_bundle(tmp_path / "bundle", files_from=made, subnet=subnet, card=samples.card())
    return tmp_path / "bundle"


def test_bundle_says_what_it_is_and_classifies(bundle_folder):
    bundle = load_bundle(bundle_folder)
    assert bundle.class_names == support.CLASS_NAMES
    assert bundle.arch.kernel_sizes == ARCH.kernel_sizes
    assert bundle.card.cost.macs == 1_000_000
    pixels = np.zeros((2, 30, 20, 3), dtype=np.uint8)
    pixels[..., 1] = 250
    assert bundle.predict(pixels).argmax(axis=1).tolist() == [1, 1]
    assert bundle.predict(Image.fromarray(pixels[0])).argmax() == 1


def test_digest_changes_with_any_file(bundle_folder):
    before = bundle_digest(bundle_folder)
    assert load_bundle(bundle_folder).digest == before
    for path in sorted(bundle_folder.iterdir()):
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        assert bundle_digest(bundle_folder) != before
        path.write_bytes(content)
    assert bundle_digest(bundle_folder) == before


def test_bundle_without_a_file_is_refused(bundle_folder):
    (bundle_folder / "card.json").unlink()
    with pytest.raises(MissingArtifactError, match=r"holds no card\.json"):
        load_bundle(bundle_folder)


def test_bundle_of_another_format_is_refused(bundle_folder):
    (bundle_folder / "subnet.json").write_text('{"format": 99}')
    with pytest.raises(ManifestMismatchError, match=r"format must be 1, .* got 99"):
        load_bundle(bundle_folder)
