"""The program of a device: ``python -m ofa_pipeline.devices.serving CONNECTION LIFELINE``.

Both are file descriptors.
"""

import sys
from multiprocessing.connection import Connection

from ofa_pipeline.devices.child import serve
from ofa_pipeline.devices.lifeline import end_when_closed

if __name__ == "__main__":
    end_when_closed(int(sys.argv[2]))
    with Connection(int(sys.argv[1])) as connection:
        serve(connection)
