"""One run at a time in a workspace, and what a folder needs to be one.

Locks are `flock` locks on files in ``scratch/locks``, taken by `filelock`: the kernel gives them
back when their holder dies, however it dies. A whole run holds ``workspace``; a stage started by
hand holds it too; the stages of a run are let through. Besides, each stage holds a lock of its
own name, so that a stage left behind by a killed run never writes beside its successor.
"""

import configparser
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from ofa_pipeline.errors import OfaPipelineError, ParamsError, WorkspaceBusyError, suggest
from ofa_pipeline.gitignore import keep_out_of_git

RUN_PID_VARIABLE = "OFA_RUN_PID"
"""Environment variable with the process id of the run that a stage belongs to."""

ORPHAN_PATIENCE_S = 15.0
"""How long to wait for a stage to leave: one whose run was killed leaves within seconds."""

_POLL_S = 0.1


@contextmanager
def hold_workspace(root: Path, *, role: str, is_patient: bool = False) -> Iterator[None]:
    """Keep other runs out of a workspace while the body runs; what it starts is let through.

    Args:
        root: The workspace.
        role: ``run`` or ``stage``, noted in the lock for whoever is refused.
        is_patient: Whether to wait for a run that holds it, however long.

    Raises:
        WorkspaceBusyError: If another run holds it, or a stage that does not leave in time.
    """
    if _belongs_to_holder(root):
        yield  # this process holds it already
        return
    with _hold(root, "workspace", role=role, is_patient=is_patient):
        before = os.environ.get(RUN_PID_VARIABLE)
        os.environ[RUN_PID_VARIABLE] = str(os.getpid())
        try:
            yield
        finally:
            os.environ.pop(RUN_PID_VARIABLE)
            if before is not None:
                os.environ[RUN_PID_VARIABLE] = before


@contextmanager
def hold_stage(root: Path, *, address: str) -> Iterator[None]:
    """Keep other runs out while one stage runs; a stage of the holding run is let through.

    Args:
        root: The workspace.
        address: Name of the stage as DVC has it, such as ``search@cpu-onnxruntime``.

    Raises:
        WorkspaceBusyError: If another run holds the workspace, or the same stage runs already.
    """
    if _belongs_to_holder(root):
        with _hold(root, address, role="stage"):
            yield
        return
    with hold_workspace(root, role="stage"), _hold(root, address, role="stage"):
        yield


def lock_path(root: Path, name: str) -> Path:
    """Return the file of a lock."""
    return root / "scratch" / "locks" / name


def _belongs_to_holder(root: Path) -> bool:
    """Return whether this process was started by the run that holds the workspace."""
    run_pid = os.environ.get(RUN_PID_VARIABLE)
    path = lock_path(root, "workspace")
    if not run_pid or not path.exists():
        return False
    try:
        with _file_lock(path).acquire(blocking=False):
            return False  # the run is gone
    except Timeout:
        return str(_read_holder(path).get("pid")) == run_pid


@contextmanager
def _hold(root: Path, name: str, *, role: str, is_patient: bool = False) -> Iterator[None]:
    """Take a lock: at once from a dead holder, soon from a stage, from a run only patiently."""
    path = lock_path(root, name)

    def write_down(descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(_describe_holder(role)).encode())

    try:
        held = _file_lock(path, write_down).acquire(
            timeout=-1 if is_patient else ORPHAN_PATIENCE_S,
            poll_interval=_POLL_S,
            cancel_check=lambda: not is_patient and _read_holder(path).get("role") == "run",
        )
    except Timeout:
        holder = _read_holder(path)
        what = "workspace" if name == "workspace" else f"stage {name} of"
        pid = holder.get("pid", "unknown")
        raise WorkspaceBusyError(
            f"the {what} {root} is in use by process {pid} ({holder.get('command', '?')}). "
            f"Wait until it has finished, or stop it: kill {pid}"
        ) from None
    except OSError as error:
        raise OfaPipelineError(
            f"the workspace must be writable, on a file system with locks, but {path} cannot be "
            f"locked: {error.strerror}. Free space, change the permissions, or choose another "
            "folder with --workspace."
        ) from error
    with held:
        yield


def _file_lock(path: Path, on_acquired: Callable[[int], None] | None = None) -> BaseFileLock:
    return FileLock(
        path,
        mode=0o644,  # whoever may read the folder may read who holds it
        fallback_to_soft=False,  # where there is no flock, a marker file would outlive its holder
        thread_local=False,
        on_acquired=on_acquired,
    )


def _read_holder(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(path.read_text())
    except (json.JSONDecodeError, FileNotFoundError):
        return {}  # between taking the lock and writing down who took it
    return holder if isinstance(holder, dict) else {}


def _describe_holder(role: str) -> dict[str, Any]:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {"pid": os.getpid(), "role": role, "command": command}


def checkout_folder() -> Path:
    """Return the folder that the package lies in: the clone, or ``site-packages``."""
    return Path(__file__).resolve().parent.parent


def files_to_start_from() -> Path:
    """Return the folder with the files that a workspace starts from.

    In a clone that is its top; a wheel has them in the package (``setup.py``).
    """
    shipped = Path(__file__).resolve().with_name("workspace_files")
    return shipped if shipped.is_dir() else checkout_folder()


def create_workspace(
    root: Path, *, preset: str | None = None, params: str | None = None
) -> tuple[Path, ...]:
    """Make a folder a workspace: the files that `ofa-pipeline run` and `dvc repro` need there.

    Files that exist are left alone, but that ``.gitignore`` gets the lines that it lacks, so that
    ``git add -A`` takes no database, cache or artifact. ``dvc.yaml`` names the code that a stage
    runs as its dependency, so the package is linked into the folder.

    Args:
        root: The folder; made when it is not there.
        preset: Name of a file in ``presets/``, whose sections replace those of params.yaml.
        params: The whole params.yaml instead, made from what `starting_params` returns.

    Returns:
        What was written.

    Raises:
        ParamsError: If there is no such preset, or the folder has a params.yaml already.
        OfaPipelineError: If the files to start from are not beside the package.
    """
    source = files_to_start_from()
    if params is None and preset is not None:
        params = starting_params(root, preset=preset, option=f"--preset {preset}")
    missing = [name for name in _WORKSPACE_FILES if not (source / name).is_file()]
    if missing:
        raise OfaPipelineError(
            f"{source} must hold {', '.join(missing)} to start a workspace from. "
            "Install the package again: make setup in a clone of it, or its wheel."
        )
    root.mkdir(parents=True, exist_ok=True)
    written = []
    for name in _WORKSPACE_FILES:
        if not (root / name).exists():
            (root / name).parent.mkdir(exist_ok=True)
            text = params if name == "params.yaml" and params else (source / name).read_text()
            (root / name).write_text(text)
            written.append(root / name)
    if not (root / "ofa_pipeline").exists():
        (root / "ofa_pipeline").unlink(missing_ok=True)  # a link to where the package was
        (root / "ofa_pipeline").symlink_to(Path(__file__).resolve().parent)
        written.append(root / "ofa_pipeline")
    if keep_out_of_git(root):
        written.append(root / ".gitignore")
    return tuple(written)


def starting_params(root: Path, *, preset: str | None, option: str) -> str:
    """Return the params.yaml that a new workspace begins with.

    Args:
        root: The folder that is to become a workspace.
        preset: Name of a file in ``presets/``, whose sections replace those of params.yaml.
        option: What asks for it, for the message.

    Raises:
        ParamsError: If there is no such preset, or the folder has a params.yaml already.
    """
    check_no_params(root, option=option)
    source = files_to_start_from()
    text = (source / "params.yaml").read_text()
    return text if preset is None else _with_preset(source, text, preset)


def check_no_params(root: Path, *, option: str) -> None:
    """Check that a folder has no params.yaml, which an option of `init` would have no effect on.

    Raises:
        ParamsError: If it has.
    """
    if (root / "params.yaml").exists():
        raise ParamsError(
            f"{root / 'params.yaml'} is there already and would not follow {option}. "
            "Remove it, or choose another folder."
        )


def _with_preset(source: Path, text: str, preset: str) -> str:
    """Return params.yaml with the sections of a preset in place of its own."""
    names = sorted(path.stem for path in (source / "presets").glob("*.yaml"))
    if preset not in names:
        raise ParamsError(f"there is no preset {preset!r}.{suggest(preset, names)}")
    replacing = _sections((source / "presets" / f"{preset}.yaml").read_text())
    return "".join((_sections(text) | replacing).values())


def _sections(text: str) -> dict[str, str]:
    """Cut YAML into its top-level sections, comments and order kept; the head is called ``""``."""
    sections = {"": ""}
    name = ""
    for line in text.splitlines(keepends=True):
        if line[0].isalpha() and ":" in line:
            name = line.partition(":")[0]
            sections[name] = ""
        sections[name] += line
    return sections


_WORKSPACE_FILES = ("params.yaml", "dvc.yaml", ".dvc/config", ".dvcignore")


def choose_version_control(root: Path) -> None:
    """Tell DVC whether the workspace is under git, in ``.dvc/config.local``.

    Without git (an unpacked archive) every DVC command fails unless it is told so. What is
    chosen depends on where the folder lies now, so it is never committed.
    """
    if not (root / ".dvc").is_dir():
        return
    path = root / ".dvc" / "config.local"
    config = configparser.ConfigParser(interpolation=None)
    config.read(path)
    told = config.getboolean("core", "no_scm", fallback=False)
    if told is not is_under_git(root):
        return
    if not config.has_section("core"):
        config.add_section("core")
    config.set("core", "no_scm", str(not told).lower())
    with path.open("w") as file:
        config.write(file)


def check_dvc_files(root: Path) -> None:
    """Check that a workspace has what DVC works with: its stages, its settings, the code.

    Raises:
        OfaPipelineError: If one of them is missing; says what writes it.
    """
    root = root.resolve()
    missing = [name for name in ("dvc.yaml", "ofa_pipeline") if not (root / name).exists()]
    if not any((folder / ".dvc").is_dir() for folder in (root, *root.parents)):
        missing.append(".dvc")
    if missing:
        raise OfaPipelineError(
            f"the workspace must have what DVC works with, but {root} has no "
            f"{' and no '.join(missing)}. Write what is missing: ofa-pipeline init {root}; all "
            "that is there stays as it is."
        )


def check_version_control(root: Path) -> None:
    """Check that git lets DVC write down what it does.

    Raises:
        OfaPipelineError: If git ignores a file that DVC refuses to work with when it is ignored, or
            git refuses the repository; says which line or setting, and what to do.
    """
    root = root.resolve()
    if not is_under_git(root):
        return
    # Tracked or not: DVC looks at the patterns alone.
    words = ("check-ignore", "--no-index", "--verbose", "-z", "--stdin")
    answer = _ask_git(root, *words, told="\0".join(_DVC_FILES))
    fields = iter(answer.stdout.split("\0") if answer else [])
    for source, line, pattern, name in zip(fields, fields, fields, fields, strict=False):
        if not pattern.startswith("!"):
            raise OfaPipelineError(
                f"git must not ignore {name}, because DVC refuses to work then, but line {line} of "
                f"{source} says {pattern}. Put the line !{name} at the end of {root / '.gitignore'}"
            )


_DVC_FILES = ("dvc.lock", "dvc.yaml")


def is_under_git(root: Path) -> bool:
    """Return whether the folder lies in a git repository that does not ignore it.

    Raises:
        OfaPipelineError: If git refuses the repository, with git's words and what to do.
    """
    root = root.resolve()
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return False
    answer = _ask_git(root, "check-ignore", "--quiet", ".")
    return answer is None or answer.returncode != 0


def _ask_git(root: Path, *words: str, told: str = "") -> "subprocess.CompletedProcess[str] | None":
    """Ask git in a folder; None where there is no git.

    Raises:
        OfaPipelineError: If git refuses the repository.
    """
    try:
        answer = subprocess.run(
            ["git", *words],
            cwd=root,
            env={**os.environ, "LC_ALL": "C"},
            input=told,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return None
    if answer.returncode in (0, 1):
        return answer
    said = answer.stderr.strip()
    if "dubious ownership" in said:
        folder = next(
            path
            for path in (root, *root.parents)
            if (path / ".git").exists() or path == path.parent
        )
        raise OfaPipelineError(
            f"git must trust the repository {folder}, because DVC works with it, but it belongs to "
            f"user {folder.stat().st_uid} and this is user {os.getuid()}. Run as its owner, give "
            f"it to this user (chown -R {os.getuid()} {folder}), or, if you trust it: "
            f"git config --global --add safe.directory {folder}"
        )
    raise OfaPipelineError(
        f"git must be able to read the repository that {root} lies in, because DVC works with it, "
        f"but says: {said.splitlines()[0] if said else answer.returncode}. Mend that, or move the "
        "workspace out of the repository."
    )
