"""What `ofa-pipeline reproduce` says at its end."""

import pytest

from flows.reproduce import summary_of
from ofa_pipeline.documents.lineage import ReplayedStep, ReproductionAnswer


def answer(*verdicts, is_reproduced=True):
    steps = tuple(
        ReplayedStep(what=f"{index}", stage="s", recorded="d", kept=kept, replayed=replayed)
        for index, (kept, replayed) in enumerate(verdicts)
    )
    return ReproductionAnswer(
        model_uri="models:/m/1", commit="c", folder="f", steps=steps, is_reproduced=is_reproduced
    )


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            answer(("equal", "equal"), ("equal", "equal"), ("equal", "measured"), ("equal", None)),
            "reproduced: 4 of 4 digests are equal (2 of 2 made again, 2 of 2 compared as kept)",
        ),
        (
            answer(("equal", "differs"), ("differs", "measured"), is_reproduced=False),
            "NOT reproduced: 0 of 2 digests are equal (0 of 1 made again, 0 of 1 compared as kept)",
        ),
        (
            answer(("equal", None), ("missing", None), is_reproduced=False),
            "NOT kept: 1 of 2 digests are equal (0 of 0 made again, 1 of 2 compared as kept)",
        ),
    ],
)
def test_what_was_made_again_is_told_from_what_is_kept(found, text):
    assert summary_of(found) == text
