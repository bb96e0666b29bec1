"""Several writers: what is in flight stays, remains go, the lowest version stays."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from functools import partial

import pytest
from mlflow import MlflowClient

from ofa_pipeline.registry import Entry, MlflowRegistry, RunNotes, registration, runs
from ofa_pipeline.registry.claims import CLAIM_TAG, Patience, held_claim, look, renewed, start_of
from ofa_pipeline.registry.fields import OWNER, OWNER_TAG, VERSION_TAG, tags_of, title_of
from ofa_pipeline.registry.model_folder import write_model_folder
from ofa_pipeline.registry.protocol import WorkNotes
from ofa_pipeline.registry.server import ambient_tracking_uri
from tests.support.registry import MODEL, subnet_record, write_bundle

RECORD = subnet_record()


@pytest.fixture
def client(registry):
    return MlflowClient(registry.tracking_uri)


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "a-bundle")


@pytest.fixture
def neighbor():
    """Another process that lives."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def claim_of(neighbor):
    with held_claim() as own:
        pass
    return replace(own, id="neighbor", pid=neighbor.pid, started=start_of(neighbor.pid))


@pytest.fixture(params=[-50 * 86400, 3 * 3600], ids=["set back", "ahead"])
def true_time(request, monkeypatch):
    """The clock that others have, while that of this process is wrong."""
    really = time.time
    monkeypatch.setattr(time, "time", lambda: really() + request.param)
    return really


@pytest.fixture
def experiment(registry, client, bundle):
    """The experiment of registrations, and the registered model: somebody was here before."""
    registry.register(subnet_record(latency_ms=9.0), bundle)
    return client.get_experiment_by_name("once-for-all").experiment_id


def begin(client, experiment, claim, record=RECORD):
    """Do what a writer does before its files are there."""
    tags = tags_of(record) | {CLAIM_TAG: claim.to_tag()}
    return client.create_logged_model(experiment, name=title_of(record), tags=tags).model_id


def is_there(client, model_id):
    return any(model.model_id == model_id for model in client.search_logged_models(["1"]))


def registered_in_background(registry, bundle):
    found = []
    thread = threading.Thread(target=lambda: found.append(registry.register(RECORD, bundle)))
    thread.start()
    return thread, found


def test_what_another_process_has_in_flight_is_waited_for_until_it_dies(
    registry, client, bundle, experiment, neighbor, claim_of
):
    model_id = begin(client, experiment, claim_of)
    thread, found = registered_in_background(registry, bundle)
    thread.join(timeout=0.6)
    assert thread.is_alive()
    assert is_there(client, model_id)
    neighbor.kill()
    neighbor.communicate()
    thread.join()
    assert not is_there(client, model_id)
    assert found[0].version == 2


def test_what_another_process_completes_meanwhile_is_the_answer(
    registry, client, bundle, experiment, claim_of
):
    registered = registry.register(RECORD, bundle)
    [model] = [
        item
        for item in client.search_logged_models([experiment])
        if item.tags[VERSION_TAG] == str(registered.version)
    ]
    client.delete_logged_model_tag(model.model_id, VERSION_TAG)
    client.set_logged_model_tags(model.model_id, {CLAIM_TAG: claim_of.to_tag()})
    thread, found = registered_in_background(registry, bundle)
    thread.join(timeout=0.4)
    client.set_logged_model_tags(model.model_id, {VERSION_TAG: str(registered.version)})
    thread.join()
    assert found == [registered]


def test_owner_on_another_machine_is_dead_after_its_silence(
    registry, client, bundle, experiment, claim_of, monkeypatch
):
    monkeypatch.setattr(registration, "Patience", partial(Patience, silence_s=0.3))
    model_id = begin(client, experiment, replace(claim_of, machine="another host"))
    start = time.monotonic()
    assert registry.register(RECORD, bundle).version == 2
    assert time.monotonic() - start > 0.3
    assert not is_there(client, model_id)


def test_owner_elsewhere_that_renews_its_claim_lives_whatever_our_clock_shows(
    client, bundle, experiment, claim_of, monkeypatch, true_time
):
    registry = MlflowRegistry(client.tracking_uri)
    monkeypatch.setattr(registration, "Patience", partial(Patience, silence_s=0.5))
    owner = replace(claim_of, machine="another host")
    model_id = begin(client, experiment, owner)
    thread, found = registered_in_background(registry, bundle)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        text = json.dumps(asdict(replace(owner, renewed=true_time())))
        client.set_logged_model_tags(model_id, {CLAIM_TAG: text})
        time.sleep(0.05)
    assert thread.is_alive()
    assert is_there(client, model_id)
    thread.join()  # it has been silent
    assert not is_there(client, model_id)
    assert found[0].version == 2


def test_owner_that_renews_its_claim_at_the_last_moment_lives(
    registry, client, bundle, experiment, claim_of, monkeypatch
):
    model_id = begin(client, experiment, claim_of)
    looks = []

    def be_late(model, patience):
        looks.append(model)
        if len(looks) == 1:
            client.set_logged_model_tags(model_id, {CLAIM_TAG: claim_of.to_tag()})
            return True
        assert is_there(client, model_id)
        client.set_logged_model_tags(model_id, {CLAIM_TAG: model.tags[CLAIM_TAG]})
        return True

    monkeypatch.setattr(registration, "_is_at_an_end", be_late)
    assert registry.register(RECORD, bundle).version == 2
    assert len(looks) == 2


def test_writer_that_was_taken_for_dead_while_it_wrote_starts_over(
    registry, client, bundle, experiment, monkeypatch, caplog
):
    written = []

    def sleep_for_long(bundle_folder, folder):
        written.append(folder)
        if len(written) == 1:
            [model] = [
                item
                for item in client.search_logged_models([experiment])
                if VERSION_TAG not in item.tags
            ]
            client.delete_run(model.source_run_id)
            client.delete_logged_model(model.model_id)
        write_model_folder(bundle_folder, folder)

    monkeypatch.setattr(registration, "write_model_folder", sleep_for_long)
    assert registry.register(RECORD, bundle).version == 2
    assert len(written) == 2
    assert "starting over" in caplog.text
    assert len(client.search_runs([experiment], "attributes.status = 'RUNNING'")) == 0


def test_of_two_versions_that_met_the_lower_one_stays(
    registry, bundle, experiment, neighbor, claim_of, monkeypatch
):
    client = MlflowClient(registry.tracking_uri)
    rival = []

    def be_overtaken(bundle_folder, folder):
        if not rival:  # another writer, that looked when we had not yet begun
            rival.append(begin(client, experiment, claim_of))
            with ambient_tracking_uri(registry.tracking_uri):
                client.create_model_version(
                    MODEL, f"models:/{rival[0]}", model_id=rival[0], tags=tags_of(RECORD)
                )
            neighbor.kill()
            neighbor.communicate()
            monkeypatch.setattr(registration, "_is_at_an_end", alive_at_first)
        write_model_folder(bundle_folder, folder)

    looked = []
    really = registration._is_at_an_end

    def alive_at_first(model, patience):
        looked.append(model.model_id)
        return really(model, patience) if looked.count(model.model_id) > 1 else False

    monkeypatch.setattr(registration, "write_model_folder", be_overtaken)
    registered = registry.register(RECORD, bundle)
    # Version 2 was the rival's, 3 ours and taken back; then the rival died, and 4 is ours.
    assert registered.version == 4
    versions = client.search_model_versions(f"name='{MODEL}'")
    assert sorted(int(version.version) for version in versions) == [1, 4]


def test_claim_is_gone_when_a_subnet_is_registered(registry, client, bundle, experiment):
    registry.register(RECORD, bundle)
    for model in client.search_logged_models([experiment]):
        assert CLAIM_TAG not in model.tags


def test_run_of_a_dead_owner_is_ended_and_one_of_a_living_is_not(
    registry, client, bundle, experiment, neighbor, claim_of
):
    tags = {OWNER_TAG: OWNER, CLAIM_TAG: claim_of.to_tag()}
    run_id = client.create_run(experiment, tags=tags).info.run_id
    foreign_id = client.create_run(experiment).info.run_id
    entry = Entry(record=RECORD, bundle_folder=bundle)
    registry.register_all([entry], notes=RunNotes(name="next"))
    assert client.get_run(run_id).info.status == "RUNNING"
    neighbor.kill()
    neighbor.communicate()
    registry.register_all([entry], notes=RunNotes(name="next"))
    assert client.get_run(run_id).info.status == "RUNNING"  # not looked for again within a minute
    another = MlflowRegistry(registry.tracking_uri)
    another.register_all([entry], notes=RunNotes(name="of another process"))
    assert client.get_run(run_id).info.status == "KILLED"
    assert client.get_run(foreign_id).info.status == "RUNNING"


@pytest.mark.usefixtures("true_time")
def test_run_of_an_owner_elsewhere_is_ended_when_two_looks_find_it_silent(
    registry, client, bundle, experiment, claim_of, monkeypatch
):
    monkeypatch.setattr(runs, "look", partial(look, silence_s=2))
    entry = Entry(record=RECORD, bundle_folder=bundle)

    def begin_run(**tags):
        owner = replace(claim_of, machine="another host")
        all_tags = {OWNER_TAG: OWNER, CLAIM_TAG: owner.to_tag(), **tags}
        return client.create_run(experiment, tags=all_tags).info.run_id

    def status_after_another_look(after_s):
        now, really = time.monotonic() + after_s, time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: now)
        another = MlflowRegistry(registry.tracking_uri)  # another process
        another.register_all([entry], notes=RunNotes(name="next"))
        monkeypatch.setattr(time, "monotonic", really)
        return [client.get_run(run_id).info.status for run_id in (dead_id, living_id)]

    dead_id, living_id = begin_run(), begin_run()
    of_dead_id = begin_run(**{runs.KIND_TAG: runs.SUBNET, runs.PARENT_TAG: dead_id})
    assert status_after_another_look(0) == ["RUNNING", "RUNNING"]
    renewed_tag = replace(claim_of, machine="another host").to_tag()
    client.set_tag(living_id, CLAIM_TAG, renewed_tag)
    assert status_after_another_look(5) == ["KILLED", "RUNNING"]
    assert client.get_run(of_dead_id).info.lifecycle_stage == "deleted"
    assert status_after_another_look(10) == ["KILLED", "KILLED"]  # silent since


def test_run_of_a_work_shows_that_it_is_written(registry, client, experiment, monkeypatch, bundle):
    monkeypatch.setattr(runs, "renewed", partial(renewed, every_s=0.05))
    signs = []

    def take_long(client, run_id, files):
        for _ in range(2):
            signs.append(client.get_run(run_id).data.tags[CLAIM_TAG])
            time.sleep(0.3)

    monkeypatch.setattr(runs, "_log_files", take_long)
    work = WorkNotes(kind="train_supernet", name="phase", digest="0" * 64)
    registry.log_work(work)
    assert signs[0] != signs[1]
    assert registry.has_work(work.digest)
    [run] = client.search_runs([experiment], f"tags.`{runs.WORK_TAG}` != ''")
    assert CLAIM_TAG not in run.data.tags


def test_model_and_experiment_that_another_process_makes_first_are_used(
    registry, client, bundle, monkeypatch
):
    for name in ("create_registered_model", "create_experiment"):
        really = getattr(MlflowClient, name)

        def make_twice(self, *words, really=really, **named):
            really(self, *words, **named)
            return really(self, *words, **named)

        monkeypatch.setattr(MlflowClient, name, make_twice)
    assert registry.register(RECORD, bundle).version == 1
    assert len(client.search_registered_models()) == 1


def test_same_content_twice_in_one_registration_is_one_version(registry, client, bundle):
    entry = Entry(record=RECORD, bundle_folder=bundle)
    found = registry.register_all([entry, entry], notes=RunNotes(name="twice"))
    assert found[0] == found[1]
    assert len(client.search_model_versions(f"name='{MODEL}'")) == 1
