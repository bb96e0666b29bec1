"""What every sampler keeps; a new file in ``search/samplers`` is tested with the others."""

import functools

import numpy as np
import pytest

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.predictor import build_predictor
from ofa_pipeline.search import Estimates, Scored
from ofa_pipeline.search.samplers import build_sampler, sampler_names
from ofa_pipeline.search.sampling import Known, Request
from tests.support.synthetic import labeled_sample, small_space, true_accuracy, true_latency_ms

SPACE = small_space(num_groups=2)
LIMIT_MS = 0.6


@functools.cache
def estimates():
    genes, accuracy = labeled_sample(SPACE, 40, seed=0)
    predictor = build_predictor(SPACE, "ridge", seed=0)
    predictor.fit(genes, accuracy)
    return Estimates(SPACE, predictor.predict, lambda genes: true_latency_ms(SPACE, genes))


def request_for(*, taken=frozenset(), limit_ms=LIMIT_MS, seed=0, count=3):
    genes, accuracy = labeled_sample(SPACE, 40, seed=0)
    found = SPACE.sample(np.random.default_rng(1), 200)
    within = found[true_latency_ms(SPACE, found) <= limit_ms]
    mean = estimates().accuracy(within)[0]
    order = np.argsort(-mean)
    return Request(
        limit_ms=limit_ms,
        count=count,
        taken=taken,
        estimates=estimates(),
        candidates=Scored(within, mean, true_latency_ms(SPACE, within)[:, None]).take(order),
        known=Known(genes=genes, accuracy=accuracy, latency_ms=true_latency_ms(SPACE, genes)),
        fastest=SPACE.smallest,
        seed=seed,
    )


@functools.cache
def proposals_of(name, **changes):
    return build_sampler(name).propose(request_for(**changes))


def incumbent(request):
    """The most accurate known subnet within the limit."""
    known = request.known
    accuracy = np.where(known.latency_ms <= request.limit_ms, known.accuracy, 0)
    return SPACE.archs(known.genes)[int(accuracy.argmax())]


@pytest.mark.parametrize("name", sampler_names())
class TestEverySampler:
    def test_proposes_as_many_different_subnets_as_were_asked_for(self, name):
        proposals = proposals_of(name)
        assert len({proposal.arch.arch_id for proposal in proposals}) == len(proposals) == 3

    def test_says_what_is_believed_of_them(self, name):
        for proposal in proposals_of(name):
            genes = SPACE.genes([proposal.arch])
            assert proposal.latency_ms == pytest.approx(true_latency_ms(SPACE, genes)[0])
            assert proposal.mean == pytest.approx(estimates().accuracy(genes)[0][0])

    def test_proposes_nothing_that_is_taken(self, name):
        taken = frozenset(proposal.arch.arch_id for proposal in proposals_of(name))
        again = proposals_of(name, taken=taken)
        assert again
        assert taken.isdisjoint({proposal.arch.arch_id for proposal in again})

    def test_answers_the_same_request_alike(self, name):
        assert build_sampler(name).propose(request_for()) == proposals_of(name)

    def test_proposes_what_may_meet_the_limit(self, name):
        proposals = proposals_of(name)
        assert min(proposal.latency_ms for proposal in proposals) <= LIMIT_MS


OPTUNAS = sorted(set(sampler_names()) - {"ours"})


@pytest.mark.parametrize("name", OPTUNAS)
class TestSamplersOfOptuna:
    def test_the_best_known_subnet_is_verified_first(self, name):
        first, *others = proposals_of(name)
        assert (first.arch, first.role) == (incumbent(request_for()), "exploit")
        assert {proposal.role for proposal in others} == {"sample"}

    def test_the_fastest_subnet_is_proposed_where_no_known_one_is_fast_enough(self, name):
        assert request_for(limit_ms=0.3).known.latency_ms.min() > 0.3
        assert proposals_of(name, limit_ms=0.3)[0].arch == SPACE.smallest

    def test_another_seed_gives_other_subnets(self, name):
        first, second = (
            {proposal.arch.arch_id for proposal in proposals_of(name, seed=seed)} for seed in (0, 1)
        )
        assert first != second


@pytest.mark.parametrize("name", ["nsga2", "tpe"])
def test_samplers_learn_from_what_is_known(name):
    def accuracy_of(sampler):
        archs = [p.arch for p in proposals_of(sampler, count=12) if p.role == "sample"]
        genes = SPACE.genes(archs)
        return true_accuracy(SPACE, genes)[true_latency_ms(SPACE, genes) <= LIMIT_MS].mean()

    assert accuracy_of(name) > accuracy_of("random")


def test_an_unknown_sampler_names_the_known_ones():
    with pytest.raises(ParamsError, match="nsga2"):
        build_sampler("nsga")
