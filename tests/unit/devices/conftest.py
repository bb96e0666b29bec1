import tempfile

import pytest


@pytest.fixture(autouse=True)
def _nobody_else_measures(monkeypatch, tmp_path):
    """Tests do not wait for their turn behind a measurement that is going on."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
