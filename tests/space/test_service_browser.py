"""The whole service as a visitor meets it: bring faces, filter, train, a restart in the middle, re-image a face."""

import json
import os
import re
import signal

import numpy as np
import pytest
from service_app import ME, STEPS, choose, steps_of, wait_for
from visit import open_tab, until

from maskhub.data.pixel_faces import pixel_faces

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def pictures(count):
    """How the Dataset tab counts: "25 pictures" alone would also be found in "125 pictures"."""
    return re.compile(rf"\b{count} pictures")


def kill_in_the_middle(page, service, folder, pid):
    """Kill the app and its job after the job's first checkpoint, stopped so that there is a middle on any machine."""
    wait_for(lambda: [*folder.glob("run/checkpoints/step-*/state.json")])
    wait_for(lambda: json.loads((folder / "run" / "status.json").read_text())["step"] >= 20)  # it may lag by a second
    os.kill(pid, signal.SIGSTOP)
    page.locator("#train-progress [data-state=running]", has_text=re.compile(rf"Step [1-9]\d* of {STEPS}")).wait_for()
    page.locator("#train-cancel").wait_for()
    before = json.loads((folder / "run" / "status.json").read_text())
    assert 20 <= before["step"] < STEPS and before["state"] == "running"
    service.app.process.kill()  # first, or it would go on with the job
    service.app.process.wait()
    os.killpg(pid, signal.SIGKILL)


def open_train(page):
    """Open the Train tab, whose form is filled in and says how long it will take."""
    open_tab(page, "Train")  # two clicks
    page.get_by_label(re.compile(r"Quick look \(about .+\)")).wait_for()
    page.locator("#train-time", has_text=re.compile(r"\d+ steps: about .+ on this machine")).wait_for()
    page.wait_for_function("document.querySelectorAll('#train-count img').length == 8")
    button = page.locator("#train").bounding_box()
    assert button["y"] + button["height"] < 900  # without scrolling


@pytest.mark.parametrize(
    ("dataset", "model", "killed"),
    [("my-faces", "mine", False), pytest.param("our-faces", "ours", True, marks=pytest.mark.slow)],
    ids=["", "killed"],
)
def test_bring_filter_train_and_reimage(service_page, service, packed, dataset, model, killed):
    home, page = service.home, service_page()
    earlier = {*home.jobs.glob("*/process.json")}

    # bring
    open_tab(page, "Dataset")
    page.locator("#browse img").first.wait_for()  # the tab is alive
    page.set_input_files("#dataset-files input[type=file]", packed)
    page.fill("#dataset-name input, #dataset-name textarea", dataset)
    page.locator("#dataset-files a[href*='faces.zip']").wait_for()  # it has arrived
    page.click("#dataset-bring")
    page.locator("#dataset-status", has_text=f"Added to {dataset}: 100 training and 25 test pictures.").wait_for()
    assert "notes.png: it is not a picture" in page.locator("#dataset-refused").inner_text()
    page.locator("#browse-count", has_text=pictures(125)).wait_for()

    # filter, by attribute, split and model
    choose(page, "browse-attributes", "mouth=smile")
    page.locator("#browse-count", has_text=pictures(25)).wait_for()
    choose(page, "browse-split", "Test")
    page.locator("#browse-count", has_text=pictures(5)).wait_for()
    page.wait_for_function("document.querySelectorAll('#browse .grid-container img').length == 5")
    choose(page, "browse-model", "small")
    page.locator("#browse-count", has_text=pictures(5)).wait_for()

    # train, beginning with another model
    open_train(page)
    choose(page, "train-dataset", dataset)
    page.locator("#train-count", has_text="100 training pictures").wait_for()
    choose(page, "train-attributes", "tone=light")
    page.get_by_role("button", name="More options").locator("visible=true").click()
    choose(page, "train-start", "small")
    page.fill("#train-name input, #train-name textarea", model)
    page.locator("#train-steps input[type=number]").fill(str(STEPS))
    page.click("#train")

    record = wait_for(lambda: next(iter({*home.jobs.glob("*/process.json")} - earlier), None))
    folder = record.parent
    if killed:
        kill_in_the_middle(page, service, folder, json.loads(record.read_text())["pid"])
        assert not (home.models / model).exists()
        service.start()
        # it has another port, for which a browser keeps things apart
        kept = page.evaluate("localStorage.getItem('maskhub-key')")
        page.add_init_script(f"localStorage.setItem('maskhub-key', '{kept}')")
        page.goto(service.app.url)
        open_tab(page, "Train")
    page.locator("#train-progress [data-state=finished]", has_text=f"The model is called {model}").wait_for()
    assert ("resuming from" in (folder / "log.txt").read_text()) == killed
    steps = [json.loads(line)["step"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == STEPS
    card = (home.models / model / "README.md").read_text()
    assert f"{dataset}/train" in card and str(home.root) not in card
    page.locator("#train-samples img").wait_for()
    page.locator("#train-accuracy canvas, #train-accuracy svg").first.wait_for()
    page.locator("#model-about", has_text="tone light").wait_for()
    page.locator("#train-forget").wait_for()  # the browser still knows whose job it is

    # re-image
    open_tab(page, "Re-image")
    choose(page, "reimage-source", dataset)
    page.wait_for_function("document.querySelectorAll('#reimage-faces img').length == 25")
    choose(page, "reimage-model", model)
    page.locator("#reimage-faces button:has(img)").first.click()
    page.locator("#reimage-status", has_text=f"By {model}").wait_for()
    covered, raw, _, clipping, result = steps_of(page)
    region = clipping[..., 3] > 0
    faces = pixel_faces("builtin:pixel-faces/light/mask:test")
    face = next(face for face in faces if np.array_equal(face.pixels, covered[..., :3]))
    assert np.array_equal(region, face.region)
    assert np.array_equal(result[~region], covered[~region]) and not np.array_equal(result[region], covered[region])
    assert raw.shape == (32, 32, 4)

    # the job is deleted, and no other is shown
    open_tab(page, "Train")
    page.click("#train-forget")
    page.wait_for_function("document.querySelector('#train-job input').value === ''")
    page.locator("#train-forget").wait_for(state="hidden")
    assert not folder.exists()


@pytest.mark.slow
def test_a_newcomer_trains_a_model_and_tries_it_in_four_clicks(service_page, service):
    page = service_page("a newcomer")
    open_train(page)
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


@pytest.mark.slow  # tests/service/test_jobs.py tells a webhook in seconds
def test_told_when_it_is_done(service_page, hook):
    page = service_page(ME, full=True, permissions=["notifications"])
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
    page.fill("#train-webhook input, #train-webhook textarea", hook[0] + "/hook")
    page.check("#train-notify input")
    page.click("#train")
    page.locator("#train-progress [data-state]").wait_for()
    open_tab(page, "Dataset")  # one need not sit and watch
    page.wait_for_function("window.told.length")
    assert page.evaluate("window.told") == ["maskhub: The model told is done."]
    page.locator(".toast-body", has_text="The model told is done.").wait_for()
    wait_for(lambda: hook[1])
    wanted = {"state": "finished", "model": "told", "dataset": "builtin:pixel-faces", "steps": 50, "message": ""}
    assert len(hook[1]) == 1 and {key: hook[1][0][key] for key in wanted} == wanted


def test_a_dataset_and_a_model_are_deleted_once_that_is_confirmed(service_page, service):
    page = service_page(ME)
    open_tab(page, "Dataset")
    page.locator("#browse img").first.wait_for()
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
    page.locator("#browse-count", has_text=pictures(125)).wait_for()
    assert (service.home.datasets / "own").is_dir()
    press("#dataset-delete")
    page.locator("#dataset-status", has_text="own is deleted").wait_for()
    assert not (service.home.datasets / "own").exists()
    page.locator("#browse-count", has_text=pictures(375)).wait_for()
    open_tab(page, "Train")
    choose(page, "model", "own")
    press("#model-delete")
    assert (service.home.models / "own").is_dir()
    press("#model-delete")
    wait_for(lambda: not (service.home.models / "own").exists())
    page.wait_for_function("!document.querySelector('#model input').value.startsWith('own')")
    assert asked == ["Delete own for good?"] * 2 + ["Delete the model own for good?"] * 2


def test_a_choice_is_answered_once_and_the_answer_undoes_nothing(service_page):
    page, asked, waiting = service_page(ME), [], []

    def heard(request):
        if "run/predict" in request.url:
            asked.append(request.post_data_json["data"])
            waiting.append(request)

    def done(request):
        if request in waiting:
            waiting.remove(request)

    def settled():
        page.wait_for_timeout(300)  # what is held back is sent once the one before is answered
        until(page, lambda: not waiting)

    page.on("request", heard)
    page.on("requestfinished", done)
    page.on("requestfailed", done)
    steps, own = page.locator("#train-steps input[type=number]"), page.get_by_label("My own settings")
    open_train(page)
    page.get_by_role("button", name="More options").locator("visible=true").click()
    preset = steps.input_value()
    page.get_by_role("combobox", name="Network").click()  # opened, and left as it is
    page.keyboard.press("Escape")
    page.get_by_role("spinbutton", name="Batch").click()
    settled()
    assert not own.is_checked()
    asked.clear()
    choose(page, "train-dataset", "theirs")
    page.locator("#train-count", has_text="100 training pictures").wait_for()
    settled()
    assert [data for data in asked if len(data) == 2] == [["Quick look", "theirs"]]  # the numbers of the preset, once
    steps.fill("70")
    until(page, own.is_checked)
    settled()
    assert steps.input_value() == "70" != preset

    open_tab(page, "Dataset")
    page.locator("#browse img").first.wait_for()
    settled()
    asked.clear()
    choose(page, "browse-dataset", "theirs")
    page.locator("#browse-count", has_text="125 pictures, 1–60").wait_for()
    settled()
    assert asked.count(["theirs", "", "", [], ME]) == 1  # what can be chosen of it
    page.click("#browse-after")
    page.locator("#browse-count", has_text="61–120").wait_for()
    settled()
    assert "61–120" in page.locator("#browse-count").inner_text()
    choose(page, "browse-attributes", "mouth=smile")
    page.locator("#browse-count", has_text=pictures(25)).wait_for()
    page.locator("#browse-attributes .remove-all").click()
    page.locator("#browse-count", has_text=pictures(125)).wait_for()


def test_someone_else_sees_it_and_cannot_delete_it(service_page):
    page = service_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    for name, place in (("Train", "#train"), ("Re-image", "#reimage-faces img"), ("Dataset", "#browse img")):
        open_tab(page, name)
        page.locator(place).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    choose(page, "browse-dataset", "theirs")
    page.locator("#browse-count", has_text=pictures(125)).wait_for()
    assert not page.locator("#dataset-delete").is_visible()
    open_tab(page, "Train")
    choose(page, "model", "small")
    page.locator("#model-about", has_text="tone light").wait_for()
    assert not page.locator("#model-delete").is_visible()
    page.click("#train-notify input")  # which this browser has not been allowed: the tick goes at once
    page.locator("#train-problem", has_text="does not let the page show notifications").wait_for()
    assert not page.is_checked("#train-notify input")
