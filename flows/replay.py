"""The stages behind a subnet, made again one by one from what was recorded, and compared."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.clone import dvc
from ofa_pipeline.artifacts import Layout, digest_file, verify_artifact
from ofa_pipeline.documents import BundleIndex, read_document
from ofa_pipeline.documents.lineage import (
    LineageAnswer,
    LineageStep,
    ReplayedStep,
    ReplayVerdict,
)
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError, OfaPipelineError
from ofa_pipeline.params import load_params
from ofa_pipeline.planning import address_of
from ofa_pipeline.registry.origin import LOCK_FILE
from ofa_pipeline.stages import STAGES, items_of

MADE_AGAIN = ("train_supernet", "collect_accuracy", "fit_predictor", "specialize")
MEASURED = ("profile_latency", "search")
"""What they write holds measured times, which no second run repeats."""
_MEASURED_FILE = Layout.CARD
_MADE_BY = "ofa-pipeline run"


class Replay:
    """The chain of a subnet in a clone of its workspace."""

    def __init__(self, root: Path, lineage: LineageAnswer) -> None:
        """Find which stages of the workspace made the chain.

        Raises:
            OfaPipelineError: If a link of the chain is made by no stage of the workspace.
        """
        self._root = root
        self._lineage = lineage
        self._lock = (root / LOCK_FILE).read_bytes()
        made_by = _addresses(root)
        self._chain: list[tuple[str, LineageStep]] = []
        for step in reversed(lineage.steps):
            if not step.digest or step.what == "bundle" or step.stage == "list_source":
                continue
            if step.artifact not in made_by:
                raise OfaPipelineError(
                    f"a stage of {root} must make {step.artifact}, but params.yaml names none that "
                    "does: the record was changed, or names another commit."
                )
            self._chain.append((made_by[step.artifact], step))

    @property
    def addresses(self) -> list[str]:
        """The stages whose results are pulled."""
        return [address for address, _ in self._chain]

    def run(self, *, is_made_again: bool, show: Callable[[str], None]) -> tuple[ReplayedStep, ...]:
        """Compare what was pulled, and what comes out when it is made again.

        Args:
            is_made_again: Whether to compute, or only to compare what was pulled.
            show: Says what happens.
        """
        other_code = self._other_code()
        steps = [step for item in self._chain for step in self._kept(*item)]
        if not is_made_again:
            return tuple(steps)
        again: dict[str, ReplayVerdict] = {}
        for address, step in self._chain:
            name = address.partition("@")[0]
            if name in MADE_AGAIN:
                show(f"making {address} again ...")
                again |= self._make_again(address, step)
            elif name in MEASURED:
                again[step.artifact] = "measured"
        return tuple(
            step.model_copy(
                update={
                    "replayed": again.get(step.what),
                    "note": other_code.get(step.stage, step.note),
                }
            )
            for step in steps
        )

    def _kept(self, address: str, step: LineageStep) -> Iterator[ReplayedStep]:
        """Yield what was pulled of an artifact, and of the files of the bundle."""
        yield ReplayedStep(
            what=step.artifact,
            stage=address,
            recorded=step.digest,
            kept=self._verdict(step),
            replayed=None,
        )
        if address.startswith("specialize"):
            for name, digest in self._lineage.files.items():
                path = self._bundle() / name
                yield ReplayedStep(
                    what=name,
                    stage=address,
                    recorded=digest,
                    kept=_compared(path, digest),
                    replayed=None,
                )

    def _make_again(self, address: str, step: LineageStep) -> dict[str, ReplayVerdict]:
        """Make an artifact again and return how it compares; what was recorded is put back."""
        bundle = self._bundle() if address.startswith("specialize") else None
        dvc(self._root, "repro", "--single-item", "--force", address, is_shown=True)
        if bundle is not None:
            files = self._lineage.files.items()
            found = {name: _compared(bundle / name, digest) for name, digest in files}
            # Its card holds times, and so does the digest of the whole.
            return {**found, _MEASURED_FILE: "measured", step.artifact: "measured"}
        verdict = self._verdict(step)
        if verdict != "equal":
            (self._root / LOCK_FILE).write_bytes(self._lock)
            dvc(self._root, "checkout", "--force", address)
        return {step.artifact: verdict}

    def _verdict(self, step: LineageStep) -> ReplayVerdict:
        try:
            found = verify_artifact(self._root / step.artifact).digest
        except MissingArtifactError:
            return "missing"
        except ManifestMismatchError:
            return "differs"
        return "equal" if found == step.digest else "differs"

    def _bundle(self) -> Path:
        """Return the folder of the bundle: named by the index, else as bundles are named."""
        folder = self._root / "artifacts" / "subnets" / self._lineage.device
        try:
            index = read_document(folder / Layout.BUNDLES, BundleIndex, remake=_MADE_BY)
        except (MissingArtifactError, ManifestMismatchError):
            return folder / self._lineage.arch_id
        for entry in index.bundles:
            if entry.bundle_digest == self._lineage.bundle_digest:
                return folder / entry.name
        return folder / self._lineage.arch_id

    def _other_code(self) -> dict[str, str]:
        """Return the stages whose code here is not what was recorded, with a note."""
        said = dvc(self._root, "status", "--json", *self.addresses)
        found = {}
        for address, changes in json.loads(said or "{}").items():
            items = [item for item in changes if isinstance(item, dict)]
            paths = [path for item in items for path in item.get("changed deps", {})]
            code = sorted(path for path in paths if not path.startswith("artifacts/"))
            if code:
                found[address] = f"other code than recorded: {', '.join(code)}"
        return found


def _addresses(root: Path) -> dict[str, str]:
    """Return the stage that makes each artifact of a workspace, by the artifact's path."""
    params = load_params(root / "params.yaml")
    return {
        stage.writes.format(item=item): address_of(stage.name, item)
        for stage in STAGES
        for item in items_of(stage, params)
    }


def _compared(path: Path, digest: str) -> ReplayVerdict:
    if not path.is_file():
        return "missing"
    return "equal" if digest_file(path) == digest else "differs"
