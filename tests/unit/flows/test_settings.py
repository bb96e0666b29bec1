"""Prefect's settings are read as Prefect reads them; what it would stumble over is a sentence."""

import pytest

from flows.environment import set_up_prefect
from flows.settings import PrefectSettingsError, read_settings
from tests.support.prefect import api_urls_of_prefect

PROFILES = """
active = "work"
[profiles.work]
PREFECT_API_URL = "http://server/api"
[profiles.other]
PREFECT_API_URL = "http://other/api"
[profiles.plain]
PREFECT_LOGGING_LEVEL = "DEBUG"
"""

# Files of the current folder, profiles.toml in PREFECT_HOME (None: no such home), variables.
CASES = {
    "nothing": ({}, None, {}),
    "variable": ({}, None, {"PREFECT_API_URL": "http://env/api"}),
    "variable in lower case": ({}, None, {"prefect_api_url": "http://env/api"}),
    "empty variable": ({}, PROFILES, {"PREFECT_API_URL": ""}),
    "dotenv": ({".env": "PREFECT_API_URL='http://dot/api'"}, PROFILES, {}),
    "dotenv in lower case": ({".env": "prefect_api_url=http://dot/api"}, None, {}),
    "variable before dotenv": (
        {".env": "PREFECT_API_URL=http://dot/api"},
        None,
        {"PREFECT_API_URL": "http://env/api"},
    ),
    "prefect.toml": ({"prefect.toml": '[api]\nurl = "http://toml/api"'}, PROFILES, {}),
    "prefect.toml of something else": ({"prefect.toml": '[api]\nkey = "k"'}, PROFILES, {}),
    "pyproject": ({"pyproject.toml": '[tool.prefect.api]\nurl = "http://py/api"'}, PROFILES, {}),
    "pyproject of others": ({"pyproject.toml": '[project]\nname = "x"'}, PROFILES, {}),
    "prefect.toml before pyproject": (
        {
            "prefect.toml": '[api]\nurl = "http://toml/api"',
            "pyproject.toml": '[tool.prefect.api]\nurl = "http://py/api"',
        },
        None,
        {},
    ),
    "active profile": ({}, PROFILES, {}),
    "active profile without address": ({}, PROFILES.replace('= "work"', '= "plain"', 1), {}),
    "named profile": ({}, PROFILES, {"PREFECT_PROFILE": "other"}),
    "named profile without address": ({}, PROFILES, {"PREFECT_PROFILE": "plain"}),
    "no active profile": ({}, PROFILES.replace('active = "work"', ""), {}),
    "empty active profile": ({}, PROFILES.replace('= "work"', '= ""', 1), {}),
    "empty file": ({}, "", {}),
    "default profile by name": ({}, PROFILES, {"PREFECT_PROFILE": "local"}),
    "default profile without a file": ({}, None, {"PREFECT_PROFILE": "local"}),
    "profiles elsewhere": (
        {"mine.toml": PROFILES},
        "",
        {"PREFECT_PROFILES_PATH": "mine.toml", "PREFECT_PROFILE": "other"},
    ),
    "profiles elsewhere by dotenv": (
        {"mine.toml": PROFILES, ".env": "PREFECT_PROFILES_PATH=mine.toml"},
        "",
        {},
    ),
    "profiles elsewhere by prefect.toml": (
        {"mine.toml": PROFILES, "prefect.toml": 'profiles_path = "mine.toml"'},
        "",
        {},
    ),
    "address only in a comment": ({}, '# PREFECT_API_URL = "http://x"\nactive = "ephemeral"', {}),
}


def world(folder, case):
    """Write the files of a case; return its variables."""
    files, profiles, variables = case
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    if profiles is None:
        return dict(variables)
    home = folder / "prefect"
    home.mkdir()
    (home / "profiles.toml").write_text(profiles)
    return {"PREFECT_HOME": str(home), **variables}


@pytest.mark.slow  # Prefect is imported in another process
def test_address_of_the_server_is_the_one_that_prefect_finds(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    worlds = {name: world(tmp_path / name, case) for name, case in CASES.items()}
    asked = [(tmp_path / name, variables) for name, variables in worlds.items()]
    expected = dict(zip(CASES, api_urls_of_prefect(asked, home=tmp_path / "home"), strict=True))
    found = {}
    for name, variables in worlds.items():
        monkeypatch.chdir(tmp_path / name)
        server = read_settings(variables).find("PREFECT_API_URL")
        found[name] = None if server is None else server.value
    assert found == expected
    assert len(set(found.values())) > 6


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder and an empty home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_source_of_the_address_is_named(folder):
    variables = world(folder / "case", CASES["named profile"])
    found = read_settings(variables).find("PREFECT_API_URL")
    assert found.where == f"profile 'other' of {folder}/case/prefect/profiles.toml"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prefect/profiles.toml", "active ["),
        ("prefect/profiles.toml", b"\xff\xfe"),
        ("prefect.toml", "= 1"),
        ("pyproject.toml", "["),
    ],
)
def test_file_that_is_no_toml_is_named(folder, name, text):
    (folder / "prefect").mkdir()
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(content)
    with pytest.raises(PrefectSettingsError, match=name):
        read_settings({"PREFECT_HOME": str(folder / "prefect")})


@pytest.mark.parametrize("profiles", [PROFILES, None])
def test_named_profile_that_is_missing_is_told_with_the_known_ones(folder, profiles):
    variables = world(folder / "case", ({}, profiles, {"PREFECT_PROFILE": "locl"}))
    with pytest.raises(
        PrefectSettingsError, match=r"PREFECT_PROFILE.*'locl'\. Did you mean 'local'"
    ):
        read_settings(variables)


def test_active_profile_that_is_missing_is_told(folder):
    variables = world(folder / "case", ({}, 'active = "gone"', {}))
    with pytest.raises(PrefectSettingsError, match=r"active of .*profiles\.toml.*'gone'"):
        read_settings(variables)


def test_home_that_may_not_be_entered_has_no_profiles(folder, monkeypatch):
    def refuse(self, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.exists", refuse)
    assert read_settings({}).find("PREFECT_API_URL") is None


def environment(folder, case):
    values = {"HOME": str(folder / "home"), **world(folder / "case", case)}
    (folder / "home").mkdir()
    return values


def test_without_a_server_records_lie_in_the_workspace_and_the_profile_counts(folder):
    values = environment(folder, ({}, None, {}))
    profiles = folder / "profiles.toml"
    profiles.write_text(PROFILES.replace('= "work"', '= "plain"', 1))
    values["PREFECT_PROFILES_PATH"] = str(profiles)
    assert set_up_prefect(folder / "workspace", values) is None
    assert values["PREFECT_HOME"] == str(folder / "workspace" / ".prefect")
    assert values["PREFECT_PROFILES_PATH"] == str(profiles)


def test_home_of_prefect_that_the_user_chose_stays(folder):
    values = environment(folder, CASES["active profile"])
    found = set_up_prefect(folder / "workspace", values)
    assert found.value == "http://server/api"
    assert values["PREFECT_HOME"] == str(folder / "case" / "prefect")


def test_empty_address_means_a_server_of_the_workspace(folder):
    values = environment(folder, CASES["empty variable"])
    assert set_up_prefect(folder / "workspace", values) is None
