"""Repositories for tests."""

import subprocess
from pathlib import Path

WHO = ("-c", "user.name=test", "-c", "user.email=test@example.org")


def git(root: Path, *words: str) -> str:
    """Run git in a folder and return what it says."""
    answer = subprocess.run(
        ["git", *WHO, *words], cwd=root, capture_output=True, text=True, check=True
    )
    return answer.stdout


def commit_all(root: Path) -> str:
    """Make a folder a repository, if it is none, commit all of it, and return the commit."""
    if not (root / ".git").exists():
        git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "all")
    return git(root, "rev-parse", "HEAD").strip()
