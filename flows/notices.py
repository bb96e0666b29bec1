"""What the package logs as a warning, shown to whoever watches a run; and no secret in any log."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ofa_pipeline.cli.notices import notices_to
from ofa_pipeline.masking import mask_secrets

_Factory = Callable[..., logging.LogRecord]
_Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


def mask_logs() -> None:
    """Mask passwords in everything that this process logs, tracebacks included.

    Prefect files the traceback of a failed run, in which the words of MLflow and of drivers stand.
    """
    before = logging.getLogRecordFactory()
    if isinstance(before, _Masked):
        return
    logging.setLogRecordFactory(_Masked(before))


class _Masked:
    """Makes records of a log without secrets."""

    def __init__(self, make: _Factory) -> None:
        self._make = make

    def __call__(self, *args: object, **named: object) -> logging.LogRecord:
        record = self._make(*args, **named)
        with suppress(
            TypeError, ValueError
        ):  # a text that does not fit its values: logging says so
            text = record.getMessage()
            masked = mask_secrets(text)
            if masked != text:
                record.msg, record.args = masked, ()
        if record.exc_info:
            # A formatter takes this text where it is there.
            record.exc_text = mask_secrets(logging.Formatter().formatException(record.exc_info))
        return record


@contextmanager
def notices_shown(show: Callable[[str], None], logger: _Logger) -> Iterator[None]:
    """Show what the package warns about while the body runs, and log it with the run."""

    def tell(text: str) -> None:
        show(text)
        logger.warning(text)

    with notices_to(tell):
        yield
