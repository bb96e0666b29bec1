"""Settings that are right one by one: whether they make sense together."""

from collections.abc import Collection, Iterator

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.latency import POOL_SIZE
from ofa_pipeline.launching import launch_words
from ofa_pipeline.params import PhaseParams
from ofa_pipeline.preflight.findings import Finding, Subject

_READABLE = 10**6


def look_at_space(subject: Subject) -> Iterator[Finding]:
    """Look at the space, and the counts of subnets to be measured in it.

    Raises:
        ParamsError: If more subnets are to be measured than are drawn.
    """
    params = subject.params
    num_archs = params.space.build().num_archs
    count = f"{num_archs:,}" if num_archs < _READABLE else f"{num_archs:.3g}"
    yield Finding("space", f"{params.space.family}, {count} different subnets")
    latency = params.latency.num_subnets + params.latency.num_holdout
    if latency > POOL_SIZE:
        raise ParamsError(
            f"latency.num_subnets + latency.num_holdout must be at most {POOL_SIZE}, the subnets "
            f"that are drawn to choose from, got {latency}. Lower them."
        )
    population = params.search.population
    if population > num_archs:
        yield Finding(
            "search",
            f"a population of {population} is more than the {num_archs} subnets that there are: "
            "the search is over the whole space",
            "doubtful",
        )
    yield Finding(
        "counts",
        f"accuracy of {params.accuracy.num_subnets} subnets and latency of {latency} are measured",
    )


def look_at_predictor(subject: Subject) -> Iterator[Finding]:
    """Look at the predictor, and who proposes the subnets to verify.

    Raises:
        ParamsError: If the predictor is to be tuned and has nothing to tune.
    """
    predictor, sampler = subject.params.predictor, subject.params.search.sampler
    if predictor.tune and predictor.kind != "auto":
        from ofa_pipeline.predictor import check_tunable

        check_tunable([predictor.kind])
    tuned = ", tuned" if predictor.tune else ""
    yield Finding("predictor", f"{predictor.kind}{tuned}; subnets to verify by sampler {sampler}")


def look_at_training(subject: Subject) -> Iterator[Finding]:
    """Look at phases, image sizes and threads."""
    params = subject.params
    yield Finding("training", _training_text(params.phases.values()))
    sizes, side = params.space.build().resolutions_px, params.dataset.image_size_px
    if max(sizes) > side:
        yield Finding(
            "image sizes",
            f"images are stored at {side} px and enlarged to {max(sizes)} px: raise "
            "dataset.image_size_px where the images have more, or lower space.resolutions_px",
            "doubtful",
        )
    else:
        yield Finding("image sizes", f"{min(sizes)} to {max(sizes)} px, of images of {side} px")
    cores = usable_cores()
    for name, threads in (
        ("training.threads", params.training.threads),
        ("evaluation.threads", params.evaluation.threads),
    ):
        if threads > cores:
            text = f"{threads} threads share {cores} cores and wait for each other: lower it"
            yield Finding(name, text, "doubtful")


def _training_text(phases: Collection[PhaseParams]) -> str:
    """Return how long is trained; with few images, `min_steps` makes more epochs of it."""
    epochs = sum(phase.epochs + phase.warmup_epochs for phase in phases)
    steps = sum(phase.min_steps for phase in phases)
    text = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    if steps:
        text = f"at least {text} and {steps:,} steps"
    return f"{len(phases)} phase{'' if len(phases) == 1 else 's'}, {text}"


def look_at_launcher(subject: Subject) -> Iterator[Finding]:
    """Look at what starts the ranks that train, where params.yaml names it.

    Raises:
        ParamsError: If it cannot be run here, or a batch has no group for a second rank.
    """
    line, training = subject.params.compute.training.launch, subject.params.training
    if line is None:
        return
    launch_words(line)
    groups = training.batch_size // (training.batch_norm_images or training.batch_size)
    if groups < 2:  # noqa: PLR2004 - two ranks
        raise ParamsError(
            "training.batch_size must hold a group of training.batch_norm_images for each rank of "
            f"compute.training.launch, but batches of {training.batch_size} with groups of "
            f"{training.batch_norm_images or 'the whole batch'} are one. Raise batch_size, lower "
            "batch_norm_images, or leave out compute.training.launch."
        )
    yield Finding("ranks", f"started by {line}; at most {groups}, the groups of a batch")


def look_at_schedule(subject: Subject) -> Iterator[Finding]:
    """Say when the served flow runs; the params have checked it."""
    schedule = subject.params.schedule
    yield Finding("schedule", f"{schedule.cron} ({schedule.timezone})")
