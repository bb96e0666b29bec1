"""What `ofa-pipeline serve` tells to type."""

import shlex
import sys
from pathlib import Path

from flows.deployments import DEPLOYMENTS
from flows.serve import start_commands
from ofa_pipeline.params import load_params

ROOT = Path(__file__).parents[3]


def test_commands_run_each_deployment_in_any_shell():
    params = load_params(ROOT / "params.yaml")
    names = ["once-for-all/scheduled", "add-device/on-demand"]
    names += ["re-certify/nightly", "re-search/new-budgets"]
    text = start_commands(names, params, server="http://me:secret@127.0.0.1:4242/api")
    commands = [shlex.split(line) for line in text.splitlines()]
    assert len(commands) == len(DEPLOYMENTS)
    for command, name in zip(commands, names, strict=True):
        assert command[0] == "PREFECT_API_URL=http://***@127.0.0.1:4242/api"
        assert Path(command[1]) == Path(sys.executable).with_name("prefect")
        assert command[2:5] == ["deployment", "run", name]
    assert commands[0][5:] == []
    for command in commands[1:3]:
        assert command[5:] == ["--param", 'devices=["cpu-onnxruntime"]']
    told = ["--param", 'device="cpu-onnxruntime"', "--param", "budgets_ms=[1.0]"]
    assert commands[3][5:] == told
