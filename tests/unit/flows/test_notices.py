"""What the package warns about is told; secrets are in no log."""

import io
import logging

import pytest

from flows.notices import notices_shown
from ofa_pipeline.cli.notices import notices_to
from ofa_pipeline.masking import mask_logs


@pytest.fixture
def log():
    """A logger whose formatted text can be read."""
    before = logging.getLogRecordFactory()
    text = io.StringIO()
    logger = logging.getLogger("of another program")
    handler = logging.StreamHandler(text)
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, text
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_warning_of_the_library_is_told_once_and_only_inside(log):
    told = []
    with notices_shown(told.append, log[0]):
        logging.getLogger("ofa_pipeline.registry.database").warning("made %s", "anew")
        logging.getLogger("ofa_pipeline.registry.database").info("not this")
    logging.getLogger("ofa_pipeline").warning("too late")
    assert told == ["made anew"]
    assert log[1].getvalue() == "made anew\n"


def test_notice_shows_no_password():
    told = []
    with notices_to(told.append):
        logging.getLogger("ofa_pipeline.x").warning("at http://me:secret@host")
    assert told == ["at http://me:***@host"]


def test_logs_and_tracebacks_of_other_programs_are_masked(log):
    logger, text = log
    mask_logs()
    mask_logs()
    error = ConnectionError("postgresql://me:secret@host/db is gone")
    logger.error("while asking %s", "http://me:secret@host", exc_info=error)
    logger.warning("%d of %s stays as it is", 3, "x")
    assert "secret" not in text.getvalue()
    assert "postgresql://me:***@host/db is gone" in text.getvalue()
    assert "while asking http://me:***@host" in text.getvalue()
    assert "3 of x stays as it is" in text.getvalue()
