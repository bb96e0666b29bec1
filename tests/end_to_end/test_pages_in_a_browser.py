"""The pages of the registry service in a real browser, on a wide screen and on a narrow one."""

import io
import socket
import threading
from base64 import b64encode
from contextlib import contextmanager

import pytest
import uvicorn
from PIL import Image

from ofa_pipeline.service import build_app
from tests.support.certified import register_certified, write_certified_bundle
from tests.support.chromium import chromium
from tests.support.registry import InMemoryRegistry, subnet_record

pytestmark = pytest.mark.timeout(600)
MODEL = "ofa-fashion-mnist-sample-mobilenet_v3_small_images-cpu"
DATASET = "fashion-mnist-sample"
GROUP = f"/browse?dataset={DATASET}&device=cpu"
PAGES = {
    "what is registered": "/",
    "a dataset and a device": GROUP,
    "the best, with the price of the budget": f"{GROUP}&max_latency_ms=0.12&quantile=p95",
    "nothing so fast": f"{GROUP}&max_latency_ms=0.001",
    "a version with its certificate": f"/models/{MODEL}/1",
    "a version without one": f"/models/{MODEL}/2",
    "the interface": "/docs",
    "what was refused": "/browse?device=gpu",
    "a name that nobody has": f"/browse?device={'x' * 90}",
}


@contextmanager
def served(registry):
    """Serve a registry from a thread; gives the address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(build_app(registry), log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a service with three subnets; the first has files that were certified."""
    registry = InMemoryRegistry()
    bundle = write_certified_bundle(tmp_path_factory.mktemp("bundle") / "bundle", p50_ms=0.0561)
    named = {"model_name": MODEL, "dataset": DATASET}
    register_certified(registry, bundle, p50_ms=0.0561, accuracy=0.85, **named)
    for accuracy, latency_ms in [(0.8806, 0.09649), (0.8933, 0.15749)]:
        record = subnet_record(accuracy=accuracy, latency_ms=latency_ms, **named)
        registry.register(record, bundle)
    with served(registry) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.mark.parametrize("width_px", [1280, 390])
@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_page_fits_the_screen(page, address, path, width_px):
    page.open(address + path, width_px=width_px)
    assert page.run("document.querySelector('h1').textContent.trim()")
    assert page.run("innerWidth") == width_px  # a narrow screen shows more where a page is wider
    assert page.run("document.documentElement.scrollWidth") <= width_px
    hidden = "[...document.querySelectorAll('.wide')].map(box => box.scrollWidth - box.clientWidth)"
    assert not any(page.run(hidden)), "a table is cut off"


def test_button_finds_the_best(page, address):
    page.open(address + GROUP, width_px=390)
    page.run("document.querySelector('[name=max_latency_ms]').value = '0.12'")
    page.run("document.querySelector('.ask button').click()")
    said = page.wait_for("document.querySelector('.box.good')?.innerText")
    assert "88.06 % top-1" in said
    assert "1.27 points more" in said


def give(page, data, *, way):
    """Give the page of a version a file, as somebody does."""
    page.run(f"""{{
        const bytes = Uint8Array.from(atob("{b64encode(data).decode()}"), c => c.charCodeAt(0));
        const moved = new DataTransfer();
        moved.items.add(new File([bytes], "a.png", {{type: "image/png"}}));
        const place = document.getElementById("try");
        if ("{way}" === "drop") {{
            for (const kind of ["dragenter", "dragover"]) {{
                const event = new DragEvent(kind, {{dataTransfer: moved, cancelable: true}});
                place.dispatchEvent(event);
                // A browser drops a file only where somebody takes it; else it opens the file.
                if (!event.defaultPrevented) throw new Error(kind + " is not taken");
            }}
            if (!place.classList.contains("over-it")) throw new Error("it does not show");
            place.dispatchEvent(new DragEvent("drop", {{dataTransfer: moved, cancelable: true}}));
        }} else {{
            const choose = place.querySelector("input");
            choose.files = moved.files;
            choose.dispatchEvent(new Event("change"));
        }}
    }}""")


def try_it(page, data, *, way):
    """Give the page of a version a file; returns what it says of it."""
    give(page, data, way=way)
    return page.wait_for("""(() => {
        const said = document.querySelector("#try [role=status]").textContent;
        return said === "asking ..." ? "" : said;
    })()""")


def png():
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (250, 10, 10)).save(file, format="PNG")
    return file.getvalue()


TABLE = "document.querySelector('#try table')"


@pytest.mark.parametrize("way", ["drop", "choose"])
def test_image_is_classified_where_it_is_given(page, address, way):
    page.open(f"{address}/models/{MODEL}/1", width_px=390)
    assert "ms on the machine of this service (not certified)" in try_it(page, png(), way=way)
    assert page.run(f"{TABLE}.tBodies[0].rows[0].cells[0].textContent") == "red"
    assert not page.run(f"{TABLE}.hidden")
    assert not page.run("document.getElementById('try').classList.contains('over-it')")
    page.wait_for("!document.querySelector('#try img').hidden")
    assert page.run("document.querySelector('#try img').naturalWidth") == 20
    assert page.run("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("way", ["drop", "choose"])
def test_file_that_is_no_image_is_refused_with_the_reason_and_another_can_be_tried(
    page, address, way
):
    page.open(f"{address}/models/{MODEL}/1", width_px=1280)
    try_it(page, png(), way=way)
    for data, told in [
        (png()[:60], "image file is truncated"),
        (b"no image", "no known image format"),
    ]:
        assert told in try_it(page, data, way=way)
        assert page.run(f"{TABLE}.hidden")  # what was said of the one before is not said of this
    page.wait_for("document.querySelector('#try img').hidden")  # no sign of a broken picture
    try_it(page, png(), way=way)
    assert not page.run(f"{TABLE}.hidden")
    page.wait_for("!document.querySelector('#try img').hidden")


def test_answer_about_an_image_that_was_replaced_is_dropped(page, address):
    page.open(f"{address}/models/{MODEL}/1", width_px=1280)
    page.run("""{
        const ask = window.fetch;
        let count = 0;
        window.fetch = async (...words) => {
            const isFirst = ++count === 1;
            if (isFirst) await new Promise((go) => setTimeout(go, 700));
            const answer = await ask(...words);
            if (isFirst) setTimeout(() => { window.isAnswered = true; }, 300);
            return answer;
        };
    }""")
    give(page, png(), way="drop")
    said = try_it(page, b"no image", way="drop")
    page.wait_for("window.isAnswered")
    assert page.run("document.querySelector('#try [role=status]').textContent") == said
    assert page.run(f"{TABLE}.hidden")


def test_service_that_has_ended_is_said(page, tmp_path):
    registry = InMemoryRegistry()
    bundle = write_certified_bundle(tmp_path / "bundle")
    register_certified(registry, bundle, model_name=MODEL)
    with served(registry) as address:
        page.open(f"{address}/models/{MODEL}/1", width_px=390)
    assert try_it(page, png(), way="drop").startswith("the service does not answer")
