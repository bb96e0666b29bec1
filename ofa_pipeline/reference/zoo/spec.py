"""What a published network is built from."""

import json

from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.reference.zoo.catalogue import published_network
from ofa_pipeline.reference.zoo.download import fetch_file, specialized_file
from ofa_pipeline.reference.zoo.net_config import read_net_config
from ofa_pipeline.reference.zoo.net_config_writer import NetworkSpec


def load_spec(name: str) -> tuple[NetworkSpec, int]:
    """Return architecture and image size of a published network.

    The catalogue has them, except for the ResNet50D networks, whose configuration files are
    read from the cache or the network.

    Raises:
        ArchError: If the name is unknown.
        MissingArtifactError: If the configuration is not cached and cannot be downloaded.
        CheckpointError: If the downloaded files are not a network's configuration.
    """
    network = published_network(name)
    if network.has_arch:
        arch = network.arch
        spec = NetworkSpec(
            space=network.space,
            arch=arch,
            num_classes=network.num_classes,
            dropout=network.dropout or 0.0,
        )
        return spec, arch.resolution_px
    try:
        config = json.loads(fetch_file(specialized_file(network.name, "net.config")).read_text())
        run = json.loads(fetch_file(specialized_file(network.name, "run.config")).read_text())
        return read_net_config(config), int(run["image_size"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"the configuration files of {network.name}: {error!r}") from error
