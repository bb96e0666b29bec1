"""The schemas in the documentation are those of the models, and every document has one."""

from ofa_pipeline import documents
from ofa_pipeline.documents import answers
from scripts.write_schemas import ANSWERS, FOLDER, MODELS, schemas


def test_schemas_are_those_of_the_models():
    found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert found == schemas(), "run: python scripts/write_schemas.py"


def test_every_document_has_a_schema():
    models = [*vars(documents).values(), *vars(answers).values()]
    numbered = {
        model
        for model in models
        if isinstance(model, type)
        and issubclass(model, documents.Document)
        and "title" in model.model_config
    }
    assert numbered <= {*MODELS.values(), *ANSWERS.values()}


def test_every_schema_is_in_the_table_of_the_documentation():
    table = (FOLDER / "README.md").read_text()
    assert [name for name in schemas() if f"| [{name}]({name}) |" not in table] == []
