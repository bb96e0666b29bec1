"""ExecuTorch with XNNPACK on the CPU, in float32 and int8: PyTorch's own runtime on phones.

The file is written here (`ofa_pipeline.devices.xnnpack`), in a fraction of a second.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ofa_pipeline.devices.from_steps import FromSteps
from ofa_pipeline.devices.runtime import Images

if TYPE_CHECKING:
    from ofa_pipeline.devices.steps import LoweredNetwork


class ExecuTorchNetwork:
    """A ``.pte`` file in ExecuTorch."""

    file_name: ClassVar[str] = "model.pte"
    code_names: ClassVar[tuple[str, ...]] = ()
    is_code: ClassVar[bool] = False
    _opened: ClassVar[list[Any]] = []
    """Weak references to those of this process: all compute with its one pool of threads."""

    def __init__(
        self,
        content: bytes,
        *,
        accelerator: str,  # noqa: ARG002 - it supports one
        threads: int,
        import_code: Callable[[str], Any],  # noqa: ARG002 - it needs no other file
    ) -> None:
        """Load the program.

        Raises:
            ValueError: If the content is not such a file, or not as it was written; if networks
                with another number of threads are open in this process; or if ExecuTorch is for
                another PyTorch.
        """
        import os
        import weakref
        from threading import Lock

        import torch

        self._require_whole(content)
        bindings = self._bindings()
        self._torch, self._content = torch, content  # the program does not copy it
        # It writes lines about the processor to the standard error, which nothing else keeps back.
        stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            self._claim_threads(bindings, threads)
            self._program = bindings._load_program_from_buffer(
                content, program_verification=bindings.Verification.InternalConsistency
            )
            self._method = self._program.load_method("forward")
            sizes = self._method.method_meta().input_tensor_meta(0).sizes()
        except (RuntimeError, IndexError) as error:
            raise ValueError(str(error)) from error
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            os.close(nowhere)
        self._batch_size, self._image_shape = sizes[0], tuple(sizes[1:])
        self._turn = Lock()
        self._opened.append(weakref.ref(self))

    def __call__(self, images: Images) -> Images:
        """Return the logits (N, classes) of images (N, 3, H, W); threads take turns."""
        parts = self._parts(images)
        with self._turn:  # the logits lie in the program
            answers = [self._method([part], clone_outputs=True)[0] for part in parts]
        logits: Images = self._torch.cat(answers).numpy()
        return logits

    def prepared_call(self, images: Images) -> Callable[[], None]:
        """Place the images; more than a call takes are handed over in parts."""
        parts = self._parts(images)

        def call() -> None:  # it holds the network, without which its method has no program
            for part in parts:
                self._method([part], clone_outputs=False)

        return call

    def _parts(self, images: Images) -> Any:  # noqa: ANN401 - torch is imported late
        """Return tensors of as many images as a call takes; those of another size are refused."""
        if images.shape[1:] != self._image_shape:
            raise ValueError(
                f"images must be of shape (N, {', '.join(map(str, self._image_shape))}), as the "
                f"file was written for, got {images.shape}"
            )
        tensor = self._torch.from_numpy(np.ascontiguousarray(images))
        return self._torch.split(tensor, self._batch_size)

    @staticmethod
    def _require_whole(content: bytes) -> None:
        """Check a file before ExecuTorch does: what XNNPACK reads of it is verified by nobody.

        Raises:
            ValueError: If it does not end with the SHA-256 of what stands before.
        """
        import hashlib

        size = hashlib.sha256().digest_size
        if hashlib.sha256(memoryview(content)[:-size]).digest() != content[-size:]:
            raise ValueError(
                "a program must end with the SHA-256 of all before it, as it is written here, but "
                "does not: it was cut off or changed, or another program wrote it. Write it again"
            )

    @staticmethod
    def _bindings() -> Any:  # noqa: ANN401 - a module
        """Import what runs programs.

        Not `executorch.runtime`: it imports the exporter, ten seconds, and sets variables of the
        environment.

        Raises:
            ValueError: If it was built for another PyTorch than the one that is installed.
        """
        import torch  # before it: it needs the libraries of torch

        try:
            from executorch.extension.pybindings import _C
        except ModuleNotFoundError:
            raise
        except ImportError as error:
            raise ValueError(
                f"ExecuTorch must be one for torch {torch.__version__}, but cannot be imported "
                f"beside it: {error}. Install a pair of versions that were released together"
            ) from error
        return _C

    @classmethod
    def _claim_threads(cls, bindings: Any, threads: int) -> None:  # noqa: ANN401 - a module
        """Set the number of threads of this process.

        Raises:
            ValueError: If networks are open that compute with others: these would be taken away.
        """
        cls._opened[:] = [reference for reference in cls._opened if reference() is not None]
        current = bindings._threadpool_get_thread_count()
        if current == threads:
            return
        if cls._opened:
            raise ValueError(
                f"ExecuTorch has one number of threads for a process, and {len(cls._opened)} "
                f"networks with {current} are open in this one, so none can be opened with "
                f"{threads}. Open it in another process, or let go of the others before"
            )
        bindings._unsafe_reset_threadpool(threads)

    @staticmethod
    def supports(accelerator: str) -> bool:
        """Tell whether it can compute on an accelerator of this machine."""
        return accelerator == "cpu"


class ExecuTorchRuntime(FromSteps):
    """ExecuTorch, whose files are programs."""

    package = "executorch"
    requirements = ("executorch", "torch")
    how_to_get: ClassVar[Mapping[str, str]] = {"cpu": "pip install 'ofa-pipeline[executorch]'"}
    vocabulary = "what XNNPACK has nodes for"
    network = ExecuTorchNetwork

    def import_code(self) -> None:
        """Import PyTorch, which the runtime needs: seconds."""
        import torch  # noqa: F401 - a network finds it imported

    def bytes_of(
        self,
        network: "LoweredNetwork",
        shapes: Sequence[tuple[int, ...]],
        *,
        ranges: Sequence[tuple[float, float]] | None,
    ) -> bytes:
        """Return a program; see `FromSteps.bytes_of`."""
        from ofa_pipeline.devices.xnnpack import pte_bytes

        return pte_bytes(network, shapes, ranges=ranges)


RUNTIME = ExecuTorchRuntime
