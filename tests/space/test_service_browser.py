"""The whole service as a visitor meets it: bring faces, filter, train, a restart in the middle, re-image a face."""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal

import numpy as np
import pytest
from app_process import start_app, stop_app
from PIL import Image

from maskhub.data.pixel_faces import pixel_faces, write_folder

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PATIENCE = 120_000
"""Milliseconds; a free core needs a tenth of it."""


@pytest.fixture
def packed(tmp_path):
    """A zip of light faces, bare ones to train on and masked ones to test, and one file that is no picture."""
    write_folder("builtin:pixel-faces/light:train", tmp_path / "in" / "train")
    write_folder("builtin:pixel-faces/light/mask:test", tmp_path / "in" / "test")
    (tmp_path / "in" / "notes.png").write_text("no picture")
    return shutil.make_archive(str(tmp_path / "faces"), "zip", tmp_path / "in")


@pytest.fixture
def home(tmp_path):
    """A home with a model of tiny networks to start from, so that a step takes milliseconds."""
    import torch

    from maskhub import DenseGenerator, ReimagingPipeline
    from maskhub.service.home import Home
    from maskhub.service.jobs import Jobs

    home, pipeline = Home(tmp_path / "home"), ReimagingPipeline(resolution=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline.add("small", DenseGenerator(resolution=32, latent=16, hidden=(32, 64)), {"tone": "light"})
    pipeline.save_pretrained(tmp_path / "made")
    Jobs(home).models.add("small", tmp_path / "made", dataset="builtin:pixel-faces", steps=0)
    return home.root


@pytest.fixture
def serve(tiny_model, home, tmp_path):
    """Starts the app; whatever runs at the end of the test is ended."""
    apps = []

    def start():
        apps.append(start_app(MASKHUB_MODEL=str(tiny_model), MASKHUB_HOME=str(home), TMPDIR=str(tmp_path)))
        return apps[-1]

    yield start
    for app in apps:
        if app.process.poll() is None:
            stop_app(app)
    for record in home.glob("jobs/*/process.json"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(json.loads(record.read_text())["pid"], signal.SIGKILL)
    for app in apps:
        assert "Traceback" not in "".join(app.output)


def open_tab(page, name):
    page.wait_for_selector("#mask", state="attached")
    page.get_by_role("tab", name=name, exact=True).click()


def choose(page, elem_id, text):
    """Pick from a dropdown by the beginning of what it shows; again, if its choices came anew just then."""
    for _ in range(10):
        page.click(f"#{elem_id} input")
        page.locator(".options [role=option]", has_text=text).first.click()
        page.wait_for_timeout(300)
        shown = page.locator(f"#{elem_id} input").input_value() + page.locator(f"#{elem_id}").inner_text()
        if text in shown:
            page.keyboard.press("Escape")
            return
    raise AssertionError(f"{text} can't be chosen in {elem_id}")


def picture(page, selector):
    """A picture of the page as numbers."""
    data = page.locator(selector).get_attribute("src").removeprefix("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGBA")).astype(int)


def running(home):
    """The record of the job's process, once there is one."""
    for record in home.glob("jobs/*/process.json"):
        return json.loads(record.read_text())["pid"], record.parent


def test_bring_filter_train_restart_and_reimage(chromium, serve, home, packed):
    app = serve()
    page = chromium.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(app.url)

    # bring
    open_tab(page, "Dataset")
    page.locator("#browse img").first.wait_for()  # the tab is alive
    page.set_input_files("#dataset-files input[type=file]", packed)
    page.fill("#dataset-name input, #dataset-name textarea", "my-faces")
    page.locator("#dataset-files a[href*='faces.zip']").wait_for()  # it has arrived
    page.click("#dataset-bring")
    page.locator("#dataset-status", has_text="Brought into my-faces: 100 training and 25 test pictures.").wait_for()
    assert "notes.png: it is not a picture" in page.locator("#dataset-refused").inner_text()
    page.locator("#browse-count", has_text="125 pictures").wait_for()

    # filter, by attribute and by split
    choose(page, "browse-attributes", "mouth=smile")
    page.locator("#browse-count", has_text="25 pictures").wait_for()
    choose(page, "browse-split", "Test")
    page.locator("#browse-count", has_text="5 pictures").wait_for()
    page.wait_for_function("document.querySelectorAll('#browse .grid-container img').length == 5")
    choose(page, "browse-model", "small")
    page.locator("#browse-count", has_text="5 pictures").wait_for()

    # train, beginning with another model
    open_tab(page, "Train")
    choose(page, "train-dataset", "my-faces")
    page.locator("#train-count", has_text="100 training pictures").wait_for()
    choose(page, "train-attributes", "tone=light")
    choose(page, "train-start", "small")
    page.fill("#train-name input, #train-name textarea", "mine")
    page.locator("#train-steps input[type=number]").fill("1000")
    page.click("#train")
    page.locator("#train-progress [data-state=running]", has_text=re.compile(r"Step [2-9]\d\d of 1,000")).wait_for()
    page.locator("#train-cancel").wait_for()

    # everything dies in the middle, after the checkpoint of step 100
    pid, folder = running(home)
    before = json.loads((folder / "run" / "status.json").read_text())["step"]
    app.process.kill()  # first, or it would go on with the job
    app.process.wait()
    os.killpg(pid, signal.SIGKILL)
    assert not (home / "models" / "mine").exists() and before < 1000
    app = serve()
    # it has another port, for which a browser keeps things apart
    kept = page.evaluate("localStorage.getItem('maskhub-key')")
    page.add_init_script(f"localStorage.setItem('maskhub-key', '{kept}')")
    page.goto(app.url)
    open_tab(page, "Train")
    page.locator("#train-progress [data-state=finished]", has_text="The model is called mine").wait_for()
    assert "going on from" in (folder / "log.txt").read_text()
    steps = [json.loads(line)["step"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == 1000
    page.locator("#train-samples img").wait_for()
    page.locator("#model-about", has_text="tone light").wait_for()
    page.locator("#train-forget").wait_for()  # the browser still knows whose job it is

    # re-image
    open_tab(page, "Re-image")
    choose(page, "reimage-source", "my-faces")
    page.wait_for_function("document.querySelectorAll('#reimage-faces img').length == 25")
    choose(page, "reimage-model", "mine")
    page.locator("#reimage-faces button:has(img)").first.click()
    page.locator("#reimage-status", has_text="By mine").wait_for()
    assert page.locator("#reimage-steps figure").count() == 5
    covered, raw, _, clipping, result = (
        picture(page, f"#reimage-steps figure >> nth={number} >> img") for number in range(5)
    )
    region = clipping[..., 3] > 0
    faces = pixel_faces("builtin:pixel-faces/light/mask:test")
    face = next(face for face in faces if np.array_equal(face.pixels, covered[..., :3]))
    assert np.array_equal(region, face.region)
    assert np.array_equal(result[~region], covered[~region]) and not np.array_equal(result[region], covered[region])
    assert raw.shape == (32, 32, 4)
    assert complaints == []
    page.context.close()


def test_someone_else_sees_it_and_cannot_delete_it(chromium, serve, packed, home):
    from maskhub.service.home import Home
    from maskhub.service.uploads import receive

    receive(Home(home), [packed], "theirs", key="somebody")
    app = serve()
    page = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark").new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(app.url)
    page.wait_for_selector("#mask", state="attached")
    for name, place in (("Dataset", "#browse img"), ("Train", "#train"), ("Re-image", "#reimage-faces img")):
        tab = page.get_by_role("tab", name=name, exact=True)
        if not tab.is_visible():  # a phone has them in a menu
            page.locator(".overflow-menu > button").first.click()
            tab = page.locator(".overflow-dropdown button", has_text=name)
        tab.click()
        page.locator(place).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    page.goto(app.url)
    page.wait_for_selector("#mask", state="attached")
    page.locator(".overflow-menu > button").first.click()
    page.locator(".overflow-dropdown button", has_text="Dataset").click()
    choose(page, "browse-dataset", "theirs")
    page.locator("#browse-count", has_text="125 pictures").wait_for()
    assert not page.locator("#dataset-delete").is_visible()
    page.context.close()
