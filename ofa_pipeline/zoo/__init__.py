"""Published networks and the reference's files: what there is, and how to get it."""

from ofa_pipeline.zoo.catalogue import PublishedNetwork, published_network, published_networks
from ofa_pipeline.zoo.download import (
    SPECIALIZED_FILES,
    RemoteFile,
    cache_folder,
    cached_file,
    fetch_file,
    import_file,
    read_record,
    specialized_file,
    supernet_file,
)

__all__ = [
    "SPECIALIZED_FILES",
    "PublishedNetwork",
    "RemoteFile",
    "cache_folder",
    "cached_file",
    "fetch_file",
    "import_file",
    "published_network",
    "published_networks",
    "read_record",
    "specialized_file",
    "supernet_file",
]
