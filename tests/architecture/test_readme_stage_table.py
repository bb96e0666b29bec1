"""The stage table of the README says what `STAGES` says."""

from pathlib import Path

from ofa_pipeline.stages import STAGES

README = Path(__file__).parents[2] / "README.md"


def short(path):
    return f"`{path.removeprefix('artifacts/')}`"


def expected_table():
    lines = [
        "| stage | runs for each | reads | writes | what happens |",
        "| --- | --- | --- | --- | --- |",
    ]
    for stage in STAGES:
        reads = ", ".join(short(path) for path in stage.reads) or "the source"
        lines.append(
            f"| `{stage.name}` | {stage.item_kind or ''} | {reads} | {short(stage.writes)} "
            f"| {stage.summary} |"
        )
    return "\n".join(lines)


def test_stage_table_of_the_readme_equals_the_stages():
    assert expected_table() in README.read_text(), (
        f"README.md must hold this table:\n\n{expected_table()}"
    )
