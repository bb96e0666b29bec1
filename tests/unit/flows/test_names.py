"""Names on Prefect's pages."""

import re
from pathlib import Path

import pytest

from flows.names import artifact_key


@pytest.mark.parametrize("name", ["flowers", "My Photos_2", "a.b", "\u00e9t\u00e9"])
def test_key_of_an_artifact_is_one_that_prefect_takes(name):
    key = artifact_key("summary", Path("/data") / name)
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", key)
    assert key.startswith("summary")


def test_key_names_the_workspace():
    assert artifact_key("summary", Path("/data/My Photos")) == "summary-my-photos"
