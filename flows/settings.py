"""What the user has told Prefect, read as Prefect reads it, before Prefect is imported.

Prefect settles its settings while it is imported, and they decide where it keeps its records, so
it cannot be asked first. A test compares what is read here with what Prefect itself reads.

Source:
    Prefect 3.8, ``prefect/settings/sources.py`` and ``base.py``: environment, ``.env``,
    ``prefect.toml`` and ``pyproject.toml`` of the current folder, active profile, in this order.
"""

import importlib.util
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_pipeline.errors import OfaPipelineError, suggest
from ofa_pipeline.user import expand_home


class PrefectSettingsError(OfaPipelineError):
    """A file with settings of Prefect cannot be read, or names a profile that is not there."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of a setting and where it stands."""

    value: str
    where: str


@dataclass(frozen=True, slots=True)
class PrefectSettings:
    """The sources of settings, with the strongest first."""

    sources: tuple[tuple[str, Mapping[str, Any]], ...]
    """Where it stands and what stands there, by the names of environment variables."""
    profiles_path: Path
    """The file that profiles are read from, whether or not it is there."""
    has_profiles: bool
    """Whether the user has such a file, and so a home of Prefect."""

    def find(self, name: str) -> Setting | None:
        """Return what counts of a setting; None where nobody has set it.

        Args:
            name: Name of its environment variable, in capitals.
        """
        for where, values in self.sources:
            if values.get(name) is not None:
                return Setting(str(values[name]), where)
        return None


def read_settings(environment: Mapping[str, str], *, folder: Path | None = None) -> PrefectSettings:
    """Read what the user has told Prefect about its server and its home.

    Args:
        environment: Environment of the process.
        folder: Where ``.env`` and the files of the project are looked for; by default the
            current one, as for Prefect.

    Raises:
        PrefectSettingsError: If a file cannot be read, or the active profile is not there.
    """
    files = list(_files(folder or Path()))
    own = {name.upper(): value for name, value in environment.items()}
    path = _profiles_path(environment, files)
    profile, values = _active_profile(path, environment.get("PREFECT_PROFILE", ""))
    profile_source = (f"profile {profile!r} of {path}", values)
    has_profiles = path != _default_profiles() and _exists(path)
    return PrefectSettings((("the environment", own), *files, profile_source), path, has_profiles)


def import_prefect() -> None:
    """Import Prefect, which reads all its settings then.

    Raises:
        PrefectSettingsError: If it does not understand them.
    """
    try:
        import prefect.context  # noqa: F401 - reads them
    except (ValueError, TypeError, AttributeError) as error:
        raise PrefectSettingsError(
            "Prefect must understand its settings, from variables called PREFECT_..., .env, "
            f"prefect.toml, pyproject.toml or the active profile, but says: {error}"
        ) from error


def _files(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the files of a folder, by the names of environment variables."""
    yield str(folder / ".env"), _read_dotenv(folder / ".env")
    for name, keys in (("prefect.toml", ()), ("pyproject.toml", ("tool", "prefect"))):
        values = _read_toml(folder / name)
        for key in keys:
            values = _table(values.get(key))
        yield (
            str(folder / name),
            {
                "PREFECT_API_URL": _table(values.get("api")).get("url"),
                "PREFECT_HOME": values.get("home"),
                "PREFECT_PROFILES_PATH": values.get("profiles_path"),
            },
        )


def _profiles_path(environment: Mapping[str, str], files: list[tuple[str, dict[str, Any]]]) -> Path:
    """Return the file of profiles; Prefect's own with its default ones, where the user has none."""
    for values in ({**environment}, *(values for _, values in files)):
        if values.get("PREFECT_PROFILES_PATH"):
            return Path(values["PREFECT_PROFILES_PATH"])
    if environment.get("PREFECT_HOME"):
        return Path(environment["PREFECT_HOME"]) / "profiles.toml"
    path = expand_home("~/.prefect/profiles.toml")
    return path if _exists(path) else _default_profiles()


def _default_profiles() -> Path:
    found = importlib.util.find_spec("prefect")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "settings" / "profiles.toml"


def _active_profile(path: Path, named: str) -> tuple[str, dict[str, Any]]:
    """Return the active profile's name and settings; nothing where that is a default one."""
    default_profiles = _table(_read_toml(_default_profiles()).get("profiles"))
    if not _exists(path):
        _check_profile(named, [*default_profiles], where="PREFECT_PROFILE")
        return "", {}
    content = _read_toml(path)
    profiles = _table(content.get("profiles"))
    name = named or str(content.get("active") or "")
    where = "PREFECT_PROFILE" if named else f"active of {path}"
    _check_profile(name, [*profiles, *default_profiles], where=where)
    return name, _table(profiles.get(name))


def _check_profile(name: str, known: list[str], *, where: str) -> None:
    if name and name not in known:
        raise PrefectSettingsError(
            f"{where} must name a profile of Prefect, but there is no {name!r}."
            f"{suggest(name, known)} See them with: prefect profile ls"
        )


def _read_toml(path: Path) -> dict[str, Any]:
    text = _read(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PrefectSettingsError(
            f"{path} must be TOML, because Prefect reads its settings there, but is not: {error}. "
            "Mend that line, or move the file away."
        ) from error


def _read_dotenv(path: Path) -> dict[str, Any]:
    from io import StringIO

    from dotenv import dotenv_values

    values = dotenv_values(stream=StringIO(_read(path)))
    return {name.upper(): value for name, value in values.items()}


def _read(path: Path) -> str:
    """Return the text of a file, nothing where it is not there."""
    if not _exists(path) or not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PrefectSettingsError(
            f"{path} must be readable, because Prefect reads its settings there, but is not: "
            f"{error}. Change its permissions or its encoding, or move it away."
        ) from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # in a folder that may not be entered


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
