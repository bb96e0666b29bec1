"""What to deploy for each device and latency budget, why, how, and whether to trust it."""

from dataclasses import dataclass

from ofa_pipeline.documents import budget_alias
from ofa_pipeline.report.contents import (
    DeviceFacts,
    NeedlessBudget,
    PickFacts,
    ReportContents,
    SubnetFacts,
)
from ofa_pipeline.report.text import show_counted, show_number, show_percent
from ofa_pipeline.report.trust import (
    AGAIN,
    AGAINST_ALONE,
    Finding,
    Level,
    judge_pick,
    judge_run,
    worst,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The subnet for one budget of one device."""

    device: DeviceFacts
    budget_ms: float
    subnet: SubnetFacts
    why: str
    findings: tuple[Finding, ...]
    needless: NeedlessBudget | None
    """Set where a cheaper budget is as good."""
    instead: SubnetFacts | None
    """Another subnet of the device that is within the budget and more accurate on test, or as
    accurate and faster: what the alias names then."""
    advised_findings: tuple[Finding, ...]
    """About what to deploy: that other subnet, where there is one."""

    @property
    def advised(self) -> SubnetFacts:
        """What to deploy."""
        return self.instead or self.subnet

    @property
    def advised_level(self) -> Level:
        """The worst of the findings about it."""
        return worst(self.advised_findings)

    @property
    def level(self) -> Level:
        """The worst of the findings."""
        return worst(self.findings)

    @property
    def doubts(self) -> tuple[Finding, ...]:
        """What speaks against deploying it."""
        return tuple(found for found in self.advised_findings if found.level in ("care", "poor"))

    @property
    def anchor(self) -> str:
        """Name of its place on the page."""
        return f"pick-{self.device.name}-{show_number(self.budget_ms)}"

    @property
    def alias(self) -> str:
        """What the registry calls the best version within the budget."""
        return budget_alias(self.budget_ms)

    @property
    def model_uri(self) -> str:
        """What `mlflow.pyfunc.load_model` takes; empty where nothing is registered."""
        name = self.device.model_name
        return f"models:/{name}@{self.alias}" if name else ""

    @property
    def file(self) -> str:
        """The file that the device runs, relative to the workspace."""
        return f"{self.folder}/{self.subnet.shipped_file}"

    @property
    def folder(self) -> str:
        """The bundle, relative to the workspace."""
        return self.subnet.file.rpartition("/")[0]

    def advised_finding(self, about: str) -> Finding:
        """Return the finding about something of what to deploy."""
        return next(finding for finding in self.advised_findings if finding.about == about)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the page begins with."""

    decisions: tuple[Decision, ...]
    """By device, then by ascending budget."""
    findings: tuple[Finding, ...]
    """About the run as a whole."""

    @property
    def level(self) -> Level:
        """The worst of everything."""
        levels: list[Finding] = [*self.findings]
        for decision in self.decisions:
            levels += decision.advised_findings
        return worst(levels)

    @property
    def against_alone(self) -> Finding:
        """How what ships compares with the same architectures trained alone."""
        return next(finding for finding in self.findings if finding.about == AGAINST_ALONE)

    @property
    def num_poor(self) -> int:
        """Decisions that are not to be relied on."""
        return sum(decision.advised_level == "poor" for decision in self.decisions)

    @property
    def headline(self) -> str:
        """The verdict in some words."""
        if worst(self.findings) == "poor" or self.num_poor == len(self.decisions):
            return "Do not rely on these subnets."
        if self.num_poor:
            return f"Do not rely on {self.num_poor} of the {len(self.decisions)} picks."
        return "Ready to deploy." if self.level == "good" else "Ready to deploy, with care."

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """What the verdict rests on: a finding that many picks share is told once, counted."""
        shared = [finding for finding in self.findings if finding.level in ("care", "poor")]
        by_about: dict[tuple[str, Level], list[Finding]] = {}
        for decision in self.decisions:
            for finding in decision.doubts:
                by_about.setdefault((finding.about, finding.level), []).append(finding)
        counted = [
            _counted(found, of=len(self.decisions))
            for _, found in sorted(by_about.items(), key=lambda pair: pair[0][1] != "poor")
        ]
        return (*counted, *shared)


def answer(contents: ReportContents) -> Answer:
    """Return what to deploy for every device and budget, and how far to trust it."""
    return Answer(
        decisions=tuple(
            _decide(contents, device, subnet, budget_ms)
            for device in contents.devices
            for budget_ms, subnet in device.served
        ),
        findings=judge_run(contents),
    )


def _decide(
    contents: ReportContents, device: DeviceFacts, subnet: SubnetFacts, budget_ms: float
) -> Decision:
    needless = [item for item in device.needless_budgets if item.budget_ms == budget_ms]
    instead = _better(device, subnet, budget_ms)
    findings, advised = (
        judge_pick(item, device, budget_ms=budget_ms, chance=contents.chance)
        for item in (subnet, instead or subnet)
    )
    return Decision(
        device=device,
        budget_ms=budget_ms,
        subnet=subnet,
        why=_why(device, subnet, budget_ms),
        findings=findings,
        needless=needless[0] if needless else None,
        instead=instead,
        advised_findings=advised,
    )


def _better(device: DeviceFacts, subnet: SubnetFacts, budget_ms: float) -> SubnetFacts | None:
    """Return what `ofa-pipeline best` answers for the budget, if that is another subnet."""
    within = [item for item in device.subnets if item.p50_ms <= budget_ms]
    best = min(within, key=lambda item: (-item.accuracy_top1, item.p50_ms), default=subnet)
    return None if best.arch == subnet.arch else best


def _why(device: DeviceFacts, subnet: SubnetFacts, budget_ms: float) -> str:
    arch_id = subnet.arch.arch_id
    within = [point for point in device.search.verified if point.latency_ms <= budget_ms]
    picks = [pick for pick in device.search.picks if pick.budget_ms == budget_ms]
    first = picks[0] if picks else None
    if first is not None and first.arch_id != arch_id:
        return (
            f"The first choice of the search, {first.arch_id}, did not keep the budget as a file; "
            "this is the next best that does."
        )
    if first is None or not within:
        return "The search picked it."
    text = f"The most accurate of {show_counted(len(within), 'measured candidate')} within it"
    return f"{text}, {show_percent(first.accuracy_top1)} % on selection images{_ties(first)}."


def _ties(pick: PickFacts) -> str:
    if not pick.num_tied:
        return "; no other comes near"
    return f"; {show_counted(pick.num_tied, 'other')} cannot be told from it"


def _counted(found: list[Finding], *, of: int) -> Finding:
    """Return a finding of one pick, or of many with how many there are."""
    first = found[0]
    if len(found) == 1 and of == 1:
        return first
    head = f"{show_number(len(found))} of {show_counted(of, 'pick')}: {_HEADS[first.about]}."
    text = f"{head} For example: {first.text[0].lower()}{first.text[1:]}"
    return Finding(about=first.about, level=first.level, text=text, rule=first.rule)


_HEADS = {
    "accuracy": "too often wrong",
    "certainty": "known from few test images",
    "p50": "the median call is not safely within the budget",
    "p95": "more than one call in twenty takes longer than the budget",
    AGAIN: "another process did not find again what was certified",
    "machine": "measured on a machine that was busy or noisy",
    "file": "the file does not always answer as the trained network",
}
"""What a doubt about a pick says, for several of them."""
