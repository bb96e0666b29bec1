"""What the library logs as a warning is told to whoever watches."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ofa_pipeline.masking import mask_secrets

_PACKAGE = "ofa_pipeline"


class _Teller(logging.Handler):
    """Hands every warning on as a text."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(mask_secrets(record.getMessage()))


@contextmanager
def notices_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell what the library warns about while the body runs; without this it goes to stderr.

    Args:
        tell: Called with each text, from any thread.
    """
    logger = logging.getLogger(_PACKAGE)
    handler = _Teller(tell)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
