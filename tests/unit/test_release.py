"""What `make release` says of an audit: nothing that was not looked at counts as fine."""

import runpy
from pathlib import Path

RELEASE = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "release.py"))


def test_vulnerable_and_unknown_packages_are_told_apart():
    found = RELEASE["audit_of"](
        {
            "dependencies": [
                {"name": "a", "version": "1", "vulns": []},
                {"name": "b", "version": "2", "vulns": [{"id": "CVE-1"}, {"id": "PYSEC-2"}]},
                {"name": "c", "skip_reason": "Dependency not found on PyPI"},
            ]
        }
    )
    assert found.num_audited == 2
    assert found.vulnerable == ["b 2: CVE-1, PYSEC-2"]
    assert found.unknown == ["c"]
