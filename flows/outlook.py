"""A run that knows how far it is."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.dvc_client import DvcClient
from flows.stages import OUTLOOK
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.params import Params
from ofa_pipeline.planning import (
    Outlook,
    kept_seconds,
    run_addresses,
    stages_before,
    states_of,
)

_PATIENCE_S = 60.0


@contextmanager
def followed(
    dvc: DvcClient, params: Params, devices: Collection[str] = ()
) -> Iterator[Callable[[], None]]:
    """Number the stages of the body, and say how long it still takes.

    Yields what waits until nothing runs beside the body any more, to be called before latency is
    measured.

    Args:
        dvc: DVC in the workspace, which says what will run.
        params: Params of the workspace.
        devices: Where some are named, they alone are served.
    """
    addresses, root = run_addresses(params, devices), dvc.root
    judgement = dvc.judge(addresses)
    states = states_of(params, changed=judgement.changed, restorable=judgement.restorable)
    stale = [address for address in addresses if states[address] == "runs"]
    kept = kept_seconds(params, Layout(root))
    outlook = Outlook(addresses, before=stages_before(params), expected_s=kept, stale=stale)
    expecting = _Expecting(root, outlook) if stale and not set(stale) <= set(kept) else None
    token = OUTLOOK.set(outlook)
    try:
        yield expecting.wait if expecting else _wait_for_nothing
    finally:
        OUTLOOK.reset(token)
        if expecting:
            expecting.end()


def _wait_for_nothing() -> None:
    """Nothing runs beside."""


class _Expecting:
    """Finds out beside the run how long its stages will take; what fails is not said at all.

    In another process, because it needs torch, which this one would keep in memory beside every
    measurement of latency.
    """

    def __init__(self, root: Path, outlook: Outlook) -> None:
        words = [sys.executable, "-P", "-m", "flows.expectation", str(root)]
        self._process = subprocess.Popen(
            words, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._outlook = outlook
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until it has ended, not for ever."""
        self._thread.join(_PATIENCE_S)
        self.end()

    def end(self) -> None:
        """Stop it."""
        self._process.kill()

    def _listen(self) -> None:
        text, _ = self._process.communicate()
        if self._process.returncode == 0:
            self._outlook.expect(json.loads(text))
