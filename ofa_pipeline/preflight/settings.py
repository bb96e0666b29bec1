"""Settings that are right one by one: whether they make sense together."""

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.latency import POOL_SIZE
from ofa_pipeline.launching import fewest_ranks, launch_words
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
    for text in _doubts_of_rates(params.phases):
        yield Finding("learning rates", text, "doubtful")
    last = params.final_phase
    if params.phases[last].sampling == "largest" and params.space.build().num_archs > 1:
        yield Finding(
            "subnets",
            f"phases.{last} is the last, and sampling: largest trains one subnet: the search will "
            "find others that were never trained. Write sampling: sandwich with subnets_per_step: "
            "3, or add a phase that trains all",
            "doubtful",
        )
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


def _doubts_of_rates(phases: Mapping[str, PhaseParams]) -> Iterator[str]:
    """Say where phases that share a cosine do not go through it, and warm-ups that are most."""
    ends = {name: phase.cosine[1] for name, phase in phases.items()}
    starts = {name: phase.cosine[0] for name, phase in phases.items()}
    for before, name in pairwise((None, *phases, None)):
        end, start = ends.get(before or "", 1.0), starts.get(name or "", 0.0)
        if name and start not in (0.0, end):
            ended = f"that of phases.{before} ends at {end:g}" if before else "it is the first"
            yield (
                f"the cosine of phases.{name} begins at {start:g}, but {ended}: begin it there, "
                "or at 0 for a schedule of its own"
            )
        elif before and end < 1 and start != end:
            then = f"that of phases.{name} begins at {start:g}" if name else "it is the last"
            yield (
                f"the cosine of phases.{before} ends at {end:g}, but {then}: the learning rate "
                "never comes down to zero. End it at 1, or begin the next one there"
            )
    for name, phase in phases.items():
        if phase.warmup_epochs > phase.epochs:
            yield (
                f"phases.{name} warms up for {phase.warmup_epochs} epochs and trains for "
                f"{phase.epochs} after it: lower warmup_epochs, or raise epochs"
            )


def look_at_launcher(subject: Subject) -> Iterator[Finding]:
    """Look at what starts the ranks that train, where params.yaml names it.

    Raises:
        ParamsError: If it cannot be run here, or a batch has no group for a second rank.
    """
    line, training = subject.params.compute.training.launch, subject.params.training
    if line is None:
        return
    words = launch_words(line, root=subject.root)
    groups = training.batch_size // (training.batch_norm_images or training.batch_size)
    if groups < 2:  # noqa: PLR2004 - two ranks
        raise ParamsError(
            "training.batch_size must hold a group of training.batch_norm_images for each rank of "
            f"compute.training.launch, but batches of {training.batch_size} with groups of "
            f"{training.batch_norm_images or 'the whole batch'} are one. Raise batch_size, lower "
            "batch_norm_images, or leave out compute.training.launch."
        )
    if fewest_ranks(words) > groups:
        raise ParamsError(
            f"compute.training.launch must start at most {groups} ranks, the groups of "
            f"{training.batch_norm_images} images in a batch of {training.batch_size}, but {line} "
            f"starts {fewest_ranks(words)}. Start fewer, raise training.batch_size, or lower "
            "training.batch_norm_images."
        )
    yield Finding("ranks", f"started by {line}; at most {groups}, the groups of a batch")


def look_at_compiling(subject: Subject) -> Iterator[Finding]:
    """Look at what `compute.training.compile` needs, where it is asked for.

    Raises:
        ParamsError: If it would have an effect, but Triton or a C compiler is missing.
    """
    if not subject.params.compute.training.compile:
        return
    from ofa_pipeline.training import launches_kernels

    if not launches_kernels(subject.params.space.build().resolutions_px):
        text = (
            "compute.training.compile has no effect here: it is for a CUDA device and image sizes "
            "above 64 px. On a CPU torch's own kernels are faster, and small images are recorded "
            "as one graph"
        )
        yield Finding("compiler", text, "doubtful")
        return
    from ofa_pipeline.supernet import check_compiler

    check_compiler()
    yield Finding("compiler", "batch norms are compiled with their activations")


def look_at_schedule(subject: Subject) -> Iterator[Finding]:
    """Say when the served flow runs; the params have checked it."""
    schedule = subject.params.schedule
    yield Finding("schedule", f"{schedule.cron} ({schedule.timezone})")
