import numpy as np
import pytest

from ofa_pipeline.devices import fresh_load
from ofa_pipeline.devices.fresh_load import CLEAR_REFS, load_afresh

MB = 1_000_000


def ones(megabytes):
    return np.ones(megabytes * MB, dtype=np.uint8)


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="this system does not tell the peak of memory")
class TestMemory:
    def test_is_the_most_until_the_first_call_is_done(self):
        _, found = load_afresh(lambda: ones(20), lambda _: ones(30))
        assert 48 * MB < found.peak_bytes - found.resident_bytes < 60 * MB

    def test_of_earlier_networks_is_not_in_it(self):
        load_afresh(lambda: ones(100), lambda _: None)
        _, found = load_afresh(lambda: ones(20), lambda _: None)
        assert 18 * MB < found.peak_bytes - found.resident_bytes < 30 * MB

    def test_that_was_freed_in_small_pieces_is_used_again_by_nobody(self):
        """Without giving it back, the next network would seem to need nothing."""
        pieces = [bytes(1000) for _ in range(60_000)]
        del pieces
        _, found = load_afresh(lambda: [bytes(1000) for _ in range(30_000)], lambda _: None)
        assert found.peak_bytes - found.resident_bytes > 25 * MB


def test_a_system_that_cannot_tell_memory_still_tells_times(monkeypatch, tmp_path):
    monkeypatch.setattr(fresh_load, "CLEAR_REFS", tmp_path / "nowhere" / "clear_refs")
    stamps = iter([0, 7, 19])
    loaded, found = load_afresh(lambda: "it", lambda _: None, wall_ns=lambda: next(stamps))
    assert loaded == "it"
    assert found == (7, 12, None, None)
