"""Published networks and the reference's files: what there is, and how to get it."""

from ofa_pipeline.reference.zoo.catalogue import (
    PublishedNetwork,
    published_network,
    published_networks,
)
from ofa_pipeline.reference.zoo.download import (
    SPECIALIZED_FILES,
    RemoteFile,
    cache_folder,
    cached_file,
    fetch_file,
    import_file,
    is_reachable,
    read_record,
    specialized_file,
    supernet_file,
)
from ofa_pipeline.reference.zoo.net_config import read_net_config
from ofa_pipeline.reference.zoo.net_config_writer import NetworkSpec, write_net_config
from ofa_pipeline.reference.zoo.spec import load_spec

__all__ = [
    "SPECIALIZED_FILES",
    "NetworkSpec",
    "PublishedNetwork",
    "RemoteFile",
    "cache_folder",
    "cached_file",
    "fetch_file",
    "import_file",
    "is_reachable",
    "load_spec",
    "published_network",
    "published_networks",
    "read_net_config",
    "read_record",
    "specialized_file",
    "supernet_file",
    "write_net_config",
]
