"""What may be shown of an address, and of what other programs say about it."""

import pytest

from ofa_pipeline.masking import MASK, mask_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "postgresql://me:secret@127.0.0.1:5432/mlflow",
            "postgresql://me:***@127.0.0.1:5432/mlflow",
        ),
        ("http://me:p%40ss@host:5000", "http://me:***@host:5000"),
        ("http://me:p@ss@host/x y", "http://me:***@host/x y"),
        ("postgresql://me:pa/ss?#w@host/db", "postgresql://me:***@host/db"),
        (
            "postgresql+psycopg2://me:secret@/db?host=/run",
            "postgresql+psycopg2://me:***@/db?host=/run",
        ),
        ("mysql://u:p@[::1]:3306/db", "mysql://u:***@[::1]:3306/db"),
        ("http://:secret@host/", "http://:***@host/"),
        ("two: http://a:b@c and http://d:e@f/g@h", "two: http://a:***@c and http://d:***@f/g@h"),
        ("me:secret@host:5000", "me:***@host:5000"),
        ("?user=a&password=secret&sslmode=on", "?user=a&password=***&sslmode=on"),
        ("?sslpassword=secret next", "?sslpassword=*** next"),
        ("Server=x;Pwd=secret;Database=y", "Server=x;Pwd=***;Database=y"),
        ("host=x password='a b' user=z", "host=x password=*** user=z"),
        ("{'password': 'a b', 'user': 'z'}", "{'password': ***, 'user': 'z'}"),
        ('{"token": "secret"}', '{"token": ***}'),
        ("password: secret", "password: ***"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
        ("AWS_SECRET_ACCESS_KEY=ab/cd+e", "AWS_SECRET_ACCESS_KEY=***"),
        (
            "?X-Amz-Credential=AK%2F1&X-Amz-Signature=ff",
            "?X-Amz-Credential=***&X-Amz-Signature=***",
        ),
        ("s3://key:sec@ret@bucket", "s3://key:***@bucket"),
    ],
)
def test_secret_is_masked_by_its_place(text, shown):
    assert mask_secrets(text, {}) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:5000/x@y",
        "http://localhost:5000/?mail=a@b",
        'password authentication failed for user "me"',
        "search@cpu-onnxruntime: done in 3 s",
        "tokenizer = 5",
        "sqlite:////tmp/a:b@c/mlflow.db",
        "",
    ],
)
def test_what_is_no_secret_stays(text):
    assert mask_secrets(text, {}) == text


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("MLFLOW_TRACKING_URI", "http://u:pw@host", "nonnumeric port: 'pw@host'"),
        ("MLFLOW_TRACKING_URI", "http://u:p%40w@host", "wrong password p@w for u"),
        ("MLFLOW_TRACKING_URI", "postgresql://h/d?password=pw", "pw is wrong"),
        ("MLFLOW_TRACKING_PASSWORD", "pw", "tried u:pw, then pw"),
        ("PREFECT_API_AUTH_STRING", "u:pw", "sent u:pw"),
    ],
)
def test_secret_of_the_environment_is_masked_wherever_it_stands(variable, value, text):
    shown = mask_secrets(text, {variable: value})
    assert MASK in shown
    assert "pw" not in shown
    assert "p@w" not in shown


def test_switches_and_files_of_the_environment_are_no_secrets():
    environment = {"TOKENIZERS_PARALLELISM": "false", "USE_TOKEN": "true", "A_TOKEN_FILE": "/run/x"}
    assert mask_secrets("it is true, not false: /run/x", environment) == (
        "it is true, not false: /run/x"
    )
