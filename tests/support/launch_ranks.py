"""A launcher of the smallest kind: so many processes, told their places as Slurm tells them.

    python -m tests.support.launch_ranks SIZE -m MODULE ARGUMENTS...

It imports nothing heavy, ends all when one fails, and ends with the exit code of the one that did.
"""

import os
import subprocess
import sys
import time


def main(size: int, words: list[str]) -> int:
    """Start the processes and wait for them."""
    ranks: list[subprocess.Popen[bytes]] = [
        subprocess.Popen(
            [sys.executable, *words],
            env={
                **os.environ,
                "SLURM_PROCID": str(rank),
                "SLURM_NTASKS": str(size),
                "SLURM_LOCALID": str(rank),
                "SLURM_STEP_TASKS_PER_NODE": f"{size}(x1)",
            },
        )
        for rank in range(size)
    ]
    while None in (codes := [process.poll() for process in ranks]):
        for code in codes:
            if code:
                for process in ranks:
                    process.terminate()
                    process.wait(30)
                return abs(code)
        time.sleep(0.05)
    return max(abs(process.wait()) for process in ranks)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
