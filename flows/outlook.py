"""A run that knows how far it is."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from flows.stages import OUTLOOK
from ofa_pipeline.params import Params
from ofa_pipeline.planning import Outlook, run_addresses, stages_before


@contextmanager
def followed(params: Params, devices: Collection[str] = ()) -> Iterator[None]:
    """Number the stages of the body.

    Args:
        params: Params of the workspace.
        devices: Where some are named, they alone are served.
    """
    outlook = Outlook(run_addresses(params, devices), before=stages_before(params))
    token = OUTLOOK.set(outlook)
    try:
        yield
    finally:
        OUTLOOK.reset(token)
