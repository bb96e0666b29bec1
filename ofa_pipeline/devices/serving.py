"""The program of a device's process: ``python -m ofa_pipeline.devices.serving FILE_DESCRIPTOR``."""

import sys
from multiprocessing.connection import Connection

from ofa_pipeline.devices.child import serve

if __name__ == "__main__":
    with Connection(int(sys.argv[1])) as connection:
        serve(connection)
