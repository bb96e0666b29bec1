import subprocess
import sys

import pytest

from ofa_pipeline.devices import fresh_load
from ofa_pipeline.devices.fresh_load import CLEAR_REFS, load_afresh

MB = 1_000_000
BEFORE = """
import numpy as np
from ofa_pipeline.devices.fresh_load import load_afresh
def ones(megabytes):
    return np.ones(megabytes * 1_000_000, dtype=np.uint8)
"""
AFTER = "print(found.peak_bytes - found.resident_bytes)"


def added_bytes(code):
    """Run code that loads something afresh in a process of its own; return what memory it added.

    A large process, such as one that has run other tests, cannot give all back that was freed.
    """
    command = [sys.executable, "-c", f"{BEFORE}\n{code}\n{AFTER}"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="this system does not tell the peak of memory")
class TestMemory:
    def test_is_the_most_until_the_first_call_is_done(self):
        added = added_bytes("_, found = load_afresh(lambda: ones(20), lambda _: ones(30))")
        assert 48 * MB < added < 60 * MB

    def test_of_earlier_networks_is_not_in_it(self):
        added = added_bytes(
            "load_afresh(lambda: ones(100), lambda _: None)\n"
            "_, found = load_afresh(lambda: ones(20), lambda _: None)"
        )
        assert 18 * MB < added < 30 * MB

    def test_that_was_freed_in_small_pieces_is_used_again_by_nobody(self):
        """Without giving it back, the next network would seem to need nothing."""
        added = added_bytes(
            "pieces = [bytes(1000) for _ in range(60_000)]\n"
            "del pieces[:-1]\n"  # the last one keeps the others from going back by themselves
            "_, found = load_afresh(lambda: [bytes(1000) for _ in range(30_000)], lambda _: None)"
        )
        assert added > 25 * MB


def test_a_system_that_cannot_tell_memory_still_tells_times(monkeypatch, tmp_path):
    monkeypatch.setattr(fresh_load, "CLEAR_REFS", tmp_path / "nowhere" / "clear_refs")
    stamps = iter([0, 7, 19])
    loaded, found = load_afresh(lambda: "it", lambda _: None, wall_ns=lambda: next(stamps))
    assert loaded == "it"
    assert found == (7, 12, None, None)
