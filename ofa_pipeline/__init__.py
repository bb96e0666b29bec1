"""Once-for-All: train one supernet, give every device its own subnet."""

__version__ = "0.1.0"
