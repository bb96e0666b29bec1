"""A sum over genes, learned as a search goes on, that tells what is worth evaluating.

Among the architectures that an evolution looks at, a gain is close to a sum over blocks, even
where it is not one over the whole space. The sum costs a tenth of a perceptron or less; what it
finds hopeless is not evaluated. Only evaluated gains decide.
"""

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace

_BATCH = 1500  # evaluated architectures that are learned at once
_FORGETTING = 0.8  # weight of what was learned before, a batch later
_PENALTY = 1e-4  # of the squared weights, times the mean diagonal of the normal equations
_MIN_LEARNED = 4  # times the number of weights, before it is trusted


class Screen:
    """Ridge regression on one-hot genes, kernel size and expand ratio of a block together."""

    def __init__(self, space: SearchSpace) -> None:
        """Begin with nothing learned."""
        self._space = space
        kernel, expand = space.columns["kernel_size"], space.columns["expand_ratio"]
        self._num_single = kernel.start
        self._ratios = space.num_choices[expand]
        pairs = 1 + space.num_choices[kernel] * self._ratios
        counts = np.concatenate([space.num_choices[: self._num_single], pairs])
        self._starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        size = int(counts.sum())
        self._normal = np.zeros((size, size))
        self._moments = np.zeros(size)
        self._weights = np.zeros(size)
        self._mean = 0.0
        self._squares = 0.0
        self._count = 0.0
        self._num_learned = 0
        self._waiting: list[tuple[IntArray, FloatArray]] = []

    @property
    def is_ready(self) -> bool:
        """Whether enough was learned, and its error is known."""
        return self._count > 0

    @property
    def error(self) -> float:
        """Root mean square of recent errors, each before its gain was learned."""
        return float(np.sqrt(self._squares / self._count)) if self._count else np.inf

    def predict(self, genes: Genes) -> FloatArray:
        """Return the estimated gains of canonical genes, shape (architectures,)."""
        return self._sums(self._places(genes))

    def learn(self, genes: Genes, gain: FloatArray) -> None:
        """Take evaluated gains into account, older ones less and less.

        Args:
            genes: Canonical, shape (architectures, genes).
            gain: Shape (architectures,).
        """
        self._waiting.append((self._places(genes), gain))
        if sum(len(gains) for _, gains in self._waiting) < _BATCH:
            return
        places = np.concatenate([one for one, _ in self._waiting])
        gains = np.concatenate([one for _, one in self._waiting])
        self._waiting.clear()
        if not self._num_learned:
            self._mean = float(gains.mean())
        elif self._num_learned >= _MIN_LEARNED * len(self._weights):
            errors = self._sums(places) - gains
            self._squares = _FORGETTING * self._squares + float((errors**2).sum())
            self._count = _FORGETTING * self._count + len(gains)
        self._fit(places, gains - self._mean)
        self._num_learned += len(gains)

    def _fit(self, places: IntArray, targets: FloatArray) -> None:
        size = len(self._weights)
        rows = np.zeros((len(places), size), dtype=np.float32)
        rows[np.arange(len(places))[:, None], places] = 1
        self._normal = _FORGETTING * self._normal + rows.T @ rows
        moments = rows.T @ targets.astype(np.float32)
        self._moments = _FORGETTING * self._moments + moments
        penalty = _PENALTY * np.trace(self._normal) / size * np.eye(size)
        self._weights = np.linalg.solve(self._normal + penalty, self._moments)

    def _sums(self, places: IntArray) -> FloatArray:
        total: FloatArray = self._mean + self._weights[places].sum(axis=1)
        return total

    def _places(self, genes: Genes) -> IntArray:
        """Return the weight that each gene or block chooses, shape (architectures, sites)."""
        space = self._space
        kernels = genes[:, space.columns["kernel_size"]].astype(np.int64)
        pairs = kernels * self._ratios + genes[:, space.columns["expand_ratio"]] + 1
        pairs *= space.active_blocks(genes)
        sites = np.concatenate([genes[:, : self._num_single], pairs], axis=1)
        places: IntArray = sites + self._starts
        return places
