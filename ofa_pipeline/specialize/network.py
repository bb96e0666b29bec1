"""What stands beside `classify.py` in the bundle of a PyTorch device, here: the package's own.

So `Classifier` runs a bundle with code of this package, never with code from the bundle.
"""

from ofa_pipeline.devices.network import Network

__all__ = ["Network"]
