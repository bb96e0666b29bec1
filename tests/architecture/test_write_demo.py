"""What README shows of the demo is written by a script, from a run."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = runpy.run_path(str(ROOT / "scripts" / "write_demo.py"))
PICK = {
    "accuracy_top1_alone": 0.86,
    "accuracy_top1_extracted": 0.84,
    "accuracy_top1_finetuned": 0.87,
    "standard_error": 0.006,
}
TOTAL = {
    "within_two_standard_errors": 2,
    "cpu_s_finetune_mean": 45.2,
    "cpu_s_alone_mean": 144.0,
    "cpu_s_supernet": 527.0,
}


@pytest.mark.parametrize("name", ["demo", "alone"])
def test_readme_has_each_section_once_and_the_rest_stays(name):
    readme = (ROOT / "README.md").read_text()
    written = DEMO["replace_section"](readme, name, "new\n")
    before, after = written.split(f"<!-- {name} -->\nnew\n<!-- /{name} -->")
    assert readme.startswith(before)
    assert readme.endswith(after)


def test_page_without_the_section_is_refused():
    with pytest.raises(SystemExit, match="<!-- demo -->"):
        DEMO["replace_section"]("text", "demo", "new")


@pytest.mark.parametrize(
    ("number", "says"),
    [(5.4, "from 6 subnets on once-for-all is cheaper"), (None, "never is cheaper")],
)
def test_break_even_is_the_first_number_that_is_cheaper(number, says):
    lines = [PICK, PICK | {"accuracy_top1_alone": 0.9}, TOTAL | {"break_even_subnets": number}]
    text = DEMO["alone_text"](lines, commit="abc1234")
    assert says in text
    assert "86.0 and 90.0 %" in text
    assert "As they shipped they have\n87.0 and 87.0 %" in text
    assert "45 CPU seconds" in text
