"""A mask drawn by rule on every face of a photo, in a style, colour and way of wearing that the visitor picks."""

import time

import gradio as gr
import numpy as np
from PIL import Image

from maskhub.data.masked import Wearing, mask_faces, region_image
from maskhub.errors import MaskHubError
from maskhub.faces.photo import split_alpha
from maskhub.image_file import open_image
from maskhub.masks import COLOURS, STYLES, WORN
from maskhub.provenance import RULE, Provenance, mark, read_provenance
from space import photos

__all__ = ["TITLE", "build"]

TITLE = "Wear a mask"
NAMES = {
    "surgical": "Surgical",
    "kn95": "KN95 / FFP2",
    "cup": "Cup respirator",
    "cloth": "Cloth",
    "patterned": "Patterned cloth",
    "neoprene": "Neoprene",
}
STYLE_CHOICES = [("Surprise me", "random"), *((NAMES.get(name, name.capitalize()), name) for name in STYLES)]
WORN_CHOICES = [("Correctly", "correctly"), *((name.replace("-", " ").capitalize(), name) for name in WORN[1:])]
WHO_CHOICES = [("Everyone", True), ("The largest face", False)]
API_OPTIONS = {"style": "random", "colour": "random", "worn": "correctly"}
TINT = np.array([214, 0, 147], np.float32)
"""The colour of the region's overlay: one that neither skin nor masks have."""


def build(pipe):
    """The tab; it needs no pipeline."""
    gr.Markdown(
        "Put a mask on by rule, not by a neural network: pick what is worn. All else in the photo stays as it is."
    )
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            photo = photos.photo_input("wear-photo", height=320)
            with gr.Row(elem_classes="pair"):
                style = gr.Dropdown(STYLE_CHOICES, value="random", label="Style", elem_id="wear-style", min_width=120)
                colour = gr.Dropdown(
                    _colours("random"), value="random", label="Colour", elem_id="wear-colour", min_width=120
                )
            with gr.Row(elem_classes="pair"):
                worn = gr.Dropdown(WORN_CHOICES, value=WORN[0], label="Worn", elem_id="wear-worn", min_width=120)
                everyone = gr.Dropdown(WHO_CHOICES, value=True, label="Who", elem_id="wear-who", min_width=120)
            with gr.Row(elem_classes="pair"):
                run = gr.Button("Wear it", variant="primary", elem_id="wear", min_width=120)
                another = gr.Button("Another one", elem_id="wear-another", min_width=120)
            problem = photos.line("wear-problem")
            photos.examples(photo)
        with gr.Column(min_width=300):
            slider = photos.before_and_after("wear-result")
            status = photos.line("wear-status")
            with gr.Row(equal_height=True, elem_classes="pair"):
                overlay = gr.Checkbox(label="Show region", elem_id="wear-region", min_width=120, container=False)
                download = gr.DownloadButton("Download PNG", interactive=False, elem_id="wear-download", min_width=120)
    seed, result, seen = gr.State(0), gr.State(time_to_live=3000), gr.State(())
    results, cleared = [status, slider, download, result], ("", None, gr.update(value=None, interactive=False), None)
    choices = [photo, seen, style, colour, worn, everyone, seed]

    def make(path, style, colour, worn, everyone, seed):
        """The masked photo, the region and the record of each face."""
        image = photos.read(path)
        rgb, alpha = split_alpha(image)
        masked = mask_faces(
            np.asarray(rgb), Wearing(style=style, seed=int(seed), colour=colour, worn=worn), "", not everyone
        )
        after = Image.fromarray(masked.image)
        if alpha is not None:
            after.putalpha(alpha)
        after = mark(after, Provenance("mask", RULE))
        return image, photos.save_png(after, path, "masked", like=image), masked

    def show(path, style, colour, worn, everyone, seed, overlay):
        start = time.perf_counter()
        try:
            image, after, masked = make(path, style, colour, worn, everyone, seed)
        except MaskHubError as error:
            return photos.problem(error), *cleared
        seconds = time.perf_counter() - start
        region = photos.save_png(region_image(masked.region), path, "region")
        result = {"before": photos.viewable(path, image), "after": after, "region": region}
        # the line through the one face that is masked, or before the first of several
        boxes = [face["box"] for face in masked.faces if face["mask_box"]]
        line = boxes[0][0] + boxes[0][2] / 2 if len(boxes) == 1 else min(box[0] for box in boxes)
        line = max(0, min(100, 100 * line / image.width))
        slider = gr.update(value=_pair(result, overlay), slider_position=line)
        text = f"{_said(masked.faces)}, {seconds:.1f} s."
        return "", photos.done(text), slider, gr.update(value=after, interactive=True), result

    def files(photo, style="random", colour="random", worn="correctly", everyone=True, seed=0):
        try:
            _, after, masked = make(photo, style, colour, worn, everyone, seed)
        except MaskHubError as error:
            raise gr.Error(photos.words(error), print_exception=False) from error
        return after, photos.save_png(region_image(masked.region), photo, "region"), masked.faces

    shown = {"show_progress_on": slider, "concurrency_id": "model", "api_visibility": "private"}
    scroll = photos.scroll_to("wear-result", "wear-problem")
    show, into = photos.about(show), [problem, *results, seen]
    run.click(show, [*choices, overlay], into, **shown).then(None, js=scroll, api_visibility="private")
    another.click(lambda seed: seed + 1, seed, seed, queue=False, api_visibility="private").then(
        show, [*choices, overlay], into, **shown
    ).then(None, js=scroll, api_visibility="private")
    style.input(
        lambda style: gr.update(choices=_colours(style), value="random"),
        style,
        colour,
        queue=False,
        api_visibility="private",
    )
    picture = gr.Image(type="filepath", format="png", visible=False, label="result")
    region = gr.Image(type="filepath", format="png", visible=False, label="region")
    faces = gr.JSON(visible=False, label="faces")
    # scripts name any colour at once, where the dropdown knows those of its style alone
    names = [gr.Textbox(value, visible=False, label=label) for label, value in API_OPTIONS.items()]
    everybody = gr.Checkbox(True, visible=False, label="everyone")
    number = gr.Number(0, visible=False, precision=0, label="seed")
    gr.Button(visible=False).click(
        files,
        [photo, *names, everybody, number],
        [picture, region, faces],
        concurrency_id="model",
        api_name="wear",
        api_description="Put a mask on by rule: the masked photo, its region (255 where covered) and each face's box.",
    )
    photos.watch(photo, problem, results, cleared, seen)
    overlay.input(_pair, [result, overlay], slider, show_progress="hidden", api_visibility="private")


def _colours(style):
    return [("Surprise me", "random"), *((name.capitalize(), name) for name in COLOURS.get(style, ()))]


def _said(faces):
    """What is worn, in words."""
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
            after = photos.save_png(mark(tinted, read_provenance(image)), after, "region", like=image)
    return result["before"], after
