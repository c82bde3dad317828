"""Put masks on the faces of a photo or take them off, and compare before and after."""

import time
from functools import partial
from types import SimpleNamespace

import gradio as gr
import numpy as np

from maskhub.errors import MaskHubError
from maskhub.image_file import open_image
from maskhub.pipelines.outcomes import described, tally
from maskhub.pipelines.outline import outline
from space import photos

__all__ = ["TITLE", "build"]

TITLE = "Translate"
SUFFIX = {"mask": "masked", "unmask": "unmasked", "auto": "translated"}
ABOUT = {
    "mask": "Put a mask on every face of a photo.",
    "unmask": "Take the masks off the faces of a photo. What appears under them is invented.",
}
CLEARED = ("", None, gr.update(value=None, interactive=False), None)
"""Status line, slider, download and result without a result."""


def build(pipe):
    """The tab, for a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`."""
    wire(layout(), pipe)


def layout():
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown("Put a face mask on everyone in a photo, or take the masks off. The rest of the photo stays unchanged.")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            here.photo = photos.photo_input("translate-photo", height=400)
            with gr.Row(elem_classes="pair"):
                here.mask = gr.Button("Put a mask on", variant="primary", elem_id="mask", min_width=120)
                here.unmask = gr.Button("Take it off", variant="primary", elem_id="unmask", min_width=120)
            here.auto = gr.Button("Automatic: take masks off, put them on unmasked faces", elem_id="automatic")
            here.problem = photos.line("translate-problem")
            photos.examples(here.photo)
        with gr.Column(min_width=300):
            here.slider = photos.before_and_after("translate-result")
            here.status = photos.line("translate-status")
            with gr.Row(equal_height=True, elem_classes="pair"):
                here.outlined = gr.Checkbox(label="Outline changes", elem_id="outline", min_width=120, container=False)
                here.download = gr.DownloadButton(
                    "Download PNG", interactive=False, elem_id="translate-download", min_width=120
                )
    # deleted no later than its files
    here.result, here.seen = gr.State(time_to_live=3000), gr.State(())
    return here


def wire(here, pipe):
    """Connect the components to the handlers."""
    results = [here.status, here.slider, here.download, here.result]
    buttons = {"mask": here.mask, "unmask": here.unmask, "auto": here.auto}
    for direction, button in buttons.items():
        button.click(
            photos.about(partial(show, pipe, direction)),
            [here.photo, here.seen, here.outlined],
            [here.problem, *results, here.seen],
            show_progress_on=here.slider,
            concurrency_id="model",
            api_visibility="private",
        ).then(None, js=photos.scroll_to("translate-result", "translate-problem"), api_visibility="private")
    api, picture = gr.Button(visible=False), gr.Image(type="filepath", format="png", visible=False, label="result")
    for direction, about in ABOUT.items():
        api.click(
            partial(translated, pipe, direction),
            here.photo,
            picture,
            concurrency_id="model",
            api_name=direction,
            api_description=about,
        )
    photos.watch(here.photo, here.problem, results, CLEARED, here.seen)
    here.outlined.input(
        pair, [here.result, here.outlined], here.slider, show_progress="hidden", api_visibility="private"
    )


def show(pipe, direction, path, outlined):
    """Translate an upload: a problem, or the status line, the slider, the download and what the slider shows."""
    start = time.perf_counter()
    try:
        image = photos.read(path)
        output = pipe(image, direction, details=True)
    except MaskHubError as error:
        return photos.problem(error), *CLEARED
    seconds, region, faces = time.perf_counter() - start, output.regions[0] > 0.5, output.faces[0]
    result = {
        "before": photos.viewable(path, image),
        "after": photos.save_png(output.images[0], path, SUFFIX[direction], like=image),
        "shape": region.shape,
        "region": np.packbits(region),
    }
    text = f"{described(tally(faces))}. {seconds:.1f} s."
    if any(face.changed and face.direction == "unmask" for face in faces):
        text += " What appears under a mask is invented."
    left, _, width, _ = faces[0].face.box
    # slider at the middle of the largest face, so that the change is visible
    slider = gr.update(value=pair(result, outlined), slider_position=100 * (left + width / 2) / image.width)
    return "", photos.done(text), slider, gr.update(value=result["after"], interactive=True), result


def translated(pipe, direction, photo):
    """The API's result: the file of the translated photo."""
    try:
        image = photos.read(photo)
        return photos.save_png(pipe(image, direction), photo, SUFFIX[direction], like=image)
    except MaskHubError as error:
        raise gr.Error(photos.words(error), print_exception=False) from error


def pair(result, outlined):
    """The slider's two pictures."""
    if result is None:
        return None
    after = result["after"]
    if outlined:
        height, width = result["shape"]
        region = np.unpackbits(result["region"], count=height * width).reshape(height, width)
        with open_image(after) as image:
            after = photos.save_png(outline(image, region), after, "outlined", like=image)
    return result["before"], after
