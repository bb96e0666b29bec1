"""The order of a large split in lanes: each place in a batch is fed from its own row groups.

So whoever trains on some places of every batch reads some row groups of the split alone, and the
order does not depend on how many there are.

Source:
    "Elastic determinism" of MosaicML Streaming: canonical nodes, whose number stays what it is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LANES = 64
"""At most as many ranks read disjoint parts; each batch has images of as many row groups."""
MIN_ROWS = LANES * 4096
"""Smaller splits have no lanes: to read them takes little, and windows shuffle them better."""
REMEMBERED_ROW_GROUPS = LANES + LANES // 2
"""One a lane, and half as many that a lane has just left or will soon enter."""


def lane_order(
    spans: Sequence[NDArray[np.int64]], generator: np.random.Generator, *, batch_size: int
) -> NDArray[np.int64]:
    """Return the order of an epoch, shape (N,).

    The rows follow each other in the order of the row groups and are dealt out to the lanes in
    one piece each; every batch takes the next of each lane.

    Args:
        spans: Rows of each row group, in the order of the epoch.
        generator: Shuffles the rows of each row group.
        batch_size: Images a batch, B: place p belongs to lane ``p * LANES // B``.
    """
    ids = np.concatenate([generator.permutation(span) for span in spans])
    num_batches = len(ids) // batch_size
    lanes = np.arange(batch_size) * LANES // batch_size
    quotas = np.bincount(lanes, minlength=LANES)
    pieces = np.split(ids, np.cumsum(quotas * num_batches))
    *of_lanes, rest = pieces
    batches = [piece.reshape(num_batches, -1) for piece in of_lanes if len(piece)]
    whole = np.concatenate(batches, axis=1).ravel() if batches else ids[:0]
    return np.concatenate([whole, rest])
