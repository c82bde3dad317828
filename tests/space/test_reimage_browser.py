"""Re-image as a visitor meets it: a face of one's own, what the classifier sees, photos, painting."""

import re

import numpy as np
import pytest
from service_app import choose, steps_of
from visit import open_tab, until

from maskhub.data.pixel_faces import pixel_faces

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

LITTLE = re.compile(r"(?<!\d)[3-6]% of it is replaced")
"""What the steps say of a painted line."""


def test_a_face_of_ones_own_and_what_the_classifier_sees(service_page, service, tmp_path):
    face = pixel_faces("builtin:pixel-faces/dark/scarf:test")[3]
    face.image.save(tmp_path / "me.png")
    (tmp_path / "notes.jpg").write_text("no picture")
    page = service_page()
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
    page.wait_for_function("document.querySelectorAll('#reimage-samples img').length == 8")  # the last to be shown
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


def test_photos_are_covered_or_painted_and_one_that_no_model_knows_leads_to_photo(service_page):
    page = service_page()
    open_tab(page, "Re-image")
    choose(page, "reimage-source", "Portraits without a mask")
    page.wait_for_function("document.querySelectorAll('#reimage-faces img').length == 24")
    page.locator("#reimage-faces button:has(img)").first.click()
    page.locator("#reimage-status .done", has_text="By the 64-pixel model for photos").wait_for()
    assert "the Photo tab takes masks off photos" in page.locator("#reimage-status").inner_text()
    sizes = page.locator("#reimage-steps img").evaluate_all("images => images.map(image => image.clientWidth)")
    assert len(sizes) == 6 and len(set(sizes)) == 1
    choose(page, "reimage-model", "dark")
    page.click("#reimage")
    page.locator("#reimage-status .notice", has_text="unlike anything that the model makes").wait_for()
    assert "No covering was found" in page.locator("#reimage-status").inner_text()
    assert page.locator("#reimage-problem p").count() == 0
    choose(page, "reimage-where", "Cover it for me")
    page.click("#reimage")
    page.locator("#reimage-status:not(:has-text('No covering was found')) .notice").wait_for()
    assert "True face" in page.locator("#reimage-steps").inner_text()

    choose(page, "reimage-where", "Paint it")
    page.click("#reimage")
    page.locator("#reimage-problem", has_text="Paint over the part of the face").wait_for()
    paint(page)
    page.click("#reimage")
    page.locator("#reimage-steps figure >> nth=4").wait_for()
    assert_painted(steps_of(page)[3][..., 3] > 0)

    page.click("#reimage-away")
    page.locator("#photo-photo img[src*=london]").wait_for()
    assert "tab=photo" in page.url


def test_answers_that_come_late_undo_nothing_that_a_visitor_does_meanwhile(service_page):
    page, asked, held = service_page(), [], []
    page.on("request", lambda request: "run/predict" in request.url and asked.append(request.post_data_json["data"]))
    open_tab(page, "Re-image")
    page.locator("#reimage-faces img").first.wait_for()
    choose(page, "reimage-source", "Portraits without a mask")
    page.wait_for_function("document.querySelectorAll('#reimage-faces img').length == 24")
    choose(page, "reimage-source", "Pixel faces, covered")
    page.wait_for_function("document.querySelectorAll('#reimage-faces img').length > 24")
    choose(page, "reimage-model", "dark")
    page.locator("#reimage-faces button:has(img)").first.click()
    page.locator("#reimage-status", has_text="By dark").wait_for()
    choose(page, "reimage-model", "light (built in)")
    page.evaluate("""() => {
      window.scrolled = [];
      const scroll = Element.prototype.scrollIntoView;
      Element.prototype.scrollIntoView = function (how) {
        if (how?.behavior === "smooth") window.scrolled.push(this.id);
        scroll.call(this, how);
      };
    }""")
    page.route("**/queue/join*", lambda route: held.append(route), times=1)
    page.click("#reimage")
    until(page, lambda: held)
    choose(page, "reimage-where", "Paint it")
    paint(page)
    held[0].continue_()
    page.locator("#reimage-status", has_text="By light").wait_for()
    # a dropdown's input event would come twice, and the second answer undo what was done after the first
    assert [sum(data[:1] == ["builtin:portraits"] for data in asked), sum("paint" in data for data in asked)] == [1, 1]
    assert not LITTLE.search(page.locator("#reimage-steps").inner_text())
    page.click("#reimage")
    page.locator("#reimage-steps", has_text=LITTLE).wait_for()
    assert_painted(steps_of(page)[3][..., 3] > 0)
    page.wait_for_function("window.scrolled.length")
    assert page.evaluate("window.scrolled") == ["reimage-steps"]  # for the second result only


def paint(page):
    """Paint a line across the face."""
    canvas = page.locator("#reimage-brush canvas")
    box = canvas.bounding_box()  # for its size: where it is may change until the mouse is over it
    left, right = ({"x": share * box["width"], "y": 0.75 * box["height"]} for share in (0.3, 0.7))
    canvas.drag_to(canvas, source_position=left, target_position=right, steps=4)


def assert_painted(region):
    """The replaced pixels, bool S×S, are the line of :func:`paint`."""
    rows, columns = np.nonzero(region)
    side = len(region)
    assert abs(rows.mean() / side - 0.75) < 0.05 and abs(columns.mean() / side - 0.5) < 0.05
    assert 0.3 < np.ptp(columns) / side < 0.6 and np.ptp(rows) / side < 0.2
