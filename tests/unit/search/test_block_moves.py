import numpy as np
import pytest

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.search.additive import additive_part
from ofa_pipeline.search.block_moves import BlockMoves
from tests.support.synthetic import neighbors_of, small_space, true_latency_ms


def uneven_space() -> SearchSpace:
    """Return a space whose block groups have different choices."""
    whole = small_space()
    narrow = small_space().restrict(depths=[[1, 3], [2], [1, 2, 3]])
    groups = list(narrow.block_groups)
    fewer = whole.restrict(kernel_sizes=[3, 5], expand_ratios=[2.0])
    groups[1] = fewer.block_groups[1]
    return SearchSpace(
        space_id=whole.space_id,
        resolutions_px=(16, 28),
        block_groups=tuple(groups),
        backbone=whole.backbone,
    )


@pytest.fixture(params=[small_space, uneven_space])
def space(request):
    return request.param()


@pytest.fixture
def moves(space):
    cost = additive_part(space, lambda genes: true_latency_ms(space, genes))
    assert cost.is_exact
    return BlockMoves(space, cost.score)


@pytest.fixture
def weights(space):
    """Return what each choice adds to a gain that is a sum over choices."""
    return np.random.default_rng(7).normal(0, 1, int(space.num_choices.sum()))


def effects_of(space, moves, weights, genes):
    slopes = np.tile(weights, (len(genes), 1))
    return moves.effects(genes, slopes, np.full(len(genes), 0.5))


def test_effects_are_the_differences_where_gain_and_cost_are_sums(space, moves, weights):
    genes = space.sample(np.random.default_rng(0), 8)
    effects = effects_of(space, moves, weights, genes)
    before = space.one_hot(genes) @ weights, true_latency_ms(space, genes)
    num_tried = 0
    for move in range(effects.gain.shape[1]):
        rows = np.flatnonzero(np.isfinite(effects.gain[:, move]))
        changed = moves.apply(effects.filled[rows], np.full(len(rows), move))
        gain = space.one_hot(changed) @ weights - before[0][rows]
        cost = true_latency_ms(space, changed) - before[1][rows]
        np.testing.assert_allclose(effects.gain[rows, move], gain, atol=1e-4)
        np.testing.assert_allclose(effects.cost[rows, move], cost, atol=1e-4)
        num_tried += len(rows)
    assert num_tried > 100


def test_every_move_gives_another_architecture_of_the_space(space, moves, weights):
    genes = space.sample(np.random.default_rng(1), 5)
    effects = effects_of(space, moves, weights, genes)
    rows, columns = np.nonzero(np.isfinite(effects.gain))
    changed = moves.apply(effects.filled[rows], columns)
    space.check_genes(changed)
    np.testing.assert_array_equal(changed, space.canonicalize(changed))
    assert (changed != genes[rows]).any(axis=1).all()


def test_moves_reach_every_choice_of_what_runs(space, moves, weights):
    genes = space.sample(np.random.default_rng(2), 1)
    effects = effects_of(space, moves, weights, genes)
    columns = np.flatnonzero(np.isfinite(effects.gain[0]))
    changed = moves.apply(np.repeat(effects.filled, len(columns), axis=0), columns)
    reached = {row.tobytes() for row in changed}
    neighbors = neighbors_of(space, genes)
    depth = space.columns["depth"]
    # A deeper neighbour differs: its new blocks are chosen, not the smallest.
    same_depth = neighbors[(neighbors[:, depth] <= genes[:, depth]).all(axis=1)]
    assert {row.tobytes() for row in same_depth} <= reached


def test_blocks_that_begin_to_run_are_those_worth_their_price(space, moves, weights):
    genes = space.genes([space.smallest])
    effects = effects_of(space, moves, weights, genes)
    resolution_costs = moves._blocks[0]
    kernels, expands = space.columns["kernel_size"], space.columns["expand_ratio"]
    starts = np.concatenate([[0], np.cumsum(space.num_choices)])
    skipped = np.flatnonzero(~space.active_blocks(genes)[0])
    for slot in skipped:
        num_kernels = space.num_choices[kernels][slot]
        num_expands = space.num_choices[expands][slot]
        by_kernel = weights[starts[kernels.start + slot] :][:num_kernels]
        by_expand = weights[starts[expands.start + slot] :][:num_expands]
        cost = resolution_costs[slot].reshape(moves._num_kernels, moves._num_expands)
        worth = by_kernel[:, None] + by_expand - 0.5 * cost[:num_kernels, :num_expands]
        best = np.unravel_index(worth.argmax(), worth.shape)
        chosen = effects.filled[0, [kernels.start + slot, expands.start + slot]]
        np.testing.assert_array_equal(chosen, best)
