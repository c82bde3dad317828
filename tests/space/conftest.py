"""The app as a visitor meets it: ``python app.py`` in a process of its own, with an untrained pipeline of seconds."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from app_process import PATIENCE, start_app, stop_app
from node_packages import WEB, install
from PIL import Image

from maskhub.data.pixel_faces import write_folder

sys.path.insert(0, str(Path(__file__).parent))  # where visit, events and service_app are found

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of an untrained pipeline at 64 pixels, with half-precision weights alone, as the bundled one has."""
    import torch

    from maskhub import FaceMaskPipeline, ResnetGenerator

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = {name: ResnetGenerator(width=8, blocks=1).half() for name in ("masker", "unmasker")}
    folder = tmp_path_factory.mktemp("model")
    FaceMaskPipeline(**networks, resolution=64).save_pretrained(folder, variant="fp16")
    return folder


@pytest.fixture(scope="session")
def pipe(tiny_model):
    """The pipeline that the app runs, to compare with."""
    import torch

    from maskhub import FaceMaskPipeline

    return FaceMaskPipeline.from_pretrained(tiny_model, variant="fp16", dtype=torch.float32)


@pytest.fixture(scope="session")
def app(tiny_model, tmp_path_factory):
    """The app with the tiny pipeline, one for all tests; stopped, it leaves no photo, and it has met no error."""
    folder = tmp_path_factory.mktemp("temporary")
    home = tmp_path_factory.mktemp("home")
    app = start_app(MASKHUB_MODEL=str(tiny_model), MASKHUB_HOME=str(home), TMPDIR=str(folder))
    yield app
    # by walk, which lets the app delete meanwhile
    photos = [name for _, _, names in os.walk(folder) for name in names if name.endswith("g")]
    assert stop_app(app) == 0
    assert photos and not list(folder.rglob("*.*g"))
    printed = app.output
    # gradio's own, where a test asks for a file that is out of reach
    assert printed.count("Traceback") == printed.count("InvalidPathError:"), printed
    assert " failed: " not in printed, printed


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory):
    """Name → (file, words of the message that a visitor gets)."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "notes.jpg").write_text("Not a photo at all.")
    (folder / "cut.jpg").write_bytes(ASTRONAUT.read_bytes()[:20_000])
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    Image.effect_noise((200, 200), 30).convert("RGB").save(folder / "grey.png")
    return {
        "text": (folder / "notes.jpg", "“notes.jpg” is not a picture"),
        "truncated": (folder / "cut.jpg", "“cut.jpg” is damaged or cut short"),
        "1x1": (folder / "dot.png", "“dot.png” is 1×1: too small"),
        "bomb": (folder / "bomb.png", "over the limit of 120 megapixels"),
        "no face": (folder / "grey.png", "No face was found"),
    }


@pytest.fixture(scope="session")
def masked_file(masked_astronaut, tmp_path_factory):
    """The astronaut in a mask, as a file of the same stem."""
    path = tmp_path_factory.mktemp("masked") / "astronaut.png"
    masked_astronaut.save(path)
    return path


@pytest.fixture(scope="session")
def odd_files(tmp_path_factory):
    """Name → file of a photo that must work although it is not plain RGB; all show the upright astronaut."""
    folder = tmp_path_factory.mktemp("odd")
    with Image.open(ASTRONAUT) as image:
        photo = image.convert("RGB").resize((256, 256))
    exif = Image.Exif()
    exif[274] = 6
    photo.rotate(90, expand=True).save(folder / "turned.jpg", exif=exif)
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    pillow_heif.from_pillow(photo).save(folder / "phone.heic")
    photo.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "palette.png")
    grey = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(folder / "sixteen.png")
    Image.fromarray(grey).save(folder / "sixteen.tif")
    photo.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", photo.size, "red")])
    photo.putalpha(Image.linear_gradient("L"))
    photo.save(folder / "alpha.png")
    return {path.name: path for path in sorted(folder.iterdir())}


@pytest.fixture(scope="session")
def axe():
    """The file of axe-core, which finds what keeps people out."""
    install()
    return WEB / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="session")
def chromium(launch):
    """The browser that the tests share."""
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def contexts(chromium):
    """Browser contexts by their options: pages of one share a cache, which saves most of a page's seconds."""
    made = {}
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def visit(chromium, app, contexts):
    """Opens the app; afterwards no request has left it and the console has no errors."""
    from visit import DESKTOP, Visit

    visits = []

    def open_app(viewport=DESKTOP, url=app.url, **options):
        key = str((viewport, options))
        if key not in contexts:
            contexts[key] = chromium.new_context(viewport=viewport, **options)
        visits.append(Visit(contexts[key].new_page(), url))
        return visits[-1]

    yield open_app
    for made in visits:
        made.page.close()
    for made in visits:
        assert made.strayed == []
        assert made.complaints == []


@pytest.fixture(scope="module")
def photo_page(chromium, app):
    """The page that most tests of a file share: to open one takes seconds."""
    from visit import DESKTOP, Visit

    context = chromium.new_context(viewport=DESKTOP, permissions=["camera"])
    made = Visit(context.new_page(), app.url)
    yield made
    context.close()
    assert made.strayed == []


@pytest.fixture(scope="module")
def phone_page(chromium, app):
    """A phone's page, for all tests of a file."""
    from visit import PHONE, Visit

    context = chromium.new_context(viewport=PHONE)
    made = Visit(context.new_page(), app.url)
    yield made
    context.close()
    assert made.strayed == [] and made.complaints == []


@pytest.fixture
def here(photo_page):
    """That page without a photo; afterwards the console has no errors."""
    photo_page.open_photo_tab("Photo", "photo")
    photo_page.clear()
    photo_page.page.locator("#photo-problem p").wait_for(state="detached")
    yield photo_page
    complaints, photo_page.complaints = photo_page.complaints, []  # those of one test fail no other
    assert complaints == []


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    """A zip of light faces, bare ones to train on and masked ones to test, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("packed")
    write_folder("builtin:pixel-faces/light:train", folder / "in" / "train")
    write_folder("builtin:pixel-faces/light/mask:test", folder / "in" / "test")
    (folder / "in" / "notes.png").write_text("no picture")
    return shutil.make_archive(str(folder / "faces"), "zip", folder / "in")


@pytest.fixture(scope="session")
def service(tiny_model, packed, tmp_path_factory):
    """The app, with two datasets and a model of tiny networks to start from, so that a step takes milliseconds."""
    import torch
    from service_app import ME, STEPS, Service

    from maskhub import DenseGenerator, ReimagingPipeline
    from maskhub.service.home import Home, owner_of
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
def service_page(service, chromium, launch):
    """Opens the app in a browser of its own; nothing may go wrong in its scripts."""
    complaints, contexts, browsers = [], [], []

    def start(key=None, full=False, **options):
        if full:
            browsers.append(launch(full=True))
        contexts.append(
            (browsers[-1] if full else chromium).new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if key:
            page.add_init_script(f"localStorage.setItem('maskhub-key', '{key}')")
        page.goto(service.app.url)
        return page

    yield start
    for opened in (*contexts, *browsers):
        opened.close()
    assert complaints == []
