"""Compiled PyTorch on the CPU in float32: AOTInductor, PyTorch's compiler ahead of time.

What ships is a shared library in a ``.pt2`` file, for one size of images, for processors of the
level that it was compiled on and for one version of torch (`ofa_pipeline.devices.compiled`).
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ofa_pipeline.devices import compiled
from ofa_pipeline.devices.quiet import torch_threads
from ofa_pipeline.devices.runtime import FP32_TOLERANCE, Images, Runtime, Tolerance

if TYPE_CHECKING:
    from torch import nn


class AotInductorNetwork:
    """A shared library in a ``.pt2`` file: opening it runs what is in it."""

    file_name: ClassVar[str] = "model.pt2"
    code_names: ClassVar[tuple[str, ...]] = ()
    is_code: ClassVar[bool] = True

    def __init__(
        self,
        content: bytes,
        *,
        accelerator: str,  # noqa: ARG002 - it supports one
        threads: int,
        import_code: Callable[[str], Any],  # noqa: ARG002 - it needs no other file
    ) -> None:
        """Open the library, by torch's own loader alone: its Python part would read more.

        Raises:
            ValueError: If the content is not such a file or not whole, or if it was compiled for
                another torch or a processor that can do more.
        """
        import json
        import tempfile
        from pathlib import Path
        from threading import Lock

        import torch

        facts = self._facts(content)
        self._require_fitting(facts, torch)
        self._torch, self._threads, self._turn = torch, threads, Lock()
        self._batch_size, *self._image_shape = json.loads(facts["images"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.pt2")
            path.write_bytes(content)
            try:
                self._library = torch._C._aoti.AOTIModelPackageLoader(
                    str(path), "model", True, 1, -1, False
                )
            except RuntimeError as error:
                raise ValueError(str(error)) from error

    def __call__(self, images: Images) -> Images:
        """Return the logits (N, classes) of images (N, 3, H, W); threads take turns."""
        torch = self._torch
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with self._turn, torch.inference_mode():
                answers = [self._library.run([part])[0] for part in self._parts(images)]
                logits: Images = torch.cat(answers)[: len(images)].numpy()
        finally:
            torch.set_num_threads(before)
        return logits

    def prepared_call(self, images: Images) -> Callable[[], None]:
        """Place the images; more than it was compiled for are handed over in parts."""
        inference_mode, library = self._torch.inference_mode, self._library
        parts = self._parts(images)

        def call() -> None:
            with inference_mode():
                for part in parts:
                    library.run([part])

        return call

    def _parts(self, images: Images) -> Any:  # noqa: ANN401 - torch is imported late
        """Return tensors of as many images as a call takes, the last one filled up with zeros."""
        if list(images.shape[1:]) != self._image_shape:
            raise ValueError(
                f"images must be of shape (N, {', '.join(map(str, self._image_shape))}), as the "
                f"file was compiled for, got {images.shape}"
            )
        missing = -len(images) % self._batch_size
        filled = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else images
        tensor = self._torch.from_numpy(np.ascontiguousarray(filled))
        return self._torch.split(tensor, self._batch_size)

    @staticmethod
    def _facts(content: bytes) -> dict[str, str]:
        """Return what stands in a file of what it was compiled for.

        Raises:
            ValueError: If it is not such a file, or not whole.
        """
        import io
        import json
        import zipfile

        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                spoiled = archive.testzip()
                [name] = [n for n in archive.namelist() if n.endswith(".wrapper_metadata.json")]
                found = json.loads(archive.read(name))
            facts = {key: str(found[key]) for key in ("torch", "machine", "cpu", "images")}
        except (zipfile.BadZipFile, NotImplementedError, ValueError, KeyError, EOFError) as error:
            raise ValueError(f"not a whole file of AOTInductor as written here: {error}") from error
        if spoiled:
            raise ValueError(f"{spoiled} in it was changed. Write it again")
        return facts

    @staticmethod
    def _require_fitting(facts: dict[str, str], torch: Any) -> None:  # noqa: ANN401 - a module
        """Check that a file was compiled for such a torch and such a processor.

        Raises:
            ValueError: If not: a library for another torch or a larger processor would crash.
        """
        import platform

        version = torch.__version__.partition("+")[0]
        if facts["torch"] != version:
            raise ValueError(
                f"it was compiled for torch {facts['torch']}, and torch {version} is installed. "
                f"pip install torch=={facts['torch']}, or compile it again"
            )
        levels = ["DEFAULT", "AVX2", "AVX512"]
        machine, cpu = platform.machine(), torch.backends.cpu.get_cpu_capability()
        can_more = cpu in levels and facts["cpu"] in levels[: levels.index(cpu) + 1]
        if machine != facts["machine"] or not (cpu == facts["cpu"] or can_more):
            raise ValueError(
                f"it was compiled for a processor with {facts['machine']} {facts['cpu']}, and this "
                f"one has {machine} {cpu}. Compile it on a machine of this kind"
            )

    @staticmethod
    def supports(accelerator: str) -> bool:
        """Tell whether it can compute on an accelerator of this machine."""
        return accelerator == "cpu"


class AotInductorRuntime(Runtime):
    """AOTInductor, whose files are shared libraries."""

    package = "torch"
    requirements = ("torch",)
    how_to_get: ClassVar[Mapping[str, str]] = {"cpu": f"pip install torch, and {compiled.TOOLS}"}
    tolerances: ClassVar[Mapping[str, Tolerance]] = {"fp32": FP32_TOLERANCE}
    network = AotInductorNetwork

    @classmethod
    def can_write(cls) -> bool:
        """Tell whether there is a compiler."""
        return compiled.has_tools()

    def import_code(self) -> None:
        """Import PyTorch, which the runtime needs: seconds."""
        import torch  # noqa: F401 - a network finds it imported

    def content_of(self, network: "nn.Module", *, resolution_px: int) -> bytes:
        """Return a file for the threads and the batch of the card; 10 to 40 s.

        Raises:
            DeviceError: If there is no compiler.
            ExportError: If the network cannot be compiled.
        """
        return compiled.pt2_bytes(
            network,
            resolution_px=resolution_px,
            batch_size=self.card.batch_size,
            threads=self.card.threads,
        )

    def threads_claimed(self) -> AbstractContextManager[None]:
        """Let torch compute with the card's number of threads."""
        return torch_threads(self.card.threads)


RUNTIME = AotInductorRuntime
