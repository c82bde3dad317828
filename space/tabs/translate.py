"""Put a mask on every face of a photo, or take it off, and compare before and after."""

import time

import gradio as gr
import numpy as np

from maskhub.errors import MaskHubError
from maskhub.image_file import open_image
from maskhub.pipelines.outcomes import described, tally
from maskhub.pipelines.outline import outline
from space import photos

__all__ = ["TITLE", "build"]

TITLE = "Translate"
SUFFIX = {"mask": "masked", "unmask": "unmasked", "automatic": "translated"}
ABOUT = {
    "mask": "Put a mask on every face of a photo.",
    "unmask": "Take the mask off every face of a photo. What lay under it is invented.",
}


def build(pipe):
    """The tab, for a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`."""
    gr.Markdown("Put a face mask on everyone in a photo, or take the masks off. All else in the photo stays as it is.")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            photo = photos.photo_input("translate-photo", height=400)
            with gr.Row(elem_classes="pair"):
                mask = gr.Button("Put a mask on", variant="primary", elem_id="mask", min_width=120)
                unmask = gr.Button("Take it off", variant="primary", elem_id="unmask", min_width=120)
            auto = gr.Button("Automatic: off where one is worn, else on", elem_id="automatic")
            problem = photos.line("translate-problem")
            photos.examples(photo)
        with gr.Column(min_width=300):
            slider = photos.before_and_after("translate-result")
            status = photos.line("translate-status")
            with gr.Row(equal_height=True, elem_classes="pair"):
                outlined = gr.Checkbox(label="Outline change", elem_id="outline", min_width=120, container=False)
                download = gr.DownloadButton(
                    "Download PNG", interactive=False, elem_id="translate-download", min_width=120
                )
    # forgotten no later than the files that it names
    result, seen = gr.State(time_to_live=3000), gr.State(())
    results, cleared = [status, slider, download, result], ("", None, gr.update(value=None, interactive=False), None)

    def show(path, outlined, direction):
        start = time.perf_counter()
        try:
            image = photos.read(path)
            output = pipe(image, "auto" if direction == "automatic" else direction, details=True)
            after, region, faces = output.images[0], output.regions[0], output.faces[0]
        except MaskHubError as error:
            return photos.problem(error), *cleared
        seconds, region = time.perf_counter() - start, region > 0.5
        result = {
            "before": photos.viewable(path, image),
            "after": photos.save_png(after, path, SUFFIX[direction], like=image),
            "shape": region.shape,
            "region": np.packbits(region),
        }
        text = f"{described(tally(faces))}. {seconds:.1f} s."
        if any(face.changed and face.direction == "unmask" for face in faces):
            text += " What lay under the mask is invented."
        left, _, width, _ = faces[0].face.box
        # the line through the middle of the largest face, so that the change shows
        slider = gr.update(value=_pair(result, outlined), slider_position=100 * (left + width / 2) / image.width)
        return "", photos.done(text), slider, gr.update(value=result["after"], interactive=True), result

    def file(path, direction):
        try:
            image = photos.read(path)
            return photos.save_png(pipe(image, direction), path, SUFFIX[direction], like=image)
        except MaskHubError as error:
            raise gr.Error(photos.words(error), print_exception=False) from error

    api = gr.Button(visible=False)
    picture = gr.Image(type="filepath", format="png", visible=False, label="result")
    for direction, button in (("mask", mask), ("unmask", unmask), ("automatic", auto)):
        button.click(
            photos.about(lambda photo, outlined, direction=direction: show(photo, outlined, direction)),
            [photo, seen, outlined],
            [problem, *results, seen],
            show_progress_on=slider,
            concurrency_id="model",
            api_visibility="private",
        ).then(None, js=photos.scroll_to("translate-result", "translate-problem"), api_visibility="private")
        if direction == "automatic":  # scripts ask the detector themselves
            continue
        api.click(
            lambda photo, direction=direction: file(photo, direction),
            photo,
            picture,
            concurrency_id="model",
            api_name=direction,
            api_description=ABOUT[direction],
        )
    photos.watch(photo, problem, results, cleared, seen)
    outlined.input(_pair, [result, outlined], slider, show_progress="hidden", api_visibility="private")


def _pair(result, outlined):
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
