"""The dataset of a workspace, as its look-ups in a registry mean it."""

from pathlib import Path

import yaml

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.params import load_params
from ofa_pipeline.registry.choosing import HomeDataset


def home_dataset(folder: Path) -> HomeDataset | None:
    """Return the dataset of a workspace; None where the folder is not one.

    Args:
        folder: A workspace has a params.yaml that says where its images come from.

    Raises:
        ParamsError: If a value in that file is wrong.
        ManifestMismatchError: If the prepared dataset is damaged.
    """
    path = folder / "params.yaml"
    if not _is_ours(path):
        return None
    prepared = Layout(folder).dataset
    digest = ""
    if (prepared / Layout.MANIFEST).exists():
        digest = Manifest.read(prepared, made_by="ofa-pipeline run").digest
    return HomeDataset(name=load_params(path).dataset.label, digest=digest)


def _is_ours(path: Path) -> bool:
    """Tell a workspace's params.yaml from one of another program that DVC serves."""
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return False
    except (yaml.YAMLError, UnicodeDecodeError):
        return True  # load_params says what is wrong with it
    dataset = values.get("dataset") if isinstance(values, dict) else None
    return isinstance(dataset, dict) and "source" in dataset
