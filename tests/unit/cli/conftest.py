"""Commands settle the process that they are alone in; here it is that of the tests."""

import gc
import os
from unittest.mock import patch

import pytest


@pytest.fixture(autouse=True)
def process_as_before():
    """Put back what a command that only looks leaves as it needs it: `settle_for_a_look`."""
    with patch.dict(os.environ):
        yield
    gc.enable()
