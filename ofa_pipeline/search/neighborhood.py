"""What lies one gene away from an architecture."""

import numpy as np

from ofa_pipeline.arch import Genes, SearchSpace


def one_gene_changes(space: SearchSpace, genes: Genes) -> Genes:
    """Return every architecture one gene away from a row; may repeat, and repeat the rows.

    A change that only concerns skipped blocks gives the row itself. Whoever remembers what was
    evaluated drops these at less cost than sorting them out here.

    Args:
        space: The space of the genes.
        genes: Shape (architectures, genes).

    Returns:
        Shape (architectures * sum of choices, genes), canonical, architecture by architecture.
    """
    gene = np.repeat(np.arange(space.num_genes), space.num_choices)
    choice = np.concatenate([np.arange(count) for count in space.num_choices]).astype(np.int8)
    changed = np.repeat(genes[:, None, :], len(gene), axis=1)
    changed[:, np.arange(len(gene)), gene] = choice
    return space.canonicalize(changed.reshape(-1, space.num_genes))
