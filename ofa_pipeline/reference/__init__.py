"""The reference implementation (mit-han-lab/once-for-all): its networks, files and interface.

Only the command line, `hubconf.py` and `initial_weights` import this room: a change here leaves
every stage as it is but ``import_weights``, whose output is known by its content.

Modules:
    hub: Its torch.hub interface over our networks.
    zoo: Its published networks, their downloads, and its ``net.config`` documents.
    checkpoints, names: Its weight files, and our parameters by its names.
    official_predictor: Its published accuracy predictors.
    lookup_table: Latency look-up tables in its format.
    offline: The search of saved estimates, without a supernet or data.
"""

OPEN_MODULES = ("checkpoints", "hub", "offline", "zoo")
"""What the command line and `hubconf.py` use; the room has no face of its own."""
