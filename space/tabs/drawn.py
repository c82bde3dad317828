"""Put rule-based masks on the faces of a photo, in a chosen style, colour and way of wearing."""

import time
from types import SimpleNamespace

import gradio as gr
import numpy as np
from PIL import Image

from maskhub.data.masked import Wearing, mask_faces, region_image
from maskhub.errors import MaskHubError, NoFaceError
from maskhub.faces.photo import split_alpha
from maskhub.image_file import open_image
from maskhub.masks import COLOURS, STYLES, WORN
from maskhub.provenance import RULE, Provenance, mark, read_provenance
from space import photos, rooms, tools

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Drawn masks"
NAMES = {
    "surgical": "Surgical", "kn95": "KN95 / FFP2", "cup": "Cup respirator", "cloth": "Cloth",
    "patterned": "Patterned cloth", "neoprene": "Neoprene",
}  # fmt: skip
STYLE_CHOICES = [("Any", "random"), *((NAMES.get(name, name.capitalize()), name) for name in STYLES)]
WORN_CHOICES = [("Correctly", "correctly"), *((name.replace("-", " ").capitalize(), name) for name in WORN[1:])]
WHO_CHOICES = [("Everyone", True), ("The largest face", False)]
API_OPTIONS = {"style": "random", "colour": "random", "worn": "correctly"}
TINT = np.array([214, 0, 147], np.float32)
"""Colour of the region's overlay, unlike skin and masks."""
LEAD = 2
"""How far left of the first masked face the slider starts, in per cent of the photo."""
WORN_ALREADY = "everyone whose face is clear enough already wears a mask. Take the masks off in the Photo tab first."
CLEARED = ("", None, gr.update(value=None, interactive=False), None)
"""Status line, slider, download and result without a result."""


def layout(pipe):
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown("Masks drawn by rule, without a neural network: choose style, colour and how they are worn.")
    with gr.Row(equal_height=False, elem_classes="workbench"):
        with gr.Column(min_width=300):
            here.photo = photos.photo_input("wear-photo", height=320)
            with gr.Row(elem_classes="pair"):
                here.style = gr.Dropdown(
                    STYLE_CHOICES, value="random", label="Style", elem_id="wear-style", min_width=120
                )
                here.colour = rooms.Choice(
                    _colours("random"), value="random", label="Colour", elem_id="wear-colour", min_width=120
                )
            with gr.Row(elem_classes="pair"):
                here.worn = gr.Dropdown(WORN_CHOICES, value=WORN[0], label="Worn", elem_id="wear-worn", min_width=120)
                here.everyone = gr.Dropdown(WHO_CHOICES, value=True, label="Who", elem_id="wear-who", min_width=120)
            with gr.Row(elem_classes="pair"):
                here.run = gr.Button("Draw masks", variant="primary", elem_id="wear", min_width=120)
                here.another = gr.Button("Another", elem_id="wear-another", min_width=120)
            here.problem = photos.line("wear-problem")
            here.examples = photos.examples("wear-examples")
        with gr.Column(min_width=300):
            here.slider = photos.before_and_after("wear-result")
            here.status = photos.line("wear-status")
            with gr.Row(equal_height=True, elem_classes="pair"):
                here.overlay = gr.Checkbox(label="Show region", elem_id="wear-region", min_width=120, container=False)
                here.download = gr.DownloadButton("Download", interactive=False, elem_id="wear-download", min_width=120)
    here.seed, here.result, here.seen = gr.State(0), gr.State(time_to_live=3000), gr.State(())
    return here


def wire(here, pipe):
    """Connect the components and the API's endpoint to the handlers."""
    results = [here.status, here.slider, here.download, here.result]
    choices = [here.photo, here.seen, here.style, here.colour, here.worn, here.everyone, here.seed, here.overlay]
    at_once = {"queue": False, "trigger_mode": "always_last", "api_visibility": "private"}
    another = here.another.click(lambda seed: seed + 1, here.seed, here.seed, **at_once)
    picked = photos.on_example(here.examples, here.photo)
    photos.on_run(
        (here.run.click, another.then, picked.then), show, choices, [here.problem, *results, here.seen], here.slider,
        ("wear-result", "wear-problem"),
    )  # fmt: skip
    here.style.change(
        lambda style: gr.update(choices=_colours(style), value="random"), here.style, here.colour, **at_once
    )
    photos.watch(here.photo, here.problem, results, CLEARED, here.seen)
    here.overlay.input(
        _pair, [here.result, here.overlay], here.slider, show_progress="hidden", trigger_mode="always_last",
        api_visibility="private",
    )  # fmt: skip
    _wire_api(here)


def _wire_api(here):
    """The API endpoint; it accepts any colour, while the dropdown only has those of the chosen style."""
    names = [gr.Textbox(value, visible=False, label=label) for label, value in API_OPTIONS.items()]
    everyone = gr.Checkbox(True, visible=False, label="everyone")
    seed = gr.Number(0, visible=False, precision=0, label="seed")
    picture = gr.Image(type="filepath", format="png", visible=False, label="result")
    region = gr.Image(type="filepath", format="png", visible=False, label="region")
    tools.endpoint(
        worn_files, [here.photo, *names, everyone, seed], [picture, region, gr.JSON(visible=False, label="faces")],
        "wear", "Put on masks by rule: the masked photo, its region (255 where covered) and each face's box.",
    )  # fmt: skip


def show(path, style, colour, worn, everyone, seed, overlay):
    """Mask an upload: a problem, or the status line, the slider, the download and what the slider shows."""
    start = time.perf_counter()
    if colour not in COLOURS.get(style, ()):
        colour = "random"  # of another style: the page is about to reset it
    try:
        image, drawn, masked = _masked(path, style, colour, worn, everyone, seed)
        after = photos.save_like(drawn, path, "masked", image)
    except MaskHubError as error:
        return photos.problem(error), *CLEARED
    seconds = time.perf_counter() - start
    region = photos.save_png(region_image(masked.region), path, "region")
    result = {"before": photos.viewable(path, image), "after": after, "region": region}
    # slider left of the first masked face
    line = min(face["box"][0] for face in masked.faces if face["mask_box"])
    line = max(0, min(95, 100 * line / image.width - LEAD))
    slider = gr.update(value=_pair(result, overlay), slider_position=line)
    text = f"{_said(masked.faces)}, {seconds:.1f} s."
    return "", photos.done(text), slider, gr.update(value=after, interactive=True), result


def worn_files(photo, style="random", colour="random", worn="correctly", everyone=True, seed=0):
    """The API's result: the masked photo, the region and the record of each face."""
    image, after, masked = _masked(photo, style, colour, worn, everyone, seed)
    region = photos.save_png(region_image(masked.region), photo, "region")
    return photos.save_png(after, photo, "masked", like=image), region, masked.faces


def _masked(path, style, colour, worn, everyone, seed):
    """The photo, the masked one, and what was drawn."""
    image = photos.read(path)
    rgb, alpha = split_alpha(image)
    wearing = Wearing(style=style, seed=int(seed or 0), colour=colour, worn=worn, bare_only=True)
    try:
        masked = mask_faces(np.asarray(rgb), wearing, "", not everyone)
    except NoFaceError as error:
        raise NoFaceError(WORN_ALREADY if "--force" in str(error) else str(error)) from error
    after = Image.fromarray(masked.image)
    if alpha is not None:
        after.putalpha(alpha)
    return image, mark(after, Provenance("mask", RULE)), masked


def _colours(style):
    return [("Any", "random"), *((name.capitalize(), name) for name in COLOURS.get(style, ()))]


def _said(faces):
    """The masks in words."""
    masked = [face for face in faces if face["mask_box"]]
    count = f"{len(masked)} of {len(faces)} faces" if len(faces) > 1 else "One face"
    kinds = {
        f"{face['colour']} {NAMES[face['style']].lower() if face['style'] != 'kn95' else 'KN95'}" for face in masked
    }
    return f"{count} masked: {', '.join(sorted(kinds))}"


def _pair(result, overlay):
    """The slider's two pictures."""
    if result is None:
        return None
    after = result["after"]
    if overlay:
        with open_image(after) as image, open_image(result["region"]) as region:
            weight = np.asarray(region, np.float32)[..., None] * (0.6 / 255)
            mixed = np.asarray(image.convert("RGB"), np.float32)
            tinted = Image.fromarray(np.rint(mixed + (TINT - mixed) * weight).astype(np.uint8))
            after = photos.save_like(mark(tinted, read_provenance(image)), after, "region", image)
    return result["before"], after
