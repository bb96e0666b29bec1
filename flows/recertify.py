"""Measure what was certified again, and search again where a device has changed."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from pydantic import Field

from flows.checks import check_run
from flows.devices import check_shared, finish
from flows.dvc_client import StageFailedError
from flows.environment import stage_environment
from flows.names import name_of_flow_run, name_of_task_run
from flows.outlook import followed
from flows.pipeline import open_workspace, serve_devices
from flows.stages import bring_up_to_date
from flows.waiting import until_measured
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.recertify import check_is_here, drift_text
from ofa_pipeline.documents import Recertification
from ofa_pipeline.exit_codes import EXIT_RESTLESS, exit_code_of_process
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.registry import begin_registry

DeviceName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
_LINES = 5
_PAUSES_S = (15.0, 30.0, 60.0, 120.0, 300.0)
"""Between two tries on a machine that is not quiet; then the last of them."""


@flow(name="re-certify", flow_run_name=name_of_flow_run)
def re_certify(workspace: str, devices: list[DeviceName]) -> State[str] | None:
    """Measure the shipped files of devices again; where one has changed, search it again.

    Nothing is trained. Certificates of a device that has changed become stale. The report says what
    was measured. It is suspended, and says what to do, where a device has to be measured elsewhere
    first.

    Args:
        workspace: Folder with params.yaml; held by the process that runs this.
        devices: Names in params.yaml; none: every device of this machine that has subnets.

    Raises:
        DeviceError: If a device is elsewhere.
        ManifestMismatchError: If the supernet, or what was measured on it, is not up to date.
        StageFailedError: If measuring or searching fails.
    """
    with open_workspace(workspace) as dvc:
        root = dvc.root
        params = load_params(root / "params.yaml")
        for device in devices:
            check_is_here(params, device)
        check_run(root, params, reads_images=False)
        begin_registry(root, params)()
        chosen = devices or _with_subnets(root, params)
        patience_s = 60 * params.schedule.quiet_wait_minutes
        found = [measure_again(root, device, patience_s=patience_s) for device in chosen]
        changed = [item.device for item in found if item.has_moved]
        if not changed:
            finish(dvc, params)
            return None
        with followed(dvc, params, changed) as outlook_is_made:
            bring_up_to_date(dvc, "list_source")
            check_shared(dvc, params)
            outlook_is_made()
            for device in changed:
                bring_up_to_date(dvc, "profile_latency", device, again=True)
            waiting = serve_devices(dvc, changed)
            if waiting is None:
                finish(dvc, params)
    return until_measured(workspace, waiting)


@task(task_run_name=name_of_task_run, cache_policy=NO_CACHE, persist_result=False)
def measure_again(root: Path, device: str, *, patience_s: float) -> Recertification:
    """Measure the files of a device in a process of its own, and mark what is stale.

    While the machine is too busy to tell, it is tried again, after longer and longer pauses.

    Args:
        root: The workspace.
        device: Name of a device of this machine.
        patience_s: Seconds after which no further try begins.

    Raises:
        StageFailedError: If it fails, or the machine was never quiet; with the command's own words.
    """
    log, began = get_run_logger(), time.monotonic()
    for pause_s in itertools.chain(_PAUSES_S, itertools.repeat(_PAUSES_S[-1])):
        answer = _recertify(root, device)
        left_s = patience_s - (time.monotonic() - began)
        if answer.returncode != EXIT_RESTLESS or left_s <= 0:
            break
        log.warning(f"{_words_of(answer)} The next try is in {min(pause_s, left_s):.0f} s.")
        time.sleep(min(pause_s, left_s))
    if answer.returncode:
        waited = ""
        if answer.returncode == EXIT_RESTLESS and patience_s:
            waited = (
                f", tried for {patience_s / 60:.3g} minutes (schedule.quiet_wait_minutes in "
                "params.yaml)"
            )
        raise StageFailedError(
            f"{device} could not be measured again{waited}: {_words_of(answer)}",
            exit_code=exit_code_of_process(answer.returncode),
        )
    found = Recertification.from_dict(json.loads(answer.stdout))
    (log.warning if found.has_moved else log.info)(drift_text(found))
    return found


def _recertify(root: Path, device: str) -> "subprocess.CompletedProcess[str]":
    program = "from ofa_pipeline.cli import main; main()"
    words = ["recertify", device, "--json", "--workspace", str(root)]
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *words],
        env=stage_environment(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )


def _words_of(answer: "subprocess.CompletedProcess[str]") -> str:
    """Return what a command said at its end, without secrets."""
    return " ".join(mask_secrets(answer.stderr).strip().splitlines()[-_LINES:])


def _with_subnets(root: Path, params: Params) -> list[str]:
    """Return the devices that have subnets; those elsewhere are left out, which is said."""
    layout = Layout(root)
    found = [name for name in params.devices if (layout.subnets(name) / Layout.BUNDLES).exists()]
    elsewhere = [name for name in found if params.device(name).card.location is not None]
    if elsewhere:
        get_run_logger().warning(
            f"not measured again, because it is not of this machine: {', '.join(elsewhere)}"
        )
    return [name for name in found if name not in elsewhere]
