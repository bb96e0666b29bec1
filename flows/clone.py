"""A workspace as it was when a subnet was registered: a clone of its commit, filled by DVC."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import ofa_pipeline
from ofa_pipeline.documents.lineage import LineageOrigin
from ofa_pipeline.errors import OfaPipelineError, RegistryError, shown
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.registry.origin import LOCK_FILE, PARAMS_FILE
from ofa_pipeline.workspace import choose_version_control

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHOWN_LINES = 5
_SHOWN_NAMES = 10


def check_origin(uri: str, origin: LineageOrigin) -> None:
    """Check that what was recorded of a version is enough to make it again.

    Raises:
        RegistryError: If no commit or no dvc.lock was recorded, or files differed from the commit.
    """
    if not origin.run_id:
        fault = "its registration run is gone: somebody deleted it"
    elif not _COMMIT.fullmatch(origin.commit):
        found = f", got the commit {shown(origin.commit)}" if origin.commit else ""
        fault = f"its workspace was in no git repository{found}"
    elif origin.changes is None or not origin.has_lock:
        fault = f"no {LOCK_FILE} was kept with it, as registrations of earlier versions kept none"
    elif origin.changes:
        names = ", ".join(origin.changes[:_SHOWN_NAMES])
        fault = f"these files differed from commit {origin.commit[:12]} then: {names}"
    else:
        return
    raise RegistryError(
        f"{uri} must have been registered from a clean commit to be made again, but {fault}. "
        f"Commit first and register again: ofa-pipeline run. What is known: ofa-pipeline lineage "
        f"{uri}"
    )


def find_repository(workspace: Path, origin: LineageOrigin, named: str | None) -> str:
    """Return the repository to clone: the one that was named, or the workspace's.

    The address that was recorded is never taken without being named: whoever may write to the
    registry could name any, and the code of the clone runs.

    Raises:
        RegistryError: If the workspace's repository does not have the commit.
    """
    if named is not None:
        return named
    top = _git(workspace, "rev-parse", "--show-toplevel")
    found = top is not None and _git(workspace, "cat-file", "-e", f"{origin.commit}^{{commit}}")
    if top is not None and found is not None:
        return top.strip("\n")
    recorded = (
        f" It was cloned from {mask_secrets(origin.repository)}." if origin.repository else ""
    )
    where = f"the repository of {workspace.resolve()}" if top else f"{workspace.resolve()} (no git)"
    raise RegistryError(
        f"commit {origin.commit} must be in {where}, but is not there.{recorded} Fetch it (git "
        "fetch --all), or name a repository that you trust: --repository PATH_OR_ADDRESS"
    )


def check_remote(origin: LineageOrigin, repository: str, workspace: Path) -> None:
    """Say before anything is cloned that no DVC remote keeps the artifacts, where that shows.

    Args:
        origin: Names commit and folder.
        repository: Path or address; what one elsewhere names is seen in its clone only.
        workspace: Of who asks.

    Raises:
        OfaPipelineError: If neither the commit nor the workspace names a remote.
    """
    if _remote(_config(workspace)) or not Path(repository).is_dir():
        return
    path = PurePosixPath(origin.folder) / ".dvc" / "config"
    text = _git(Path(repository), "show", f"{origin.commit}:{path}")
    if text is None:
        return
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(text)
    if not config.get("core", "remote", fallback=""):
        raise _no_remote(workspace)


def clone_workspace(origin: LineageOrigin, repository: str, folder: Path, kept: Path) -> Path:
    """Clone a workspace at its commit and put the kept dvc.lock into it.

    Args:
        origin: Names commit and folder.
        repository: Path or address.
        folder: The clone; must not be there.
        kept: Folder with the params.yaml and dvc.lock of the registration.

    Returns:
        The workspace within the clone.

    Raises:
        OfaPipelineError: If the folder is there, git fails, or the commit is not what was kept.
    """
    if folder.exists():
        raise OfaPipelineError(
            f"{folder} is there already. Name a folder that is not, to clone to."
        )
    named = mask_secrets(repository)
    _run(["git", "clone", "--quiet", "--no-checkout", "--", repository, str(folder)], Path.cwd())
    with removed_on_failure(folder):
        return _check_out(origin, named, folder, kept)


@contextmanager
def removed_on_failure(clone: Path) -> Iterator[None]:
    """Take a clone away when the body fails: it is of no use, and in the way of the next try."""
    try:
        yield
    except BaseException:
        shutil.rmtree(clone, ignore_errors=True)
        raise


def _check_out(origin: LineageOrigin, named: str, folder: Path, kept: Path) -> Path:
    """Make the workspace of a clone what it was; see `clone_workspace`."""
    if _git(folder, "cat-file", "-e", f"{origin.commit}^{{commit}}") is None:
        _git(folder, "fetch", "--quiet", "origin", origin.commit)
    if _git(folder, "checkout", "--quiet", "--detach", origin.commit) is None:
        raise RegistryError(
            f"commit {origin.commit} must be in {named}, but is not there: it was never pushed, or "
            "was removed since. Name a repository that has it: --repository PATH_OR_ADDRESS"
        )
    root = (folder / origin.folder).resolve()
    if not root.is_relative_to(folder.resolve()) or not (root / "dvc.yaml").is_file():
        raise RegistryError(
            f"commit {origin.commit[:12]} of {named} must hold a workspace in {origin.folder!r}, "
            "but there is no dvc.yaml: its repository ignored the workspace. Make the workspace a "
            "repository of its own, and register again."
        )
    if (root / PARAMS_FILE).read_bytes() != (kept / PARAMS_FILE).read_bytes():
        raise RegistryError(
            f"{PARAMS_FILE} of commit {origin.commit[:12]} must be the one that was registered, "
            "but differs: the record was changed, or names another commit."
        )
    shutil.copyfile(kept / LOCK_FILE, root / LOCK_FILE)
    if not (root / "ofa_pipeline").exists():
        (root / "ofa_pipeline").symlink_to(Path(ofa_pipeline.__file__).resolve().parent)
    choose_version_control(root)
    return root


def adopt_remote(root: Path, workspace: Path) -> str:
    """Return the name of the clone's DVC remote; where it has none, give it the workspace's.

    Raises:
        OfaPipelineError: If neither has one.
    """
    if name := _config(root).get("core", "remote", fallback=""):
        return name
    config = _config(workspace)
    name = _remote(config)
    if not name:
        raise _no_remote(workspace)
    section = _section(name)
    values = dict(config[section])
    url = values.get("url", "")
    if "://" not in url and not Path(url).is_absolute():
        values["url"] = str((workspace / ".dvc" / url).resolve())
    local = configparser.ConfigParser(interpolation=None)
    path = root / ".dvc" / "config.local"
    local.read(path)
    local[section] = values
    local["core"] = {**(local["core"] if local.has_section("core") else {}), "remote": name}
    with path.open("w") as file:
        local.write(file)
    path.chmod(0o600)  # it may hold passwords
    return name


def _remote(config: configparser.ConfigParser) -> str:
    """Return the name of the remote that DVC's settings describe; empty for none."""
    name = config.get("core", "remote", fallback="")
    return name if config.has_section(_section(name)) else ""


def _section(name: str) -> str:
    return f"'remote \"{name}\"'"


def _no_remote(workspace: Path) -> OfaPipelineError:
    return OfaPipelineError(
        "a DVC remote must keep the artifacts, but neither the commit nor "
        f"{workspace.resolve()} names one. In the workspace that registered: dvc remote add -d "
        "NAME URL && dvc push"
    )


def pull(root: Path, addresses: Sequence[str], *, remote: str) -> None:
    """Bring what stages made from the remote.

    Raises:
        OfaPipelineError: If the remote lacks something, or cannot be reached.
    """
    try:
        dvc(root, "pull", "--remote", remote, *addresses)
    except OfaPipelineError as error:
        raise OfaPipelineError(
            f"the DVC remote {remote} must keep what the subnet was made from: {error} In the "
            "workspace that registered it, at that commit: dvc push"
        ) from error


def dvc(root: Path, *words: str, is_shown: bool = False) -> str:
    """Run DVC in a clone, with the clone's own code where it has some, and return what it prints.

    Args:
        root: The workspace.
        words: Its arguments.
        is_shown: Whether progress is for the user to see.

    Raises:
        OfaPipelineError: If it fails; with the end of what it says.
    """
    commands = str(Path(sys.executable).parent)
    code = [str(root)] if not (root / "ofa_pipeline").is_symlink() else []
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([commands, os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join([*code, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
    }
    program = [sys.executable, "-P", "-m", "dvc", *words]
    return _run(program, root, environment=environment, is_shown=is_shown)


def _config(root: Path) -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"])
    return config


def _git(root: Path, *words: str) -> str | None:
    """Return what git says in a folder; None where it fails."""
    try:
        return _run(["git", *words], root)
    except OfaPipelineError:
        return None


def _run(
    words: Sequence[str],
    root: Path,
    *,
    environment: Mapping[str, str] | None = None,
    is_shown: bool = False,
) -> str:
    answer = subprocess.run(
        words,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=None if is_shown else subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
    )
    if answer.returncode:
        said = mask_secrets((answer.stderr or answer.stdout).strip())
        raise OfaPipelineError(" ".join(said.splitlines()[-_SHOWN_LINES:]) or "it failed.")
    return answer.stdout
