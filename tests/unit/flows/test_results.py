"""What a run says at its end."""

from flows.results import warnings_markdown
from flows.run import _show_warnings
from ofa_pipeline.run_warnings import RunWarning

WARNING = RunWarning(
    stage="train_supernet", item="kernel", message="It got [worse].", advice="Lower the rate."
)


def test_warnings_are_a_list_above_the_key_figures():
    text = warnings_markdown([WARNING, WARNING])
    assert text.startswith("**2 warnings: ")
    assert text.count("- **train_supernet@kernel**: It got [worse]. Lower the rate.\n") == 2
    assert warnings_markdown([]) == ""


def test_run_ends_with_its_warnings(capsys):
    _show_warnings([WARNING])
    shown = capsys.readouterr().err
    assert shown.startswith("1 warning: ")
    assert "  train_supernet@kernel: It got [worse]. Lower the rate.\n" in shown


def test_run_without_warnings_says_nothing_of_them(capsys):
    _show_warnings([])
    assert capsys.readouterr() == ("", "")
