"""From a network to the file of a compiled one: AOTInductor, PyTorch's compiler ahead of time.

It writes C++, which the system's compiler turns into a shared library with the weights in it: 10
to 40 s a network.
"""

import hashlib
import json
import logging
import os
import platform
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ofa_pipeline.devices.export import inference_form, name_of
from ofa_pipeline.devices.quiet import torch_threads
from ofa_pipeline.errors import DeviceError, ExportError
from ofa_pipeline.temporary import temporary_folder

if TYPE_CHECKING:
    from torch import nn

TOOLS = "a C++ compiler and binutils (Debian: apt-get install g++; CXX names another compiler)"
"""What a file is written with, besides torch."""
_MODEL = "model"
_FOLDER = f"{_MODEL}/data/aotinductor/{_MODEL}"
"""Where torch's loader looks for the library in a file."""
_MARKS = {"archive_format": "pt2", "archive_version": "0", "byteorder": "little"}
_LEVELS = {"AVX2": "x86-64-v3", "AVX512": "x86-64-v4"}
"""What the compiler may use of a processor: that of its level, not of its model alone."""
_MAX_RECENT = 8
_OTHERS_MAY_WRITE = 0o022

_recent: dict[str, bytes] = {}
_turn = Lock()


def has_tools() -> bool:
    """Tell whether what compiles is installed."""
    return all(shutil.which(name) for name in (_compiler()[0], "strip"))


def pt2_bytes(network: "nn.Module", *, resolution_px: int, batch_size: int, threads: int) -> bytes:
    """Return a compiled network as the content of a ``.pt2`` file.

    The same bytes for the same arguments within a process. The last few are kept.

    Args:
        network: From images (N, 3, H, W) to logits; not changed.
        resolution_px: H and W.
        batch_size: N.
        threads: CPU threads of a call: with one, what is compiled has no parallel regions.

    Raises:
        DeviceError: If there is no compiler, or others may write where torch keeps its code.
        ExportError: If it does something that no step says, or that cannot be compiled.
    """
    from ofa_pipeline.devices.lowering import network_bytes

    if not has_tools():
        raise DeviceError(f"AOTInductor compiles with {TOOLS}, and that is not installed here.")
    settings = json.dumps([resolution_px, batch_size, threads]).encode()
    key = hashlib.sha256(network_bytes(network) + settings).hexdigest()
    with _turn:  # torch's compiler has one state for a process
        if key not in _recent:
            content = _compile(network, (batch_size, 3, resolution_px, resolution_px), threads)
            while len(_recent) >= _MAX_RECENT:
                del _recent[next(iter(_recent))]
            _recent[key] = content
        return _recent[key]


def _compile(network: "nn.Module", shape: tuple[int, ...], threads: int) -> bytes:
    import torch
    import torch._inductor

    facts = {
        "torch": torch.__version__.partition("+")[0],
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "images": json.dumps(shape),
        "threads": str(threads),
        "compiler": _version_of_compiler(),
    }
    with (
        temporary_folder("compile") as folder,
        _environment_kept(),
        torch_threads(threads),
        torch.no_grad(),
    ):
        _require_own_cache()
        images = torch.zeros(shape)
        try:
            program = torch.export.export(inference_form(network).cpu(), (images,))
            files: Any = torch._inductor.aot_compile(
                program.module(),
                (images,),
                options=_options(folder, facts, threads),
            )
        except Exception as error:
            raise ExportError(
                f"{name_of(network)} must be what AOTInductor compiles, but: {_said(error)}. Use "
                "other layers, or give the device the runtime pytorch."
            ) from error
        return _archive([Path(str(file)) for file in files], folder)


def _options(folder: Path, facts: dict[str, str], threads: int) -> dict[str, Any]:
    return {
        "freezing": True,  # weights are brought into the order of their kernels now
        "compile_threads": 1,
        "aot_inductor.package": True,
        "aot_inductor.output_path": str(folder),
        "aot_inductor.model_name_for_generated_files": _MODEL,
        "aot_inductor.metadata": dict(facts),
        "aot_inductor.enable_line_tables": False,
        "aot_inductor.enable_frame_pointer": False,
        # Twenty seconds once, ten less for each network; torch names it with openssl.
        "aot_inductor.precompile_headers": shutil.which("openssl") is not None,
        "cpp.dynamic_threads": threads > 1,  # the caller says how many
        "cpp.march": _LEVELS.get(facts["cpu"]),
    }


def _archive(files: Sequence[Path], folder: Path) -> bytes:
    """Return the library and what is known of it, without the C++ and the names of folders."""
    import torch

    [library] = [file for file in files if file.suffix == ".so"]
    [facts] = [file for file in files if file.name.endswith(".wrapper_metadata.json")]
    subprocess.run(
        ["strip", "--strip-all", "--remove-section=.note.gnu.build-id", str(library)], check=True
    )
    code = library.read_bytes()
    # Its messages name the folder that it was compiled in, another one each time, and torch's.
    for place in map(os.fsencode, (folder, Path(torch.__file__).parent)):
        code = code.replace(place, b"/" * len(place))
    contents = {
        f"{_FOLDER}/{library.name}": code,
        f"{_FOLDER}/{facts.name}": facts.read_bytes(),
        **{f"{_MODEL}/{name}": mark.encode() for name, mark in _MARKS.items()},
    }
    written = BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # with no date
    return written.getvalue()


def _compiler() -> list[str]:
    """Return the command of the compiler, as torch finds it."""
    return shlex.split(os.environ.get("CXX", "")) or ["g++"]


def _version_of_compiler() -> str:
    said = subprocess.run(
        [*_compiler(), "--version"], capture_output=True, text=True, errors="replace", check=False
    )
    return said.stdout.partition("\n")[0].strip()


def _require_own_cache() -> None:
    """Check the folder of code that torch keeps between compilations: it runs what lies there.

    Raises:
        DeviceError: If it is another user's, or others may write to it.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    for folder in {Path(cache_dir()), _default_cache()}:
        if not folder.exists():
            continue
        found = folder.stat()
        if found.st_uid != os.getuid() or found.st_mode & _OTHERS_MAY_WRITE:
            raise DeviceError(
                f"{folder} must be yours alone, as torch keeps code there that it runs, but "
                "others may write to it. Remove it, or set TMPDIR to a folder of yours."
            )


def _default_cache() -> Path:
    """Return where torch keeps precompiled headers, wherever it keeps the rest."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    return Path(default_cache_dir())


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Take away what the compiler puts into the environment, and what it writes to the log."""
    before = set(os.environ)
    logger = logging.getLogger("torch.utils.cpp_extension")  # that there is no CUDA
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in set(os.environ) - before:
            del os.environ[name]


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
