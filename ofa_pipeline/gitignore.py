"""The .gitignore of a workspace: what a run writes stays out of git."""

from pathlib import Path

_WRITTEN_BY_RUNS = (
    "/artifacts/",
    "/scratch/",
    "/mlruns/",
    "/mlartifacts/",
    "/mlflow.db*",
    "/.prefect/",
    "/.dvc/cache/",
    "/.dvc/tmp/",
    "/.dvc/config.local",
    "/dvc_plots/",
    "/.venv/",
    ".env",  # of Prefect and MLflow: holds passwords
    "__pycache__/",
)


def keep_out_of_git(root: Path) -> bool:
    """Add what a run writes to the workspace's .gitignore; what stands there stays.

    Returns:
        Whether a line was missing.
    """
    path = root / ".gitignore"
    before = path.read_bytes() if path.exists() else b""
    present = {line.strip() for line in before.split(b"\n")}
    # A link to the package holds for this machine alone; the package itself is code.
    wanted = [
        *_WRITTEN_BY_RUNS,
        *(["/ofa_pipeline"] if (root / "ofa_pipeline").is_symlink() else []),
    ]
    missing = [line for line in wanted if not present & _equivalents(line)]
    if not missing:
        return False
    text = "\n".join(["# What the pipeline writes: DVC keeps the artifacts.", *missing, ""])
    gap = b"" if before.endswith(b"\n") or not before else b"\n"
    path.write_bytes(before + gap + (b"\n" if before else b"") + text.encode())
    return True


def _equivalents(line: str) -> set[bytes]:
    """Return the lines with which a user has decided already, one way or the other."""
    name = line.strip("/")
    found = {f"{start}{name}{end}" for start in ("", "/") for end in ("", "/")}
    return {text.encode() for line in found for text in (line, f"!{line}")}
