"""`python -m flows.expectation WORKSPACE`: seconds of each stage, as JSON, without measuring."""

import json
import sys
from pathlib import Path

from ofa_pipeline.params import load_params
from ofa_pipeline.planning import expected_seconds


def main(root: Path) -> None:
    """Print what each stage takes if it runs."""
    seconds = expected_seconds(root, load_params(root / "params.yaml"))
    sys.stdout.write(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
