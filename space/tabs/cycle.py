"""A photo there and back again, and how far what comes back is from what was sent."""

import gradio as gr

from maskhub.errors import MaskHubError
from space import photos

__all__ = ["TITLE", "build"]

TITLE = "Cycle"
STARTS = [("Mask on → off", "mask"), ("Mask off → on", "unmask")]
LABELS = {"mask": ("Mask put on", "And taken off again"), "unmask": ("Mask taken off", "And put on again")}
MEANING = (
    (4, "hardly a difference to be seen"),
    (10, "close, with small differences"),
    (20, "alike, with differences that are easy to see"),
    (float("inf"), "much of the face was lost on the way"),
)


def build(pipe):
    """The tab, for a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline` that has both generators."""
    gr.Markdown("Send a face there and back, and see how much of it survives: that is what CycleGAN learns from.")
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=300):
            photo = photos.photo_input("cycle-photo", height=360)
            start = gr.Radio(STARTS, value="mask", show_label=False, container=False, elem_id="cycle-start")
            run = gr.Button("There and back", variant="primary", elem_id="cycle")
            problem = photos.line("cycle-problem")
            photos.examples(photo)
        with gr.Column(scale=2, min_width=300):
            with gr.Row():
                there, back = _picture("There", "cycle-there"), _picture("And back", "cycle-back")
            status = photos.line("cycle-status")
            gr.Markdown(
                "The *cycle error* is the mean difference between the face that was sent and the one that came back, "
                "in steps of 8-bit colour from 0 to 255. A small one does not say that the picture half-way is good.",
                elem_classes="note",
            )
    error, seen = gr.Number(visible=False, label="error"), gr.State(())
    results, cleared = [status, there, back], ("", None, None)

    def cycle(path, start):
        """The files there and back, and each face's error."""
        image = photos.read(path)
        output = pipe.cycle(image, start, details=True)
        there = photos.save_png(output.there[0], path, "there", like=image)
        return there, photos.save_png(output.images[0], path, "back", like=image), output.cycle_errors[0]

    def show(path, start):
        try:
            there, back, errors = cycle(path, start)
        except MaskHubError as error:
            return photos.problem(error), *cleared
        there_label, back_label = LABELS[start]
        return (
            "",
            photos.done(_verdict(errors)),
            gr.update(value=there, label=there_label),
            gr.update(value=back, label=back_label),
        )

    def files(photo, start="mask"):
        try:
            there, back, errors = cycle(photo, start)
        except MaskHubError as error:
            raise gr.Error(photos.words(error), print_exception=False) from error
        return there, back, round(_mean(errors), 3)

    run.click(
        photos.about(show),
        [photo, seen, start],
        [problem, *results, seen],
        show_progress_on=[there, back],
        concurrency_id="model",
        api_visibility="private",
    ).then(None, js=photos.scroll_to("cycle-there", "cycle-problem"), api_visibility="private")
    gr.Button(visible=False).click(
        files,
        [photo, start],
        [there, back, error],
        concurrency_id="model",
        api_name="cycle",
        api_description="Translate there and back. The error is the mean change of the faces, from 0 to 255.",
    )
    photos.watch(photo, problem, results, cleared, seen)


def _picture(label, elem_id):
    return gr.Image(
        type="filepath",
        format="png",
        interactive=False,
        buttons=["download", "fullscreen"],
        label=label,
        elem_id=elem_id,
        height=360,
        min_width=240,
    )


def _mean(errors):
    return sum(errors) / len(errors)


def _verdict(errors):
    mean = _mean(errors)
    meaning = next(text for limit, text in MEANING if mean < limit)
    faces = "" if len(errors) == 1 else f" (mean of {len(errors)} faces)"
    return f"Cycle error {mean:.1f} of 255{faces}: {meaning}."
