"""The default: of what the search by estimates found, the likely best and the possible best."""

from ofa_pipeline.search.acquisition import choose_rows
from ofa_pipeline.search.sampling import Proposal, Request, Sampler


def build() -> Sampler:
    """Return the sampler."""
    return EstimatesSampler()


class EstimatesSampler:
    """Half by the predicted accuracy, half by what it might be as far as the predictor knows."""

    def propose(self, request: Request) -> list[Proposal]:
        """Choose among the candidates; see `Sampler`."""
        mean, std = request.accuracy
        return [
            request.candidate(chosen.row, role=chosen.role)
            for chosen in choose_rows(mean, std, is_taken=request.is_taken, count=request.count)
        ]
