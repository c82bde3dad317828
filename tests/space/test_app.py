"""The app's start and end, and its API as scripts use it."""

import os
import re
import socket

import gradio as gr
import httpx
import numpy as np
import pytest
from app_process import PATIENCE, ROOT, app_environment, free_port
from forked import Forked
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from maskhub import read_provenance
from maskhub.errors import ConfigError
from space.demo import launch

ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def client(app, tmp_path_factory):
    client = Client(app.url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
    yield client
    client.close()


def pixels(picture):
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB")).astype(int)
    with Image.open(picture) as image:
        return pixels(image)


def call(client, path, api_name, *options):
    return client.predict(handle_file(str(path)), *options, api_name=api_name)


def test_the_api_has_these_endpoints_and_no_others(client):
    api = client.view_api(return_format="dict", print_info=False)
    assert set(api["named_endpoints"]) == {"/mask", "/unmask", "/swap", "/cycle", "/wear", "/compare", "/detect"}
    assert not api["unnamed_endpoints"]
    assert [p["parameter_name"] for p in api["named_endpoints"]["/cycle"]["parameters"]] == ["photo", "start"]


@pytest.mark.parametrize("direction", ["mask", "unmask"])
def test_a_translated_photo_is_the_pipelines_own_as_png(client, pipe, masked_file, direction):
    photo = ASTRONAUT if direction == "mask" else masked_file
    file = call(client, photo, f"/{direction}")
    with Image.open(file) as image:
        assert image.format == "PNG"
    assert read_provenance(file).direction == direction
    expected = pipe(photo, direction, details=True)
    assert np.array_equal(pixels(file), pixels(expected.images[0]))
    changed = np.abs(pixels(file) - pixels(photo)).max(2) > 0
    left, top, width, height = (round(value) for value in expected.boxes[0][0])
    assert changed[top : top + height, left : left + width].mean() > 0.5
    assert not changed[expected.regions[0] == 0].any()


@pytest.mark.parametrize("start", ["mask", "unmask"])
def test_cycle_gives_both_pictures_and_the_error(client, pipe, masked_file, start):
    photo = ASTRONAUT if start == "mask" else masked_file
    there, back, error = call(client, photo, "/cycle", start)
    expected = pipe.cycle(photo, start, details=True)
    assert np.array_equal(pixels(there), pixels(expected.there[0]))
    assert np.array_equal(pixels(back), pixels(expected.images[0]))
    assert error == pytest.approx(expected.cycle_errors[0][0], abs=1e-3)


def test_odd_photos_work(client, odd_files):
    for name, path in odd_files.items():
        with Image.open(call(client, path, "/mask")) as image:
            assert image.size == (256, 256), name
            assert image.mode == ("RGBA" if name == "alpha.png" else "RGB"), name
            hair, orange = image.convert("RGB").getpixel((100, 25)), image.convert("RGB").getpixel((80, 150))
        assert hair[0] < 190 and (name.startswith("sixteen") or orange[0] > orange[2] + 60), name


@pytest.mark.parametrize("case", ["text", "truncated", "1x1", "bomb", "no face"])
def test_bad_photos_get_one_clear_line(client, bad_files, case):
    path, words = bad_files[case]
    for api_name in ("/mask", "/cycle"):
        with pytest.raises(AppError) as raised:
            call(client, path, api_name)
        message = str(raised.value)
        assert words in message and "\n" not in message and "/tmp" not in message and "Traceback" not in message


@pytest.mark.parametrize(
    ("api_name", "options", "words"),
    [
        ("/cycle", ("sideways",), "“start” must be one of mask, unmask, not 'sideways'."),
        ("/compare", ("sideways",), "“direction” must be one of unmask, mask, cycle, not 'sideways'."),
        ("/wear", ("hat",), "style"),
        ("/wear", ("cloth", 7), "“colour” must be text, not a number."),
        ("/wear", ("cloth", "navy", "upside down"), "worn"),
        ("/wear", ("cloth", "navy", "correctly", "all"), "“everyone” must be true or false, not 'all'."),
        ("/wear", ("cloth", "navy", "correctly", True, "x"), "“seed” must be a number, not 'x'."),
        ("/wear", ("cloth", "navy", "correctly", True, -1), "seed"),
    ],
)
def test_wrong_arguments_get_a_sentence(client, api_name, options, words):
    with pytest.raises(AppError) as raised:
        call(client, ASTRONAUT, api_name, *options)
    assert words in str(raised.value) and "\n" not in str(raised.value), str(raised.value)


def test_compare_gives_every_methods_picture_and_time(client, masked_file):
    pictures, rows = call(client, masked_file, "/compare", "unmask")
    by_rule = ["Rule and Telea's inpainting", "Rule and Navier–Stokes"]
    assert [row["method"] for row in rows][1:] == ["light-256", *by_rule]
    assert len(pictures) == 1 + len(rows) and all(row["seconds"] > 0 and not row["problem"] for row in rows)
    assert rows[0]["bytes"] > 0 == rows[2]["bytes"]
    trained_on = [row["trained_on"] for row in rows]
    assert "CelebA" in trained_on.pop(1) and trained_on == ["its card doesn't say", "nothing", "nothing"]
    before, *after = [pixels(picture["image"]) for picture in pictures]
    assert all((before != picture).any() for picture in after)
    assert {row["problem"] for row in call(client, ASTRONAUT, "/compare", "unmask")[1]} == {
        "No masked face was found to compare on."
    }


def test_no_photo_gets_one_clear_line(client):
    with pytest.raises(AppError, match="There is no photo yet"):
        client.predict(None, api_name="/mask")


def test_files_of_the_server_are_out_of_reach(app):
    body = {"data": [{"path": str(ROOT / "space" / "README.md"), "meta": {"_type": "gradio.FileData"}}]}
    event = httpx.post(f"{app.url}gradio_api/call/mask", json=body).json()["event_id"]
    answer = httpx.get(f"{app.url}gradio_api/call/mask/{event}").text
    assert "event: error" in answer and "png" not in answer
    assert httpx.get(f"{app.url}gradio_api/file={ROOT / 'space' / 'README.md'}").status_code == 403


def test_a_colour_profile_is_kept_and_the_place_is_not(client, tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    with Image.open(ASTRONAUT) as image:
        image.save(tmp_path / "placed.jpg", exif=exif, icc_profile=profile)
    with Image.open(call(client, tmp_path / "placed.jpg", "/mask")) as image:
        assert image.info["icc_profile"] == profile
        assert not image.getexif()


def test_nothing_is_kept_in_the_browser_and_analytics_are_off(app):
    config = httpx.get(f"{app.url}config").json()
    assert config["run_history"] is False and config["analytics_enabled"] is False
    assert config["footer_links"] == ["api"]


def test_every_click_counts_unless_it_would_do_something_twice(app):
    """gradio ignores an event while one of the same kind is pending, by default."""
    config = httpx.get(f"{app.url}config").json()
    names = {component["id"]: component["props"].get("elem_id") for component in config["components"]}
    ignoring = [each for each in config["dependencies"] if each["backend_fn"] and each["trigger_mode"] == "once"]
    targets = [target for each in ignoring if each["api_visibility"] == "private" for target in each["targets"]]
    assert {names[place] for place, event in targets if event != "tick"} == {
        "quiz-begin", "quiz-real", "quiz-made", "quiz-next",
        "dataset-bring", "dataset-push",
        "train", "train-classifier", "train-keep", "train-cancel", "train-forget", "model-push",
    }  # fmt: skip


def test_the_choice_from_a_dropdown_is_heard_once(app):
    """A dropdown's ``input`` comes twice for a choice, and its ``select`` not for one by the keyboard."""
    config = httpx.get(f"{app.url}config").json()
    props = {each["id"]: each["props"] for each in config["components"] if each["type"] == "dropdown"}
    targets = [target for each in config["dependencies"] for target in each["targets"] if target[0] in props]
    assert len(targets) > 12
    heard = {props[place]["label"] for place, event in targets if event != "change"}
    assert heard == {"Network", "Pixels"}  # of which a repetition changes nothing


def test_a_wrong_model_is_one_line_and_exit_code_2(tmp_path):
    environment = app_environment(MASKHUB_MODEL=str(tmp_path / "nowhere"))
    process = Forked(ROOT / "app.py", output=tmp_path / "output.txt", environment=environment)
    assert process.wait(PATIENCE) == 2
    assert re.fullmatch(
        r"maskhub: no pipeline could be loaded from .*nowhere: .*\. Set MASKHUB_MODEL .*\n", process.text()
    )


def test_a_taken_port_is_one_line_and_exit_code_2(tiny_model, tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        environment = app_environment(MASKHUB_MODEL=str(tiny_model), GRADIO_SERVER_PORT=str(holder.getsockname()[1]))
        app = Forked(ROOT / "app.py", output=tmp_path / "output", environment=environment)
        assert app.wait(PATIENCE) == 2
    assert app.text().startswith("maskhub: the app can't be served on 127.0.0.1") and app.text().count("\n") == 1


def test_an_invalid_port_is_one_line(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_PORT", "http")
    with pytest.raises(ConfigError, match="GRADIO_SERVER_PORT is 'http'; it must be a number"):
        launch(None)


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:9", "socks4://x", "http://127.0.0.1:9", "none", "ftp://x", "::"])
def test_no_proxy_comes_between_the_app_and_itself(monkeypatch, value):
    names = ("ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY")  # one left would be enough to fail
    for name in names:
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GRADIO_SERVER_PORT", str(free_port()))  # 7860 may be that of another run
    with gr.Blocks() as blocks:
        gr.Markdown("here")
    try:
        launch(blocks)
        assert {os.environ[name] for name in names} == {value}  # others may need it
        with httpx.Client(trust_env=False) as client:
            assert "here" in client.get(f"{blocks.local_url}config").text
    finally:
        blocks.close()


def test_a_page_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr(gr.networking, "url_ok", lambda url: False)
    monkeypatch.setenv("GRADIO_SERVER_PORT", str(free_port()))
    with gr.Blocks() as blocks:
        gr.Markdown("here")
    try:
        with pytest.raises(ConfigError, match=r"does not answer at http://127.0.0.1:\d+/: a proxy or firewall"):
            launch(blocks)
    finally:
        blocks.close()
