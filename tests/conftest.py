"""What holds for every test."""

import os
import signal

from ofa_pipeline.telemetry import keep_quiet

keep_quiet(os.environ)  # before a test imports what would call home

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background of a script. What tests start and interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
