"""What holds for every test."""

import os

from ofa_pipeline.telemetry import keep_quiet

keep_quiet(os.environ)  # before a test imports what would call home
