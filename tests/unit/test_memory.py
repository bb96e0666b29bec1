import platform
import subprocess
import sys

import pytest

from ofa_pipeline.memory import keep_freed_memory

SCRIPT = """
import resource
import sys
from ofa_pipeline.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(2**24)
before = faults()
for _ in range(20):
    bytearray(2**24)
print(faults() - before)
"""


def page_faults(mode):
    command = [sys.executable, "-c", SCRIPT, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_freed_memory_is_used_again():
    assert page_faults("keep") < 0.1 * page_faults("default")


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
