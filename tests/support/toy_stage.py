"""`ofa-pipeline` with stages that do next to nothing: what the drivers are tested with.

A stage writes its inputs' digests, reports progress and takes as long as ``OFA_TOY_SECONDS`` says;
``OFA_TOY_FAIL`` names a stage that fails, ``OFA_TOY_AWAIT`` one that waits for a device elsewhere
until a result of it was imported.
"""

import os
import sys
import time
import types

from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.cli import main
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.documents import Awaited, Receipts
from ofa_pipeline.errors import AwaitedError, DatasetError
from ofa_pipeline.stages import STAGES, Stage, StageRun


def fake(stage: Stage) -> types.ModuleType:
    """Return a module like `ofa_pipeline.stages.NAME`."""

    def run(toy: StageRun) -> None:
        address = f"{stage.name}@{toy.item}" if toy.item else stage.name
        with (toy.layout.root / "calls.txt").open("a") as calls:
            calls.write(f"{address}\n")
        if os.environ.get("OFA_TOY_FAIL") == address:
            raise DatasetError(f"{address} was told to fail. Do not tell it so.")
        if os.environ.get("OFA_TOY_AWAIT") == address:
            store = ElsewhereStore(toy.layout, toy.item)
            if not store.results():
                store.wait_for(Awaited(round="profile"))
                raise AwaitedError(f"{address} waits for somebody who measures elsewhere")
        with toy.writing() as writer:
            seconds = float(os.environ.get("OFA_TOY_SECONDS", "0"))
            toy.reporter.message("a message", loss=1.5)
            for _ in toy.reporter.iterate(range(10), "toy work", total=10, unit="steps"):
                time.sleep(seconds / 10)
            write_json(writer.folder / Layout.CLASSES, {"class_names": ["a"]})
            receipts = Receipts(device=toy.item, receipts=())
            write_json(writer.folder / Layout.RECEIPTS, receipts.to_dict())
            write_json(writer.folder / "metrics.json", {"accuracy": 0.5})

    module = types.ModuleType(f"ofa_pipeline.stages.{stage.name}")
    module.run = run  # type: ignore[attr-defined]
    return module


if __name__ == "__main__":
    for row in STAGES:
        sys.modules[f"ofa_pipeline.stages.{row.name}"] = fake(row)
    main()
