"""Stage ``import_weights``: the weights that training starts from, as a supernet of the space."""

from ofa_pipeline.artifacts import Layout, write_artifact
from ofa_pipeline.documents import ClassNames, read_document
from ofa_pipeline.initial_weights import fit_to_space, read_weights
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.supernet import save_supernet

NAME = "import_weights"


def run(context: StageContext) -> None:
    """Read, check and convert the weights that params.yaml names."""
    layout, params = context.layout, context.params
    source = params.training.weights_source
    assert source is not None  # or the stage has no item
    inputs = stage_inputs(find_stage(NAME), context)
    space = params.space.build()
    found = read_weights(source, root=layout.root, space=space, reporter=context.reporter)
    path = layout.dataset / Layout.CLASSES
    classes = read_document(path, ClassNames, remake="ofa-pipeline stage prepare_dataset")
    initial = fit_to_space(found, space, class_names=classes.class_names, seed=params.training.seed)
    with write_artifact(layout.initial, **inputs) as writer:
        save_supernet(initial.supernet, writer.folder / layout.supernet_in("initial").name)
        writer.summary |= {
            "sha256": found.sha256,
            "num_classes_of_weights": found.network.num_classes,
            "num_classes": initial.supernet.num_classes,
            "is_classifier_new": initial.is_classifier_new,
            "is_sorted": initial.is_sorted,
            "text": initial.text,
        }
    context.reporter.message(f"{initial.text} (SHA-256 {found.sha256})")
