"""Where a version was registered from: the commit, the command, and the files kept beside it."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.registry.protocol import Origin
from ofa_pipeline.registry.runs import PARENT_TAG, runs_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER_TAG = "ofa.git_folder"
"""On a registration: the workspace within its repository, ``.`` for its top."""
CHANGES_TAG = "ofa.git_changes"
"""On a registration: files that differed from the commit, as JSON; of many the first."""
SUBNETS_TAG = "ofa.subnets_digest"
SOURCE_TAG = "ofa.source_digest"
VERSION_OF_PACKAGE_TAG = "ofa.package_version"
PARAMS_FILE, LOCK_FILE = "params.yaml", "dvc.lock"
"""What is kept of the workspace; the lock names the content of everything that DVC keeps."""
_MADE_BY_HAND = ("params.yaml", "dvc.yaml", "ofa_pipeline")
_MAX_CHANGES = 50
_MADE_BY = "ofa-pipeline run"


def origin_tags(layout: Layout) -> dict[str, str]:
    """Return what a registration notes of the workspace beside MLflow's own tags."""
    root = layout.root
    found = {}
    if (layout.source / Layout.MANIFEST).exists():
        found[SOURCE_TAG] = Manifest.read(layout.source, made_by=_MADE_BY).digest
    prefix = _git(root, "rev-parse", "--show-prefix")
    status = _git(root, "status", "--porcelain", "-z", "--untracked-files=all", "--", ".")
    if prefix is not None and status is not None:
        folder = prefix.strip("\n")
        found[FOLDER_TAG] = folder.rstrip("/") or "."
        changes = _changes(status, folder)
        found[CHANGES_TAG] = json.dumps(_shortened(changes))
    return found


def origin_files(layout: Layout) -> dict[str, tuple[Path, ...]]:
    """Return the files of the workspace that a registration keeps."""
    paths = (layout.root / PARAMS_FILE, layout.root / LOCK_FILE)
    return {"": tuple(path for path in paths if path.is_file())}


def read_origin(
    client: "MlflowClient", model_id: str, folder: Path, *, digests: Iterable[str]
) -> Origin:
    """Return where a version comes from, and bring its files into a folder.

    Args:
        client: Of MLflow.
        model_id: The LoggedModel of the version.
        folder: Receives `PARAMS_FILE` and `LOCK_FILE`, where they were kept.
        digests: Of artifacts whose runs are looked for.
    """
    from mlflow.exceptions import MlflowException

    model = client.get_logged_model(model_id)
    try:
        run = client.get_run(model.source_run_id or "")
        parent = run.data.tags.get(PARENT_TAG)
        run = client.get_run(parent) if parent else run
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return Origin()  # somebody deleted the run: it is for people, and nothing hangs on it
    run_id: str = run.info.run_id
    for item in client.list_artifacts(run_id):
        if item.path in (PARAMS_FILE, LOCK_FILE):
            client.download_artifacts(run_id, item.path, str(folder))
    tags = run.data.tags
    inputs = run.inputs.dataset_inputs if run.inputs else []
    found = {item: runs_of(client, [model.experiment_id], item) for item in digests}
    return Origin(
        run_id=run_id,
        commit=tags.get("mlflow.source.git.commit", ""),
        branch=tags.get("mlflow.source.git.branch", ""),
        repository=tags.get("mlflow.source.git.repoURL", ""),
        folder=tags.get(FOLDER_TAG, ""),
        changes=tuple(json.loads(tags[CHANGES_TAG])) if CHANGES_TAG in tags else None,
        package_version=tags.get(VERSION_OF_PACKAGE_TAG, ""),
        command=tags.get("mlflow.source.name", ""),
        user=tags.get("mlflow.user", ""),
        subnets_digest=tags.get(SUBNETS_TAG, ""),
        source_digest=tags.get(SOURCE_TAG, ""),
        source=_source_of(inputs[0].dataset.source) if inputs else "",
        params=dict(run.data.params),
        runs={digest: ids[0] for digest, ids in found.items() if ids},
    )


def _source_of(text: str) -> str:
    """Return the source of images as params.yaml names it, or the path that it was then."""
    value = json.loads(text)
    return str(value.get("uri") or value.get("tags", {}).get("mlflow.source.name", ""))


def _changes(status: str, prefix: str) -> list[str]:
    """Return files that differ from the commit and decide what comes out.

    Args:
        status: What git says, in its format 1, ended by NUL.
        prefix: The workspace within the repository, which names begin with.
    """
    found = []
    items = iter(status.split("\0"))
    for item in items:
        if not item:
            continue
        kind, name = item[:2], item[3:].removeprefix(prefix)
        if kind[0] in "RC":
            next(items, "")  # what it was called before
        is_ours = name.split("/")[0] in _MADE_BY_HAND
        if name != LOCK_FILE and (kind != "??" or is_ours):
            found.append(name)
    return sorted(found)


def _shortened(names: list[str]) -> list[str]:
    """Return so many names that they fit a tag, and how many more there are."""
    more = len(names) - _MAX_CHANGES
    return [*names[:_MAX_CHANGES], f"(and {more} more)"] if more > 0 else names


def _git(root: Path, *words: str) -> str | None:
    """Return what git says in a folder; None where it is no repository, or there is no git."""
    try:
        answer = subprocess.run(
            ["git", *words],
            cwd=root,
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            check=False,
        )
    except OSError:
        return None
    return answer.stdout.decode(errors="replace") if answer.returncode == 0 else None
