"""How far the results are to be trusted: findings in words, each by a stated rule from evidence.

The worst finding decides. A finding that nobody measured the evidence of is ``unknown`` and
decides nothing.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ofa_pipeline.report.contents import DeviceFacts, ReportContents, SubnetFacts
from ofa_pipeline.report.text import show_count, show_counted, show_ms, show_number, show_percent

Level = Literal["unknown", "good", "care", "poor"]
LEVELS: tuple[Level, ...] = ("unknown", "good", "care", "poor")
"""From the one that decides nothing to the worst."""

AGAINST_ALONE = "against training alone"
AGAIN = "measured again"
SKILL_CARE, SKILL_POOR = 0.5, 0.25
"""Shares of the way from guessing to no error that a good, and that a usable subnet has gone."""
INTERVAL_CARE, INTERVAL_POOR = 0.03, 0.10
"""Half the 95 % interval of an accuracy, from which on it is rough, and says little."""
TAU_CARE = 0.5
"""Kendall tau below which the predictor ranks badly."""
CHANCE = 0.025
"""Share of unrelated orders with so high a tau: above that, the order may be chance."""
NOISE_CARE = 0.05
"""Standard deviation over the mean of repeated latency measurements, from which on it is rough."""
PARITY_CARE = 0.999
"""Share of equal answers of network and exported file below which they are not the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One piece of evidence, and what it means."""

    about: str
    """What it is about, in a word or two."""
    level: Level
    text: str
    """What was found, with its figures."""
    rule: str
    """What decides the level."""


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level; ``good`` where nothing is known."""
    levels = [finding.level for finding in findings]
    return max(["good", *levels], key=LEVELS.index)


def judge_run(contents: ReportContents) -> tuple[Finding, ...]:
    """Judge what all subnets share: warnings, training, predictor, the comparison with others."""
    return (
        _warnings(contents),
        _first_phase(contents),
        _ranking(contents),
        _alone(contents),
    )


def judge_pick(
    subnet: SubnetFacts, device: DeviceFacts, *, budget_ms: float, chance: float | None
) -> tuple[Finding, ...]:
    """Judge what a subnet is for a budget.

    Args:
        subnet: What ships.
        device: Its device.
        budget_ms: One of its budgets.
        chance: Share of test images of the most frequent class; None where it is not known.
    """
    return (
        _accuracy(subnet, chance),
        _certainty(subnet),
        _median_call(subnet, budget_ms),
        _slow_calls(subnet, budget_ms),
        _again(subnet, device, budget_ms),
        _machine(subnet, device),
        _same_answers(subnet),
    )


def _warnings(contents: ReportContents) -> Finding:
    count = len(contents.warnings)
    return Finding(
        about="run",
        level="care" if count else "good",
        text=f"The run warns of itself: {show_counted(count, 'warning')}, listed below."
        if count
        else "No stage has warned of anything.",
        rule="Any warning asks for care.",
    )


def _first_phase(contents: ReportContents) -> Finding:
    rule = "The best subnet of a device must not be worse than that by more than the noise."
    first = contents.first_phase_top1
    if first is None:
        text = "How good the largest subnet was after the first phase was not noted."
        return Finding(about="training", level="unknown", text=text, rule=rule)
    worse = sum("accuracy_top1_first_phase" in warning.figures for warning in contents.warnings)
    best = max(subnet.accuracy_selection for subnet in contents.subnets)
    text = (
        f"On selection images the best subnet has {show_percent(best)} %; the largest had "
        f"{show_percent(first)} % after the first phase"
    )
    text += f", and {show_counted(worse, 'device')} ended below that." if worse else "."
    return Finding(about="training", level="care" if worse else "good", text=text, rule=rule)


def _ranking(contents: ReportContents) -> Finding:
    from scipy.stats import kendalltau

    facts = contents.predictor
    tau, count = facts.kendall_tau, len(facts.measured)
    probability = float(kendalltau(facts.measured, facts.predicted, alternative="greater").pvalue)
    scale = "1 is the right order, 0 is chance"
    if not math.isfinite(tau):
        level: Level = "care"
        text = f"The predictor finds no order in {show_counted(count, 'subnet')}."
    elif not probability < CHANCE:
        level = "care"
        text = (
            f"The predictor cannot be told from chance (Kendall tau {tau:.2f} on {count} subnets; "
            f"{scale}): what was not measured was chosen by lot."
        )
    elif tau < TAU_CARE:
        level = "care"
        text = f"The predictor ranks subnets badly: Kendall tau {tau:.2f} on {count} ({scale})."
    else:
        level = "good"
        text = f"The predictor ranks subnets well: Kendall tau {tau:.2f} on {count} ({scale})."
    rule = (
        f"Good from {TAU_CARE:g} on; chance where more than {100 * CHANCE:g} % of unrelated orders "
        "have as high a tau. Picks are measured in any case."
    )
    return Finding(about="choice", level=level, text=text, rule=rule)


def _alone(contents: ReportContents) -> Finding:
    measured = contents.cost.measured
    rule = "No subnet may be less accurate than that by more than two standard errors."
    if not measured:
        text = "Nobody has measured what the same architectures reach when trained alone."
        return Finding(about=AGAINST_ALONE, level="unknown", text=text, rule=rule)
    lesser = sum(not item.is_within_two_standard_errors for item in measured)
    text = (
        f"{lesser} of {show_counted(len(measured), 'subnet')} "
        f"{'is' if lesser == 1 else 'are'} measurably less accurate than the same architecture "
        "trained alone."
        if lesser
        else f"None of {show_counted(len(measured), 'subnet')} is measurably less accurate than "
        "the same architecture trained alone."
    )
    level: Level = "care" if lesser else "good"
    return Finding(about=AGAINST_ALONE, level=level, text=text, rule=rule)


def _accuracy(subnet: SubnetFacts, chance: float | None) -> Finding:
    rule = (
        "The way from the most frequent class (0 %) to no error (100 %): good from "
        f"{show_percent(SKILL_CARE, 0)} % on, not usable below {show_percent(SKILL_POOR, 0)} %, or "
        "where the interval reaches down to chance."
    )
    right = f"{show_percent(subnet.accuracy_top1)} % of the test images are right"
    if chance is None:
        return Finding(about="accuracy", level="unknown", text=f"{right}.", rule=rule)
    if chance >= 1.0:
        text = f"{right}, but all are of one class: that says nothing."
        return Finding(about="accuracy", level="poor", text=text, rule=rule)
    skill = (subnet.accuracy_top1 - chance) / (1 - chance)
    guess = f"always answering the most frequent class gives {show_percent(chance)} %"
    if subnet.accuracy_interval.low <= chance:
        level: Level = "poor"
        text = f"It cannot be told from guessing: {right}, {guess}."
    elif skill < SKILL_CARE:
        level = "poor" if skill < SKILL_POOR else "care"
        text = (
            f"It is {'close to guessing' if level == 'poor' else 'often wrong'}: {right}, {guess}; "
            f"that is {show_percent(skill, 0)} % of the way to no error."
        )
    else:
        level = "good"
        text = f"{right[0].upper()}{right[1:]}; {guess}."
    return Finding(about="accuracy", level=level, text=text, rule=rule)


def _certainty(subnet: SubnetFacts) -> Finding:
    interval = subnet.accuracy_interval
    half = (interval.high - interval.low) / 2
    level: Level = "good"
    if half > INTERVAL_CARE:
        level = "poor" if half > INTERVAL_POOR else "care"
    few = {"good": "", "care": "Few test images: t", "poor": "Far too few test images: t"}[level]
    text = (
        f"{few or 'T'}he accuracy is known to \N{PLUS-MINUS SIGN} {show_percent(half, 1)} points, "
        f"from {show_counted(subnet.num_test_images, 'test image')}."
    )
    rule = (
        f"Half the 95 % interval: good up to {show_percent(INTERVAL_CARE, 0)} points, says little "
        f"above {show_percent(INTERVAL_POOR, 0)}."
    )
    return Finding(about="certainty", level=level, text=text, rule=rule)


def _median_call(subnet: SubnetFacts, budget_ms: float) -> Finding:
    share = show_percent(subnet.p50_ms / budget_ms, 0)
    text = f"The median call takes {show_ms(subnet.p50_ms)} ms, {share} % of the budget"
    verdict = subnet.verdict_of(budget_ms)
    low, high = show_ms(subnet.p50_interval.low), show_ms(subnet.p50_interval.high)
    ends: dict[str, tuple[Level, str]] = {
        "within": ("good", "."),
        "within_noise": ("care", f", but its interval reaches over it ({low} to {high} ms)."),
        "over": ("poor", ": too slow."),
    }
    level, end = ends[verdict]
    rule = "Good where the whole interval of the median is within the budget."
    return Finding(about="p50", level=level, text=text + end, rule=rule)


def _slow_calls(subnet: SubnetFacts, budget_ms: float) -> Finding:
    share = show_percent(subnet.p95_ms / budget_ms, 0)
    text = f"95 of 100 calls take at most {show_ms(subnet.p95_ms)} ms, {share} % of the budget"
    is_within = subnet.p95_ms <= budget_ms
    text += "." if is_within else ": more than one call in twenty misses it."
    rule = "Good where the 95th percentile is within the budget. Budgets bound the median."
    return Finding(about="p95", level="good" if is_within else "care", text=text, rule=rule)


def _again(subnet: SubnetFacts, device: DeviceFacts, budget_ms: float) -> Finding:
    rule = (
        "Good where the median, measured again by another process, is within the budget and the "
        "device still is what was certified."
    )
    canaries = device.again.canaries if device.again else ()
    found = next((canary for canary in canaries if canary.name == subnet.name), None)
    if device.again is None or found is None:
        text = (
            f"Nobody has measured it again: ofa-pipeline recertify {device.name} does."
            if device.location is None
            else "It was not measured again: that is done of devices of this machine only."
        )
        return Finding(about=AGAIN, level="unknown", text=text, rule=rule)
    share = show_percent(found.measured_ms / budget_ms, 0)
    text = (
        f"Measured again on {device.again.measured_at:%Y-%m-%d}, the median call takes "
        f"{show_ms(found.measured_ms)} ms ({100 * found.change:+.1f} %), {share} % of the budget"
    )
    is_over = found.measured_ms > budget_ms
    level: Level = "good"
    if is_over or device.again.has_moved or found.is_contended:
        level = "poor" if is_over and not found.is_contended else "care"
    text += ": too slow." if is_over else "."
    text += " The machine was never quiet meanwhile." if found.is_contended else ""
    text += " The device is another one than was certified." if device.again.has_moved else ""
    return Finding(about=AGAIN, level=level, text=text, rule=rule)


def _machine(subnet: SubnetFacts, device: DeviceFacts) -> Finding:
    noise = device.latency.noise_cv
    spread = (
        f"repeated measurements of a subnet differ by {show_percent(noise, 1)} %"
        if math.isfinite(noise)
        else "how far repeated measurements differ is not known"
    )
    timed = f"{show_counted(subnet.num_runs, 'call')} were timed."
    if subnet.is_contended:
        level: Level = "care"
        text = f"The machine was never quiet while it was measured; {spread}. {timed}"
    elif not noise <= NOISE_CARE:
        level = "care"
        text = f"The machine is noisy: {spread}. {timed}"
    else:
        level = "good"
        text = f"The machine was quiet: {spread}. {timed}"
    rule = f"Good where it was quiet and the noise is at most {show_percent(NOISE_CARE, 0)} %."
    return Finding(about="machine", level=level, text=text, rule=rule)


def _same_answers(subnet: SubnetFacts) -> Finding:
    share = subnet.parity_top1_agreement
    level: Level = "good" if share >= PARITY_CARE else "care"
    text = (
        f"The file answers as the trained network on {show_number(100 * share, 4)} % of "
        f"{show_count(subnet.num_test_images)} test images."
    )
    rule = f"Good from {show_number(100 * PARITY_CARE, 4)} % on."
    return Finding(about="file", level=level, text=text, rule=rule)
