"""Records and logs of the workspace's own Prefect server are its owner's alone."""

import os
import shutil
import stat
import subprocess
import sys

from flows import server


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_log_are_the_owners_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    before = os.umask(0o022)
    try:
        server.PrefectServer(tmp_path, 1, with_interface=False).stop()
    finally:
        os.umask(before)
    assert mode(tmp_path / ".prefect") == 0o700
    assert mode(tmp_path / ".prefect" / "server.log") == 0o600


def test_folder_of_an_earlier_version_is_closed(tmp_path):
    folder = tmp_path / ".prefect"
    folder.mkdir(mode=0o755)
    server.private_folder(folder)
    assert mode(folder) == 0o700


def test_server_makes_its_files_for_its_owner(tmp_path):
    """Run as the program, with a server that only writes a file."""
    code = (
        "import runpy, sys, types\n"
        "uvicorn = types.ModuleType('uvicorn')\n"
        "uvicorn.run = lambda *_, **__: open('prefect.db', 'w').close()\n"
        "sys.modules['uvicorn'] = uvicorn\n"
        "sys.argv = ['flows.server', sys.argv[1], '1']\n"
        "runpy.run_module('flows.server', run_name='__main__')\n"
    )
    command = [sys.executable, "-c", code, str(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, umask=0o022)
    assert mode(tmp_path / "prefect.db") == 0o600
