"""Schedules are checked as Prefect will check them, before it is started."""

import pytest
from prefect.client.schemas.schedules import CronSchedule

from ofa_pipeline.cron import check_cron, check_timezone


@pytest.mark.parametrize(
    "text",
    [
        "0 3 * * *",
        "*/15 * * * *",
        "*/60 * * * *",
        "0 9-17/2 * * mon-fri",
        "0 0 1,15 * ?",
        "0 0 L * *",
        "0 0 * jan-mar SUN",
        "0 0 * * mon#2",
        "0 0 * * L5",
        "0 0 * * fri-mon",
        "0 0 29 2 *",
        "0 0 30 2 mon",
        "@daily",
    ],
)
def test_schedules_that_prefect_takes_are_right(text):
    assert check_cron(text) == CronSchedule(cron=text).cron


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 25 * * *", "hour must be 0 to 23, got 25"),
        ("60 * * * *", "minute must be 0 to 59, got 60"),
        ("0 0 32 * *", "day of the month must be 1 to 31, got 32"),
        ("0 0 * 13 *", "month must be 1 to 12 or jan, .*, got 13"),
        ("0 0 * * 8", "day of the week must be 0 to 7"),
        ("0 0 * * 7", "Sunday alone is 0 or sun"),
        ("0 0 * * mon#6", "day of the week"),
        ("0 3 * *", "five columns .*; got 4 columns"),
        ("", "got 0 columns"),
        ("0 3 * * * *", "got 6 columns"),
        ("0 3 * * * * * *", "got 8 columns"),
        ("every day", "got 2 columns"),
        ("@never", "got 1 columns"),
        ("0 0,,1 * * *", "hour must be numbers, ranges"),
        ("-1 0 * * *", "minute must be numbers"),
        ("*/0 * * * *", "the step must be 1 to"),
        ("h 0 * * *", "minute must be 0 to 59, got h"),
        ("0 0 30 2 *", "day 30 is in none of the months 2: it never runs"),
        ("0 0 31 4,6 *", "never runs"),
        ("* " * 5000, "got 5000 columns"),
    ],
)
def test_schedule_that_never_runs_names_the_column(text, message):
    with pytest.raises(ValueError, match=message):
        check_cron(text)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "EST", "Etc/GMT+2", "US/Pacific"])
def test_zones_of_the_database_are_right(name):
    assert check_timezone(name) == CronSchedule(cron="@daily", timezone=name).timezone


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("PST", "Did you mean 'America/Los_Angeles'"),
        ("berlin", "Did you mean 'Europe/Berlin'"),
        ("utc", "'UTC'"),
        ("New York", "America/New_York"),
        ("Europe/Berln", "Europe/Berlin"),
        ("", "IANA"),
        ("localtime", "IANA"),
        ("../../etc/passwd", "IANA"),
        ("a\0b", "IANA"),
        ("x" * 5000, "IANA"),
    ],
)
def test_other_zones_are_refused_with_the_name_that_was_meant(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_timezone(name)
    assert len(str(caught.value)) < 500
