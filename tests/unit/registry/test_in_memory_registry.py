"""The registry that other tests use keeps the same contract."""

import pytest

from tests.support.registry import InMemoryRegistry, SubnetRegistryContract


class TestInMemoryRegistry(SubnetRegistryContract):
    @pytest.fixture
    def registry(self):
        return InMemoryRegistry()
