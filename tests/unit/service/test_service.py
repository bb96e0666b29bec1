"""The service: every answer with its reason, on a registry in memory."""

import hashlib
import io
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from ofa_pipeline.documents import SubnetCertificate
from ofa_pipeline.documents.answers import FrontAnswer, SubnetAnswer, SubnetPage
from ofa_pipeline.errors import ParamsError, RegistryError
from ofa_pipeline.registry import STALE_TAG
from ofa_pipeline.registry.record import DATASET_KEY
from ofa_pipeline.service import ServiceSettings, build_app, versions
from ofa_pipeline.service.versions import TriedImage
from tests.support.certified import register_certified, write_card, write_certified_bundle
from tests.support.registry import InMemoryRegistry, digest_of, subnet_record

VERSION = "/v1/models/ofa-tiny-cpu/versions/1"


@pytest.fixture
def registry(tmp_path):
    """Three subnets of one dataset; the first has files that were certified."""
    found = InMemoryRegistry()
    bundle = write_certified_bundle(tmp_path / "bundle")
    register_certified(found, bundle, accuracy=0.6, dataset="pets")
    for accuracy, latency_ms in [(0.8, 2.0), (0.9, 4.0)]:
        record = subnet_record(accuracy=accuracy, latency_ms=latency_ms, dataset="pets")
        found.register(record, bundle)
    return found


@pytest.fixture
def client(registry):
    with TestClient(build_app(registry), raise_server_exceptions=False) as found:
        yield found


def refusal(response):
    answer = response.json()
    assert set(answer) == {"kind", "message"}
    return response.status_code, answer["kind"], answer["message"]


def test_best_is_what_the_registry_answers(client, registry):
    answer = client.get("/v1/best", params={"device": "cpu", "max_latency_ms": 3})
    assert answer.status_code == 200
    found = SubnetAnswer.from_dict(answer.json())
    assert found.model_uri == registry.best(device="cpu", max_latency_ms=3).model_uri


def test_front_comparison_and_price_are_the_documents_of_the_commands(client):
    front = FrontAnswer.from_dict(client.get("/v1/front", params={"device": "cpu"}).json())
    assert [item.version for item in front.subnets] == [1, 2, 3]
    uris = [item.model_uri for item in front.subnets[:2]]
    compared = client.get("/v1/compare", params={"version": uris}).json()
    assert compared["differences"][0]["accuracy_points"] == pytest.approx(20)
    price = client.get("/v1/explain", params={"device": "cpu", "max_latency_ms": 3}).json()
    assert (price["runner_up"]["version"], price["next_better"]["version"]) == (1, 3)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/best?device=cpu&dataset=cats", "Choose another with dataset=NAME, or dataset=any;"),
        ("/v1/subnets?dataset=cats", "Choose another with dataset=NAME, or dataset=any;"),
        ("/browse?device=cpu&dataset=cats", "Choose another with dataset=NAME, or dataset=any;"),
        ("/v1/models/ofa-tiny-cpu/versions/9", "See what there is: /v1/subnets"),
        ("/v1/best?device=cpu", "several are registered: dogs, pets. Name one: dataset=NAME."),
    ],
)
def test_refusal_suggests_what_a_request_can_say(client, registry, tmp_path, path, told):
    if "dogs" in told:
        bundle = write_certified_bundle(tmp_path / "other")
        registry.register(subnet_record(dataset="dogs", lineage={DATASET_KEY: "d" * 64}), bundle)
    message = client.get(path).text
    assert told in message
    assert "--dataset" not in message


def test_list_is_paged(client):
    page = SubnetPage.from_dict(client.get("/v1/subnets", params={"limit": 2, "offset": 1}).json())
    assert (page.total, page.offset, [item.version for item in page.subnets]) == (3, 1, [2, 3])


@pytest.mark.parametrize(
    ("address", "status", "told"),
    [
        ("/v1/best", 422, "device"),
        ("/v1/best?device=cpu&max_latency_ms=fast", 422, "max_latency_ms"),
        ("/v1/best?device=cpu&max_latency_ms=nan", 422, "must be a number"),
        ("/v1/best?device=cpu&max_latency_ms=-1", 422, "above 0"),
        ("/v1/best?device=cpu&max_latency=1", 422, "max_latency: Extra inputs"),
        ("/v1/best?device=cpu&quantile=p99", 422, "quantile"),
        ("/v1/best?device=cpu&verdict=within", 422, "give max_latency_ms"),
        ("/v1/best?device=a%27%20OR%201", 422, "must be a name"),
        ("/v1/best?device=gpu", 404, "Did you mean 'cpu'?"),
        ("/v1/best?device=cpu&dataset=cars", 404, "pets"),
        ("/v1/best?device=cpu&max_latency_ms=0.1", 404, "the fastest of 3 takes 1 ms"),
        ("/v1/compare?version=models:/x/1", 422, "version"),
        ("/v1/compare?version=models:/x/1&version=models:/x/2", 404, "no models:/x/1"),
        ("/v1/subnets?limit=1000000000", 422, "limit"),
        ("/v1/subnets?offset=-1", 422, "offset"),
        ("/v1/subnets?device=gpu", 404, "Did you mean 'cpu'?"),
        ("/v1/subnets?dataset=cars", 404, "pets"),
        ("/v1/best?device=cpu&max_latency_ms=1&max_latency_ms=9", 422, "once, got it 2 times"),
        (f"/v1/best?device=cpu&dataset={'x' * 300}", 404, "..."),
        (f"/v1/best?device={'x' * 10_000}", 422, "at most 300"),
        (f"/v1/models/{'x' * 10_000}/versions/1", 422, "at most 300"),
        (f"/{'x' * 10_000}", 404, "nothing is at"),
        ("/v1/models/ofa-tiny-cpu/versions/9", 404, "Did you mean"),
        ("/v1/models/it's%20%22mine%22/versions/1", 404, "no models:/it's"),
        (f"{VERSION}/files/..%2Fcard.json", 404, "nothing is at"),
        (f"{VERSION}/files/secret", 404, "no file 'secret'"),
        ("/v1/compare?version=models:/x/1&version=models:/x/1", 422, "got one twice"),
        (f"{VERSION}?full=1", 422, "takes no parameters, got 'full'"),
        (f"{VERSION}/certificate?valid_days=3", 422, "takes no parameters, got 'valid_days'"),
        (f"{VERSION}/files/card.json?{'x' * 10_000}=1", 422, "takes no parameters"),
        (f"{VERSION}/try", 405, "POST does"),
    ],
)
def test_bad_query_has_a_status_and_a_reason(client, address, status, told):
    found = refusal(client.get(address))
    assert found[0] == status
    assert told in found[2]
    assert len(found[2]) < 600


def test_certificate_comes_with_verified_files_only(client, registry):
    found = SubnetCertificate.from_dict(client.get(f"{VERSION}/certificate").json())
    assert found.devices[0].device == "cpu"
    # The second version shares the files of the first, but was registered with another digest.
    found = client.get("/v1/models/ofa-tiny-cpu/versions/2/certificate")
    assert found.status_code == 409
    assert "registry tells 2 ms" in found.json()["message"]


def test_device_that_changes_makes_a_certificate_stale_that_was_asked_for_before(client, registry):
    assert client.get(f"{VERSION}/certificate").json()["stale"] == ""
    why = "on 2026-11-27 cpu was another device than was certified"
    registry.set_mark(registry.version("models:/ofa-tiny-cpu/1"), STALE_TAG, why)
    assert client.get(f"{VERSION}/certificate").json()["stale"] == why
    assert f"<strong>Stale.</strong> {why}" in client.get("/models/ofa-tiny-cpu/1").text


def test_bundle_of_two_models_has_a_certificate_of_each(registry, tmp_path):
    figures = {"other": 1.0, "third": 2.0}  # the card says 1 ms
    for name, p50_ms in figures.items():
        register_certified(
            registry, tmp_path / "bundle", p50_ms=p50_ms, model_name=name, dataset="pets"
        )
    with TestClient(build_app(registry)) as client:
        first = SubnetCertificate.from_dict(client.get(f"{VERSION}/certificate").json())
        registry.time += timedelta(days=1)
        second = client.get("/v1/models/other/versions/1/certificate").json()
        third = client.get("/v1/models/third/versions/1/certificate")
    assert second["source"] == "models:/other/1"
    assert SubnetCertificate.from_dict(second).issued == first.issued + timedelta(days=1)
    assert (third.status_code, "registry tells 2 ms" in third.json()["message"]) == (409, True)


def test_browser_asks_again_for_what_it_has(client):
    had = client.get("/static/service.css")
    assert had.headers["cache-control"] == "no-cache"
    again = client.get("/static/service.css", headers={"If-None-Match": had.headers["etag"]})
    assert again.status_code == 304
    assert client.get(VERSION).headers["cache-control"] == "no-cache"


def test_download_has_a_digest_and_ranges(client):
    address = f"{VERSION}/files/model.onnx"
    whole = client.get(address)
    digest = hashlib.sha256(whole.content).hexdigest()
    assert whole.headers["etag"] == f'"{digest}"'
    assert whole.headers["x-checksum-sha256"] == digest
    part = client.get(address, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, whole.content[5:10])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("bytes=99999999-", 416), ("bytes=9-0", 400), ("bytes=last", 400), ("rows=0-5", 400)],
)
def test_range_that_is_none_is_refused_with_its_reason(client, asked, expected):
    answer = client.get(f"{VERSION}/files/model.onnx", headers={"Range": asked})
    status, _, message = refusal(answer)
    assert status == expected
    assert f"got '{asked}'" in message
    whole = client.get(f"{VERSION}/files/model.onnx").headers["content-length"]
    assert answer.headers.get("content-range", f"bytes */{whole}") == f"bytes */{whole}"


def test_file_that_somebody_has_is_not_sent_again(client):
    address = f"{VERSION}/files/model.onnx"
    etag = client.get(address).headers["etag"]
    for given in (etag, f'"another", W/{etag}', "*"):
        again = client.get(address, headers={"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    changed = client.get(address, headers={"If-None-Match": '"another"'})
    assert changed.status_code == 200


def image_bytes():
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (250, 10, 10)).save(file, format="PNG")
    return file.getvalue()


def test_image_can_be_tried(client):
    answer = client.post(f"{VERSION}/try", content=image_bytes()).json()
    assert answer["classes"][0]["class_name"] == "red"
    assert answer["latency_ms"] > 0
    for body, told in [(b"no image", "no known image format"), (b"", "got nothing")]:
        status, _, message = refusal(client.post(f"{VERSION}/try", content=body))
        assert status == 422
        assert told in message


def test_bundle_that_cannot_be_run_is_a_conflict_that_names_the_file(registry, tmp_path):
    bundle = write_certified_bundle(tmp_path / "damaged")
    values = json.loads((bundle / "subnet.json").read_text()) | {"std": "none"}
    (bundle / "subnet.json").write_text(json.dumps(values))
    write_card(bundle)
    register_certified(registry, bundle, model_name="ofa-other-cpu")
    with TestClient(build_app(registry), raise_server_exceptions=False) as client:
        answer = client.post("/v1/models/ofa-other-cpu/versions/1/try", content=image_bytes())
    status, kind, message = refusal(answer)
    assert (status, kind) == (409, "refused")
    assert message.startswith("models:/ofa-other-cpu/1: subnet.json: std must be three numbers")


def test_damaged_card_is_said_on_the_page(registry, tmp_path):
    bundle = write_certified_bundle(tmp_path / "damaged")
    (bundle / "card.json").write_text("{}")
    record = subnet_record(model_name="ofa-other-cpu", bundle_digest=digest_of(bundle))
    registry.register(record, bundle)
    with TestClient(build_app(registry), raise_server_exceptions=False) as client:
        page = client.get("/models/ofa-other-cpu/1")
        assert (page.status_code, "No certificate." in page.text) == (200, True)
        assert client.get("/v1/models/ofa-other-cpu/versions/1/certificate").status_code == 409


def test_certificate_that_is_dated_ahead_is_said_on_the_page(client, registry):
    registry.time = datetime.now(UTC) + timedelta(days=10)
    page = client.get("/models/ofa-tiny-cpu/1").text
    assert "Whether it has expired cannot be told." in page
    assert client.get(f"{VERSION}/certificate").json()["is_dated_ahead"]


def test_nothing_can_be_written(client):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = client.request(method, "/v1/best?device=cpu")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        assert "only reads" in answer.json()["message"]


def test_pages_show_what_the_answers_say_and_load_nothing_from_elsewhere(client):
    pages = {
        "/": "pets",
        "/browse?device=cpu&dataset=pets&max_latency_ms=3": "10.00 points more for 2 ms more",
        "/browse?device=cpu&dataset=pets&max_latency_ms=0.1": "the fastest of 3",
        "/models/ofa-tiny-cpu/1": "within, with 95 % confidence",
        "/models/ofa-tiny-cpu/2": "No certificate.",
        "/docs": "max_latency_ms",
    }
    for address, text in pages.items():
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert text in answer.text, address
        assert "//" not in answer.text.replace("http://www.w3.org", "").replace("models:/", "")
        assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("address", "status", "heading"),
    [
        ("/browse?device=gpu", 404, "Not found"),
        ("/browse?device=cpu&max_latency_ms=-1", 422, "Refused"),
        ("/browse?device=cpu&max_latency_ms=1&max_latency_ms=2", 422, "Refused"),
        ("/models/other/1", 404, "Not found"),
        ("/models/other/one", 422, "Refused"),
        ("/nowhere", 404, "Not found"),
    ],
)
def test_browser_is_told_on_a_page(client, address, status, heading):
    answer = client.get(address, headers={"Accept": "text/html,*/*"})
    assert answer.status_code == status
    assert f"<h1>{heading}</h1>" in answer.text
    assert "what is registered" in answer.text.lower()


def test_program_is_told_in_json_whatever_it_accepts(client):
    answer = client.get("/v1/best?device=gpu", headers={"Accept": "text/html"})
    assert answer.json()["kind"] == "not_found"


def test_head_says_what_a_download_would_be(client):
    whole = client.get(f"{VERSION}/files/model.onnx")
    head = client.head(f"{VERSION}/files/model.onnx")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == whole.headers["etag"]
    assert head.headers["content-length"] == str(len(whole.content))


def test_head_is_answered_as_get_without_the_body(client):
    question = "device=cpu&max_latency_ms=3"
    pages = ["/", "/docs", f"/browse?{question}", "/models/ofa-tiny-cpu/1"]
    lookups = [f"/v1/best?{question}", f"/v1/explain?{question}", "/v1/front?device=cpu"]
    others = [VERSION, f"{VERSION}/certificate", "/v1/subnets", "/healthz", "/metrics"]
    for address in [*pages, *lookups, *others]:
        whole, head = client.get(address), client.head(address)
        assert (whole.status_code, head.status_code, head.content) == (200, 200, b""), address
        assert head.headers["content-type"] == whole.headers["content-type"]
    described = client.get("/openapi.json").json()["paths"].values()
    assert not any("head" in methods for methods in described)


def test_page_of_an_earlier_version_says_that_loading_was_not_measured(client):
    found = client.get("/models/ofa-tiny-cpu/1").text
    for what in ("opening the file", "first call", "peak memory"):
        assert f"<tr><th>{what}</th><td>not measured</td></tr>" in found


def test_names_are_text_on_pages(registry, tmp_path):
    registry.register(
        subnet_record(dataset="<script>x</script>", bundle_digest="1"), tmp_path / "bundle"
    )
    with TestClient(build_app(registry)) as client:
        assert "<script>x" not in client.get("/").text


def test_token_is_asked_for_everywhere_but_by_the_health_check(registry):
    with TestClient(build_app(registry, token="open-sesame")) as client:
        assert client.get("/healthz").json()["status"] == "ok"
        for address in ("/", "/v1/best?device=cpu", "/metrics", "/docs", "/static/try.js"):
            answer = client.get(address)
            assert answer.status_code == 401, address
            assert answer.headers["www-authenticate"].startswith("Basic")
        bearer = {"Authorization": "Bearer open-sesame"}
        assert client.get("/v1/best?device=cpu", headers=bearer).status_code == 200
        assert client.get("/", auth=("anyone", "open-sesame")).status_code == 200
        for wrong in ("Bearer wrong", "Basic ???", "Basic b3Blbg==", "Digest open-sesame"):
            assert client.get("/", headers={"Authorization": wrong}).status_code == 401


def test_page_of_elsewhere_cannot_read_it_by_a_name_of_its_own(registry):
    with TestClient(build_app(registry, hosts=("localhost",))) as client:
        assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 403
        assert client.get("/healthz", headers={"Host": "localhost:8100"}).status_code == 200
        for name in ("[", "[::1", ""):  # no names at all
            status, kind, _ = refusal(client.get("/healthz", headers={"Host": name}))
            assert (status, kind) == (403, "unknown_host")


def test_refusals_are_described_as_they_are(client):
    described = client.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for operation in methods.values():
            assert set(operation["responses"]) == {"200", "4XX", "503"}
            form = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert form == {"$ref": "#/components/schemas/ErrorAnswer"}
    assert set(described["components"]["schemas"]["ErrorAnswer"]["required"]) == {"kind", "message"}


def test_metrics_count_by_route_and_never_by_value(client):
    client.get(VERSION)
    client.get("/v1/models/secret-name/versions/1")
    text = client.get("/metrics").text
    route = "/v1/models/{model}/versions/{version}"
    assert f'ofa_registry_requests_total{{route="{route}",status="404"}} 1.0' in text
    assert "ofa_registry_subnets 3.0" in text
    assert "secret-name" not in text


def test_registry_that_cannot_be_read_is_said(registry):
    def gone():
        raise RegistryError("could not look up on http://user:***@host: nobody answers")

    registry.snapshot = gone
    with TestClient(build_app(registry)) as client:
        assert client.get("/v1/best?device=cpu").status_code == 503
        assert client.get("/healthz").json()["status"] == "unreadable"
        metrics = client.get("/metrics")
        assert metrics.status_code == 200
        assert "ofa_registry_up 0.0" in metrics.text
        assert 'route="/v1/best",status="503"' in metrics.text


def test_other_machines_need_a_token():
    with pytest.raises(ParamsError, match="must ask for a token"):
        ServiceSettings(host="0.0.0.0")
    assert ServiceSettings(host="0.0.0.0", token="x").known_hosts == ()
    assert "::1" in ServiceSettings(host="127.0.0.5").known_hosts


def test_what_was_downloaded_goes_with_the_service(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.rglob("card.json"))
    with TestClient(build_app(registry)) as client:
        assert client.get(f"{VERSION}/files/card.json").status_code == 200
        assert len(set(tmp_path.rglob("card.json")) - before) == 1
    assert set(tmp_path.rglob("card.json")) == before


@pytest.mark.parametrize(
    "name", ["../card.json", "..%2Fcard.json", "%2Fetc%2Fpasswd", "..%5Cx", "a%00b", "."]
)
def test_no_name_of_a_file_leads_out_of_the_bundle(client, name):
    answer = client.get(f"{VERSION}/files/{name}")
    assert answer.status_code == 404
    assert b"root:" not in answer.content


def test_token_is_in_no_log_no_page_and_no_metric(registry, caplog):
    token = "a-token-of-the-team"
    caplog.set_level("DEBUG")
    seen = []
    with TestClient(build_app(registry, token=token), raise_server_exceptions=False) as client:
        for given in (f"Bearer {token}", f"Bearer {token}x", f"Basic {token}", ""):
            for path in ("/", "/v1/best?device=cpu&max_latency_ms=1", "/metrics", "/nowhere"):
                answer = client.get(path, headers={"Authorization": given})
                seen += [answer.text, str(answer.headers)]
    assert "401" in str(client.get("/").status_code)
    assert not any(token in text for text in seen)
    assert token not in caplog.text


def test_images_are_unpacked_one_at_a_time(client, monkeypatch):
    running, most = [], []

    def tried(*_):
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        return TriedImage(model_uri="models:/m/1", classes=[], latency_ms=1.0)

    monkeypatch.setattr(versions, "_tried", tried)
    with ThreadPoolExecutor(4) as pool:
        asked = pool.map(lambda _: client.post(f"{VERSION}/try", content=b"x"), range(4))
        assert [answer.status_code for answer in asked] == [200] * 4
    assert most == [1] * 4


def test_reason_why_an_image_is_none_names_no_file_of_the_service(client):
    refused = client.post(f"{VERSION}/try", content=b"no image")
    message = "the body must be an image file: not an image: "
    assert refused.json()["message"].startswith(message)
