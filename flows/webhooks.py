"""Webhooks of the platform's MLflow server: the key that they live by, across restarts.

MLflow encrypts the secret of a webhook. Without `KEY_VARIABLE` each of its processes makes a key
up: the next one can read no webhook that has a secret, sends none of them, and tells it in its log
alone.
"""

import base64
import binascii
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.temporary import temporary_folder

KEY_VARIABLE = "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"
KEY_FILE = "webhook.key"
_KEY_BYTES = 32
_OWNER_ALONE = 0o600
_TIMEOUT_S = 30.0
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def webhook_key(folder: Path, environment: Mapping[str, str]) -> str:
    """Return the key of a platform: that of the environment, or the folder's, made at first.

    Args:
        folder: Of the platform; must be there.
        environment: Of the process.

    Raises:
        OfaPipelineError: If the key is none.
    """
    given = environment.get(KEY_VARIABLE, "").strip()
    if given:
        return _checked(given, where=KEY_VARIABLE)
    path = folder / KEY_FILE
    if not path.exists():
        with temporary_folder("webhook-key", parent=folder) as temporary:
            made = temporary / KEY_FILE
            made.touch(mode=_OWNER_ALONE)
            made.write_bytes(base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)))
            made.rename(path)
    return _checked(path.read_text(errors="replace").strip(), where=str(path))


def unreadable_webhooks(url: str) -> str:
    """Return what to do where an MLflow server cannot read its webhooks; empty where it can.

    Args:
        url: Of the server.
    """
    try:
        with _DIRECTLY.open(f"{url}/api/2.0/mlflow/webhooks", timeout=_TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.INTERNAL_SERVER_ERROR:
            return ""
    except OSError:
        return ""
    return (
        "MLflow cannot read its webhooks, so none is sent: their secrets were encrypted with "
        f"another key than that of now. Set {KEY_VARIABLE} to the key of then and start again. "
        "Where it is lost, empty the tables webhook_events and webhooks of MLflow's database, "
        "start again, and make the webhooks anew"
    )


def _checked(key: str, *, where: str) -> str:
    """Return a key, if it is one.

    Raises:
        OfaPipelineError: If it is none.
    """
    try:
        size = len(base64.b64decode(key, altchars="-_", validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != _KEY_BYTES:
        raise OfaPipelineError(
            f"the key of webhooks must be {_KEY_BYTES} bytes in base64, that in {where} is not. "
            "Make one: openssl rand -base64 32 | tr +/ -_"
        )
    return key
