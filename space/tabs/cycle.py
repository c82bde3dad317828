"""Translate a photo and back, and show how much it changed."""

from functools import partial
from statistics import mean
from types import SimpleNamespace

import gradio as gr

from maskhub.errors import MaskHubError, NoFaceError, NothingToDoError
from space import photos, tools

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Cycle"
STARTS = [("Mask on → off", "mask"), ("Mask off → on", "unmask")]
LABELS = {"mask": ("Mask put on", "And taken off again"), "unmask": ("Mask taken off", "And put on again")}
INSTEAD = {
    "mask": "No mask is worn in this photo, so one was put on first.",
    "unmask": "A mask is already worn in this photo, so it was taken off first.",
}
MEANING = (
    (4, "hardly any difference"),
    (10, "close, with small differences"),
    (20, "similar, with visible differences"),
    (float("inf"), "much of the face was lost"),
)
CLEARED = ("", None, None)
"""Status line and pictures without a result."""


def layout(pipe):
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown("Translate a face and back, and see how much of it survives. CycleGAN learns from this difference.")
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=300):
            here.photo = photos.photo_input("cycle-photo", height=360)
            here.start = gr.Radio(
                STARTS, value="mask", label="start", show_label=False, container=False, elem_id="cycle-start"
            )
            here.run = gr.Button("Round trip", variant="primary", elem_id="cycle")
            here.problem = photos.line("cycle-problem")
            here.examples = photos.examples("cycle-examples")
        with gr.Column(scale=2, min_width=300):
            with gr.Row():
                here.there, here.back = _picture("Translated", "cycle-there"), _picture("And back", "cycle-back")
            here.status = photos.line("cycle-status")
            gr.Markdown(
                "The *cycle error* is the mean difference between the original face and the one that comes back, "
                "in 8-bit colour from 0 to 255. A small error does not mean that the picture in between is good.",
                elem_classes="note",
            )
    here.error, here.seen = gr.Number(visible=False, label="error"), gr.State(())
    return here


def wire(here, pipe):
    """Connect the components to the handlers."""
    results = [here.status, here.there, here.back]
    picked = photos.on_example(here.examples, here.photo)
    photos.on_run(
        (here.run.click, picked.then), partial(show, pipe), [here.photo, here.seen, here.start],
        [here.problem, *results, here.start, here.seen], [here.there, here.back], ("cycle-there", "cycle-problem"),
    )  # fmt: skip
    tools.endpoint(
        partial(cycled, pipe), [here.photo, here.start], [here.there, here.back, here.error], "cycle",
        "Translate a photo and back. The error is the mean change of the faces, from 0 to 255.",
    )  # fmt: skip
    photos.watch(here.photo, here.problem, results, CLEARED, here.seen)


def show(pipe, path, start):
    """Translate an upload and back: a problem, or the status line and both pictures; then the start, if the other one
    had to be taken."""
    try:
        there, back, errors, taken = _either(pipe, path, start)
    except MaskHubError as error:
        return photos.problem(error), *CLEARED, gr.skip()
    there_label, back_label = LABELS[taken]
    pictures = gr.update(value=there, label=there_label), gr.update(value=back, label=back_label)
    if taken == start:
        return "", photos.done(_verdict(errors)), *pictures, gr.skip()
    return "", photos.done(f"{INSTEAD[taken]} {_verdict(errors)}"), *pictures, taken


def _either(pipe, path, start):
    """:func:`_cycle`, from the other start if no face needs this one; and which start it was."""
    try:
        return *_cycle(pipe, path, start), start
    except NothingToDoError as error:
        other = "unmask" if start == "mask" else "mask"
        try:
            return *_cycle(pipe, path, other), other
        except NoFaceError:
            raise error from None


def cycled(pipe, photo, start="mask"):
    """The API's result: both files and the error."""
    there, back, errors = _cycle(pipe, photo, start)
    return there, back, round(mean(errors), 3)


def _cycle(pipe, path, start):
    """The files of both translations, and the error of each face."""
    image = photos.read(path)
    output = pipe.cycle(image, start, details=True)
    there = photos.save_png(output.there[0], path, "there", like=image)
    return there, photos.save_png(output.images[0], path, "back", like=image), output.cycle_errors[0]


def _picture(label, elem_id):
    return gr.Image(
        type="filepath", format="png", interactive=False, buttons=["download", "fullscreen"], label=label,
        elem_id=elem_id, height=360, min_width=240,
    )  # fmt: skip


def _verdict(errors):
    meaning = next(text for limit, text in MEANING if mean(errors) < limit)
    faces = "" if len(errors) == 1 else f" (mean of {len(errors)} faces)"
    return f"Cycle error {mean(errors):.1f} of 255{faces}: {meaning}."
