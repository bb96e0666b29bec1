"""Stage ``import_weights``: the weights that training starts from, as a supernet of the space."""

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import ClassNames, read_document
from ofa_pipeline.initial_weights import fit_to_space, read_weights
from ofa_pipeline.stages.run import StageRun
from ofa_pipeline.supernet import save_supernet
from ofa_pipeline.weights_source import parse_source


def run(stage: StageRun) -> None:
    """Read, check and convert the weights that params.yaml names."""
    space, training = stage.params.space.build(), stage.params.training
    [(kind, text)] = training.initial_weights.items()
    path, remake = stage.layout.dataset / Layout.CLASSES, "ofa-pipeline stage prepare_dataset"
    classes = read_document(path, ClassNames, remake=remake)
    found = read_weights(
        parse_source(kind, text), root=stage.layout.root, space=space, reporter=stage.reporter
    )
    initial = fit_to_space(found, space, class_names=classes.class_names, seed=training.seed)
    with stage.writing() as writer:
        save_supernet(initial.supernet, writer.folder / Layout.SUPERNET)
        writer.summary |= {
            "sha256": found.sha256,
            "num_classes_of_weights": found.network.num_classes,
            "num_classes": initial.supernet.num_classes,
            "is_classifier_new": initial.is_classifier_new,
            "is_sorted": initial.is_sorted,
            "text": initial.text,
        }
    stage.reporter.message(f"{initial.text} (SHA-256 {found.sha256})")
