"""The browser edition within the Gradio app: its files, its link, and its camera, which sends no frame anywhere."""

import re

import gradio as gr
import httpx
import numpy as np
import pytest
from app_process import PATIENCE, ROOT
from PIL import Image

from maskhub.errors import ConfigError
from maskhub.provenance import read_provenance
from space import browser_edition

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
ISOLATION = {"cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp"}


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A stand-in for a built site."""
    (tmp_path / "index.html").write_text("the site")
    monkeypatch.setenv("MASKHUB_WEB_DIST", str(tmp_path))
    monkeypatch.delenv("MASKHUB_WEB_URL", raising=False)
    return tmp_path


def test_the_link_leads_to_the_deployed_site_or_to_the_built_one_or_is_left_out(built, monkeypatch):
    assert browser_edition.address() == "/browser/"
    monkeypatch.setenv("MASKHUB_WEB_URL", "https://someone-masks.static.hf.space")
    assert browser_edition.address() == "https://someone-masks.static.hf.space"
    monkeypatch.setenv("MASKHUB_WEB_URL", "javascript:alert(1)")
    with pytest.raises(ConfigError, match="MASKHUB_WEB_URL is 'javascript"):
        browser_edition.address()
    monkeypatch.delenv("MASKHUB_WEB_URL")
    (built / "index.html").unlink()
    assert browser_edition.address() is None and browser_edition.camera() is None and browser_edition.routes() == []


@pytest.fixture(scope="module")
def app(site):
    """A small app with the component and the site, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKHUB_WEB_DIST", str(site / "dist"))
        with gr.Blocks(analytics_enabled=False) as demo, gr.Accordion("On your own device"):
            browser_edition.camera(elem_id="here")
        how = {"quiet": True, "prevent_thread_lock": True, "ssr_mode": False, "footer_links": []}
        demo.launch(server_name="127.0.0.1", app_kwargs={"routes": browser_edition.routes()}, **how)
        yield demo.local_url
        demo.close()


def test_the_app_serves_the_site_with_the_headers_for_threads(app):
    for name, kind in (("", "text/html"), ("worker.js", "javascript"), ("models/pipeline.json.gz", "")):
        answer = httpx.head(f"{app}browser/{name}")
        assert answer.status_code == 200 and kind in answer.headers["content-type"]
        assert ISOLATION.items() <= dict(answer.headers).items()
    assert httpx.get(f"{app}browser/../../pyproject.toml").status_code == 404
    assert "cross-origin-embedder-policy" not in httpx.head(app).headers


@pytest.mark.browser
@pytest.mark.timeout(900)
def test_the_camera_works_in_the_app_without_sending_a_frame(app, chromium, tmp_path):
    page = chromium.new_context(permissions=["camera"], viewport={"width": 390, "height": 844}).new_page()
    page.set_default_timeout(1000 * PATIENCE)
    asked = []
    page.on("request", lambda request: asked.append((request.method, request.url)))
    page.goto(app)
    page.get_by_role("radio", name="Put on").check()
    page.get_by_role("button", name="Start the camera").click()
    page.locator("#rate", has_text=re.compile(r"[\d.]+ frames/s, 1 face")).wait_for()
    asked.clear()
    with page.expect_download() as download:
        page.get_by_role("button", name="Take a picture").click()
    download.value.save_as(tmp_path / "made.png")
    assert read_provenance(tmp_path / "made.png").direction == "mask"
    with Image.open(tmp_path / "made.png") as image:
        assert np.ptp(np.asarray(image.convert("RGB"))[:10], axis=(0, 1)).max() < 6  # the backdrop stays as it is
    page.get_by_role("radio", name="Take off").check()
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.add_script_tag(path=AXE)
    found = page.evaluate("async () => (await axe.run('#here')).violations.map(rule => rule.id)")
    assert found == []
    assert [(method, url) for method, url in asked if "/browser/" not in url and not url.startswith("blob:")] == []
    page.get_by_role("button", name="On your own device").click()  # hidden, it stops
    page.locator("#start", has_text="Start the camera").wait_for(state="attached")
    page.context.close()
