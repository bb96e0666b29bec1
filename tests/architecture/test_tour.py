"""The notebook as it is kept: with the results of one run, small, of no machine in particular.

That it runs is tested in tests/end_to_end/test_pipeline.py.
"""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "examples" / "tour.ipynb"
MAX_BYTES = 120_000


@pytest.fixture(scope="module")
def cells():
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


def test_results_are_of_one_run_from_top_to_bottom(cells):
    counts = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_results_are_there_and_no_errors(cells):
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert {output.output_type for output in outputs} == {
        "stream",
        "display_data",
        "execute_result",
    }
    assert [output for output in outputs if output.get("name") == "stderr"] == []


def test_file_is_small_and_names_no_machine():
    assert TOUR.stat().st_size < MAX_BYTES
    assert re.findall(r"/(?:home|root|tmp|work)/", TOUR.read_text()) == []


def test_links_lead_to_files(cells):
    links = re.findall(
        r"\]\(([^)#]+)", "".join(c.source for c in cells if c.cell_type == "markdown")
    )
    assert links
    assert [link for link in links if not (TOUR.parent / link).exists()] == []
