"""`make release`: wheel and source archive, a list of all that they need (SBOM), and its audit.

The list is CycloneDX, of what is installed beside this program. The audit asks the package index
for known vulnerabilities; where it does not answer, a line says so, and the release is made.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SBOM_TOOL = "cyclonedx-bom==7.5.0"
AUDIT_TOOL = "pip-audit==2.10.1"
SBOM, AUDIT, SUMS = "sbom.cdx.json", "audit.json", "SHA256SUMS"
_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What is known of the packages."""

    num_audited: int = 0
    unknown: list[str] = field(default_factory=list)
    """Packages that the index told nothing of."""
    vulnerable: list[str] = field(default_factory=list)
    """``NAME VERSION: ID, ...``"""


def audit_of(report: dict[str, Any]) -> Audit:
    """Return what a report of pip-audit says; a package that was passed over counts as unknown."""
    items = report["dependencies"]
    return Audit(
        num_audited=sum("vulns" in item for item in items),
        unknown=[item["name"] for item in items if "vulns" not in item],
        vulnerable=[
            f"{item['name']} {item['version']}: {', '.join(found['id'] for found in item['vulns'])}"
            for item in items
            if item.get("vulns")
        ],
    )


def main() -> int:
    """Make ``dist/``.

    Returns:
        0; 1 where something is vulnerable, or could not be made.
    """
    folder = ROOT / "dist"
    changed = _run(["git", "status", "--porcelain"]).stdout.strip()
    if changed:
        print(f"a release is made of a commit, but files differ from it:\n{changed}")
        return 1
    for path in folder.glob("*"):
        path.unlink()
    made = _run(["uv", "build", "--no-build-isolation", "--out-dir", str(folder)])
    listed = _run(
        [
            *("uvx", "--from", SBOM_TOOL, "cyclonedx-py", "environment", "--output-reproducible"),
            *("--pyproject", "pyproject.toml", "--output-file", str(folder / SBOM), sys.executable),
        ]
    )
    for answer in (made, listed):
        if answer.returncode:
            print(answer.stderr.strip())
            return 1
    is_vulnerable = _audit(folder)
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in paths]
    (folder / SUMS).write_text("\n".join(sums) + "\n")
    print(*sums, sep="\n")
    return int(is_vulnerable)


def _audit(folder: Path) -> bool:
    """Audit what requirements.lock names, say what was found, and whether anything was."""
    answer = _run(
        [
            *("uvx", AUDIT_TOOL, "--requirement", "requirements.lock", "--no-deps"),
            *("--disable-pip", "--progress-spinner", "off", "--timeout", "15"),
            *("--format", "json", "--output", str(folder / AUDIT)),
        ]
    )
    try:
        found = audit_of(json.loads((folder / AUDIT).read_text()))
    except (OSError, ValueError, KeyError):
        last = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"NOT audited, the package index did not answer: {last}")
        return False
    if found.unknown:
        some = ", ".join(found.unknown[:5])
        print(
            f"NOT audited: {len(found.unknown)} packages that the index does not tell of ({some})"
        )
    print(f"audited {found.num_audited} packages, {len(found.vulnerable)} with known faults")
    for line in found.vulnerable:
        print(f"  {line}")
    return bool(found.vulnerable)


def _run(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
