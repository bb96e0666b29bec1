"""What the package logs as a warning, shown to whoever watches a run."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ofa_pipeline.cli.notices import notices_to

_Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


@contextmanager
def notices_shown(show: Callable[[str], None], logger: _Logger) -> Iterator[None]:
    """Show what the package warns about while the body runs, and log it with the run."""

    def tell(text: str) -> None:
        show(text)
        logger.warning(text)

    with notices_to(tell):
        yield
