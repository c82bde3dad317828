"""The whole service as a visitor meets it: bring faces, filter, train, a restart in the middle, re-image a face."""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from app_process import PATIENCE, start_app, stop_app
from PIL import Image

from maskhub.data.pixel_faces import pixel_faces, write_folder
from maskhub.service.home import owner_of

sys.path.insert(0, str(Path(__file__).parent))

from visit import open_tab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

STEPS = 80
ME = "the key of this browser"


class Service:
    """The app on a home that outlives it."""

    def __init__(self, home, **settings):
        self.home, self.settings, self.apps = home, settings, []

    def start(self):
        self.apps.append(start_app(MASKHUB_HOME=str(self.home.root), **self.settings))

    @property
    def app(self):
        return self.apps[-1]

    def stop(self):
        if self.app.process.poll() is None:
            stop_app(self.app)
        for record in self.home.jobs.glob("*/process.json"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(json.loads(record.read_text())["pid"], signal.SIGKILL)
        for app in self.apps:
            printed = app.output
            assert "Traceback" not in printed, printed


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A zip of light faces, bare ones to train on and masked ones to test, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("packed")
    write_folder("builtin:pixel-faces/light:train", folder / "in" / "train")
    write_folder("builtin:pixel-faces/light/mask:test", folder / "in" / "test")
    (folder / "in" / "notes.png").write_text("no picture")
    return shutil.make_archive(str(folder / "faces"), "zip", folder / "in")


@pytest.fixture(scope="module")
def service(tiny_model, packed, tmp_path_factory):
    """The app, with two datasets and a model of tiny networks to start from, so that a step takes milliseconds."""
    import torch

    from maskhub import DenseGenerator, ReimagingPipeline
    from maskhub.service.home import Home
    from maskhub.service.jobs import Jobs
    from maskhub.service.uploads import receive

    folder = tmp_path_factory.mktemp("service")
    home, pipeline = Home(folder / "home"), ReimagingPipeline(resolution=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline.add("small", DenseGenerator(resolution=32, latent=16, hidden=(32, 64)), {"tone": "light"})
    pipeline.save_pretrained(folder / "made")
    for name, key in (("small", "somebody"), ("own", ME)):
        Jobs(home).models.add(name, folder / "made", dataset="builtin:pixel-faces", steps=0, owner=owner_of(key))
        receive(home, [packed], {"small": "theirs", "own": "own"}[name], key=key)
    service = Service(home, MASKHUB_MODEL=str(tiny_model), TMPDIR=str(folder), MASKHUB_WEBHOOK_PRIVATE="1",
                      MASKHUB_MAX_STEPS=str(STEPS))  # fmt: skip
    service.start()
    yield service
    service.stop()


@pytest.fixture
def page(service, chromium):
    """Opens the app in a browser of its own; nothing may go wrong in its scripts."""
    complaints, contexts = [], []

    def start(key=None, **options):
        contexts.append(chromium.new_context(**{"viewport": {"width": 1280, "height": 900}} | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if key:
            page.add_init_script(f"localStorage.setItem('maskhub-key', '{key}')")
        page.goto(service.app.url)
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []


def choose(page, elem_id, text):
    """Pick from a dropdown by the beginning of what it shows; again, if its choices were reloaded just then."""
    # in the middle of the screen, where there is room for its list
    page.locator(f"#{elem_id}").evaluate("element => element.scrollIntoView({block: 'center'})")
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


def steps_of(page):
    """The five pictures of a re-imaged face."""
    assert page.locator("#reimage-steps figure").count() == 5
    return [picture(page, f"#reimage-steps figure >> nth={number} >> img") for number in range(5)]


def until(check):
    """Wait for something on the disk."""
    end = time.monotonic() + PATIENCE
    while not (found := check()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def test_bring_filter_train_restart_and_reimage(page, service, packed):
    home, page = service.home, page()

    # bring
    open_tab(page, "Dataset")
    page.locator("#browse img").first.wait_for()  # the tab is alive
    page.set_input_files("#dataset-files input[type=file]", packed)
    page.fill("#dataset-name input, #dataset-name textarea", "my-faces")
    page.locator("#dataset-files a[href*='faces.zip']").wait_for()  # it has arrived
    page.click("#dataset-bring")
    page.locator("#dataset-status", has_text="Added to my-faces: 100 training and 25 test pictures.").wait_for()
    assert "notes.png: it is not a picture" in page.locator("#dataset-refused").inner_text()
    page.locator("#browse-count", has_text="125 pictures").wait_for()

    # filter, by attribute, split and model
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
    page.get_by_role("button", name="More options").locator("visible=true").click()
    choose(page, "train-start", "small")
    page.fill("#train-name input, #train-name textarea", "mine")
    page.locator("#train-steps input[type=number]").fill(str(STEPS))
    page.click("#train")

    # stopped where it is, after its first checkpoint, so that there is a middle on a machine of any speed
    record = until(lambda: next(home.jobs.glob("*/process.json"), None))
    folder, pid = record.parent, json.loads(record.read_text())["pid"]
    until(lambda: [*folder.glob("run/checkpoints/step-*/state.json")])
    until(lambda: json.loads((folder / "run" / "status.json").read_text())["step"] >= 20)  # it may lag by a second
    os.kill(pid, signal.SIGSTOP)
    page.locator("#train-progress [data-state=running]", has_text=re.compile(rf"Step [1-9]\d* of {STEPS}")).wait_for()
    page.locator("#train-cancel").wait_for()

    # everything dies
    before = json.loads((folder / "run" / "status.json").read_text())
    assert 20 <= before["step"] < STEPS and before["state"] == "running" and not (home.models / "mine").exists()
    service.app.process.kill()  # first, or it would go on with the job
    service.app.process.wait()
    os.killpg(pid, signal.SIGKILL)
    service.start()
    # it has another port, for which a browser keeps things apart
    kept = page.evaluate("localStorage.getItem('maskhub-key')")
    page.add_init_script(f"localStorage.setItem('maskhub-key', '{kept}')")
    page.goto(service.app.url)
    open_tab(page, "Train")
    page.locator("#train-progress [data-state=finished]", has_text="The model is called mine").wait_for()
    assert "resuming from" in (folder / "log.txt").read_text()
    steps = [json.loads(line)["step"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == STEPS
    card = (home.models / "mine" / "README.md").read_text()
    assert "my-faces/train" in card and str(home.root) not in card
    page.locator("#train-samples img").wait_for()
    page.locator("#train-accuracy canvas, #train-accuracy svg").first.wait_for()
    page.locator("#model-about", has_text="tone light").wait_for()
    page.locator("#train-forget").wait_for()  # the browser still knows whose job it is

    # re-image
    open_tab(page, "Re-image")
    choose(page, "reimage-source", "my-faces")
    page.wait_for_function("document.querySelectorAll('#reimage-faces img').length == 25")
    choose(page, "reimage-model", "mine")
    page.locator("#reimage-faces button:has(img)").first.click()
    page.locator("#reimage-status", has_text="By mine").wait_for()
    covered, raw, _, clipping, result = steps_of(page)
    region = clipping[..., 3] > 0
    faces = pixel_faces("builtin:pixel-faces/light/mask:test")
    face = next(face for face in faces if np.array_equal(face.pixels, covered[..., :3]))
    assert np.array_equal(region, face.region)
    assert np.array_equal(result[~region], covered[~region]) and not np.array_equal(result[region], covered[region])
    assert raw.shape == (32, 32, 4)


def test_a_face_of_ones_own_and_what_the_classifier_sees(page, service, tmp_path):
    face = pixel_faces("builtin:pixel-faces/dark/scarf:test")[3]
    face.image.save(tmp_path / "me.png")
    (tmp_path / "notes.jpg").write_text("no picture")
    page = page()
    open_tab(page, "Re-image")
    page.locator("#reimage-faces img").first.wait_for()
    choose(page, "reimage-model", "Choose for me")
    page.locator("#reimage-upload button").first.click()
    page.set_input_files("#reimage-photo input[type=file]", tmp_path / "notes.jpg")
    page.locator("#reimage-problem", has_text="“notes.jpg” is not a picture").wait_for()
    page.set_input_files("#reimage-photo input[type=file]", tmp_path / "me.png")
    page.locator("#reimage-photo img").wait_for()
    page.wait_for_function("!document.querySelector('#reimage-problem .problem')")
    page.click("#reimage")
    page.locator("#reimage-status", has_text="By dark (built in)").wait_for()
    covered, _, _, clipping, result = steps_of(page)
    region = clipping[..., 3] > 0
    assert np.array_equal(covered[..., :3], face.pixels) and np.array_equal(region, face.region)
    assert np.array_equal(result[~region], covered[~region]) and not np.array_equal(result[region], covered[region])
    odds = dict(re.findall(r"(dark|light|medium)\s+(\d+)%", page.locator("#reimage-distribution").inner_text()))
    assert len(odds) == 3 and int(odds["dark"]) > 90
    assert "dark (built in)" in page.locator("#reimage-fit").inner_text()
    scores = [int(text) for text in re.findall(r"(\d+) off", page.locator("#reimage-samples").inner_text())]
    assert len(scores) == 8 and scores == sorted(scores)
    before = steps_of(page)
    page.locator("#reimage-samples img").nth(2).click()
    page.locator("#reimage-steps", has_text=f"number 3 of 512, off by {scores[2]} of 255").wait_for()
    after = steps_of(page)
    assert not np.array_equal(after[1], before[1]) and np.array_equal(after[4][~region], covered[~region])
    page.locator("#reimage-features button").first.click()
    page.locator("#reimage-maps img").nth(1).wait_for()
    page.locator("#reimage-lesson button").first.click()
    page.get_by_label("Between medium and dark, fair hair, blue eyes").click()
    page.locator("#lesson-shown", has_text="Figure 24").wait_for()
    for name, tone in (("thesis", "light"), ("ours", "dark")):
        page.locator(f"#lesson-{name}", has_text="%").wait_for()
        odds = dict(re.findall(r"(dark|light|medium)\s+(\d+)%", page.locator(f"#lesson-{name}").inner_text()))
        assert int(odds[tone]) > 80
    assert not [path for path in service.home.root.rglob("*me*.png") if path.stem.startswith("me")]  # not kept


def test_a_newcomer_trains_a_model_and_tries_it_in_four_clicks(page, service):
    page = page("a newcomer")
    open_tab(page, "Train")  # two clicks
    page.get_by_label(re.compile(r"Quick look \(about .+\)")).wait_for()
    page.locator("#train-time", has_text=re.compile(r"\d+ steps: about .+ on this machine")).wait_for()
    page.wait_for_function("document.querySelectorAll('#train-count img').length == 8")
    button = page.locator("#train").bounding_box()
    assert button["y"] + button["height"] < 900  # without scrolling
    page.click("#train")
    page.locator("#train-keep").wait_for()
    page.goto(service.app.url)  # their own job is shown after a reload
    open_tab(page, "Train")
    page.locator("#train-progress p", has_text=re.compile("Step|Starting|Done")).wait_for()
    assert "yours" in page.locator("#train-job input").input_value()
    page.click("#train-try")  # once it is done
    page.locator("#reimage-status", has_text="By builtin-pixel-faces").wait_for()
    assert page.locator("#reimage-model input").input_value().startswith("builtin-pixel-faces")
    assert page.locator("#reimage-steps figure").count() == 5
    sizes = page.locator("#reimage-steps img").evaluate_all("images => images.map(image => image.clientWidth)")
    assert len(set(sizes)) == 1


def test_photos_are_covered_or_painted_and_one_that_no_model_knows_leads_to_photo(page):
    page = page()
    open_tab(page, "Re-image")
    choose(page, "reimage-source", "Portraits without a mask")
    page.wait_for_function("document.querySelectorAll('#reimage-faces img').length == 24")
    choose(page, "reimage-model", "dark")
    page.locator("#reimage-faces button:has(img)").first.click()
    page.locator("#reimage-status .notice", has_text="far from all that the model makes").wait_for()
    assert page.locator("#reimage-problem p").count() == 0
    choose(page, "reimage-where", "Cover it for me")
    page.click("#reimage")
    page.locator("#reimage-steps", has_text="True face").wait_for()

    choose(page, "reimage-where", "Paint it")
    canvas = page.locator("#reimage-brush canvas")
    canvas.wait_for()
    page.click("#reimage")
    page.locator("#reimage-problem", has_text="Paint over the part of the face").wait_for()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.75 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.75 * box["height"], steps=4)
    page.mouse.up()
    page.click("#reimage")
    page.locator("#reimage-steps figure >> nth=4").wait_for()
    region = steps_of(page)[3][..., 3] > 0
    rows, columns = np.nonzero(region)
    side = len(region)
    assert abs(rows.mean() / side - 0.75) < 0.05 and abs(columns.mean() / side - 0.5) < 0.05
    assert 0.3 < np.ptp(columns) / side < 0.6 and np.ptp(rows) / side < 0.2

    page.click("#reimage-away")
    page.locator("#photo-photo img[src*=london]").wait_for()
    assert "tab=photo" in page.url


@pytest.fixture
def hook():
    """A webhook on this machine, and what it was told."""
    told = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", told
    server.shutdown()
    server.server_close()


def test_told_when_it_is_done_then_deleted(page, service, hook):
    page = page(ME, permissions=["notifications"])
    page.evaluate("""() => {
      window.told = [];
      window.Notification = class extends Notification {
        constructor(title, options) {
          super(title, options);
          this.addEventListener('show', () => window.told.push(`${title}: ${options.body}`));
        }
      };
    }""")
    open_tab(page, "Train")
    page.get_by_role("button", name="More options").locator("visible=true").click()
    choose(page, "train-start", "small")
    page.fill("#train-name input, #train-name textarea", "told")
    page.locator("#train-steps input[type=number]").fill("50")
    page.fill("#train-webhook input, #train-webhook textarea", hook[0])
    page.check("#train-notify input")
    page.click("#train")
    page.locator("#train-progress [data-state]").wait_for()
    open_tab(page, "Dataset")  # one need not sit and watch
    page.wait_for_function("window.told.length")
    assert page.evaluate("window.told") == ["maskhub: The model told is done."]
    page.locator(".toast-body", has_text="The model told is done.").wait_for()
    until(lambda: hook[1])
    wanted = {"state": "finished", "model": "told", "dataset": "builtin:pixel-faces", "steps": 50, "message": ""}
    assert len(hook[1]) == 1 and {key: hook[1][0][key] for key in wanted} == wanted

    # delete: thought better of it, then not
    answers = iter([False, True, False, True])
    asked = []

    def answer(dialog):
        asked.append(dialog.message)
        dialog.accept() if next(answers) else dialog.dismiss()

    def press(selector):
        with page.expect_event("dialog"):
            page.click(selector)

    page.on("dialog", answer)
    choose(page, "browse-dataset", "own")
    press("#dataset-delete")
    page.locator("#browse-count", has_text="125 pictures").wait_for()
    assert (service.home.datasets / "own").is_dir()
    press("#dataset-delete")
    page.locator("#dataset-status", has_text="own is deleted").wait_for()
    assert not (service.home.datasets / "own").exists()
    page.locator("#browse-count", has_text="375 pictures").wait_for()
    open_tab(page, "Train")
    choose(page, "model", "own")
    press("#model-delete")
    assert (service.home.models / "own").is_dir()
    press("#model-delete")
    until(lambda: not (service.home.models / "own").exists())
    page.wait_for_function("!document.querySelector('#model input').value.startsWith('own')")
    assert asked == ["Delete own for good?"] * 2 + ["Delete the model own for good?"] * 2


def test_someone_else_sees_it_and_cannot_delete_it(page):
    page = page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    for name, place in (("Train", "#train"), ("Re-image", "#reimage-faces img"), ("Dataset", "#browse img")):
        open_tab(page, name)
        page.locator(place).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    choose(page, "browse-dataset", "theirs")
    page.locator("#browse-count", has_text="125 pictures").wait_for()
    assert not page.locator("#dataset-delete").is_visible()
    open_tab(page, "Train")
    choose(page, "model", "small")
    page.locator("#model-about", has_text="tone light").wait_for()
    assert not page.locator("#model-delete").is_visible()
    page.check("#train-notify input")  # which this browser has not been allowed
    page.locator("#train-problem", has_text="does not let the page show notifications").wait_for()
    assert not page.is_checked("#train-notify input")
