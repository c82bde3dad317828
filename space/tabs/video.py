"""Put masks on everyone in a short film, or take them off; the sound is kept."""

import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
from gradio.utils import get_upload_folder

from maskhub.errors import MaskHubError, VideoError
from maskhub.pipelines.film_reading import film_facts
from maskhub.pipelines.live import FrameTranslator
from maskhub.pipelines.outcomes import Outcome, frames_left
from maskhub.pipelines.video import Film
from space import photos

__all__ = ["TITLE", "build"]

TITLE = "Video"
WAYS = [("Put masks on", "mask"), ("Take masks off", "unmask")]
SAID = {"mask": "Masks put on", "unmask": "Masks taken off"}
MOST_SECONDS, MOST_SIDE, MOST_RATE = 30, 1920, 60
"""Limits of a film: length, longer side of the frame in pixels, and frames per second."""
TELL_EVERY = 0.5
"""Seconds between two updates of the progress."""

ABOUT = f"""A film of at most {MOST_SECONDS} seconds, {MOST_SIDE} pixels and 20 MB (MP4, MOV, WebM, MKV, ...). Films are
processed one at a time. The metadata of the result says that maskhub made it. Unmasked faces are **invented**: they are
no evidence of what anyone looks like, and must not be passed off as real. Films are deleted within an hour."""


def build(pipe):
    """The tab, for a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`."""
    wire(layout(), pipe)


def layout():
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown("Put a face mask on everyone in a short film, or take the masks off.")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            here.film = gr.Video(
                sources=["upload"], include_audio=True, label="Your film", height=360, buttons=[], elem_id="video-film"
            )
            here.way = gr.Radio(WAYS, value="mask", show_label=False, container=False, elem_id="video-way")
            with gr.Row(elem_classes="pair"):
                here.run = gr.Button("Begin", variant="primary", elem_id="video", min_width=120)
                here.cancel = gr.Button(
                    "Cancel", variant="stop", interactive=False, elem_id="video-cancel", min_width=120
                )
            here.problem = photos.line("video-problem")
        with gr.Column(min_width=300):
            here.result = gr.Video(
                interactive=False, label="Result", height=360, buttons=["download"], elem_id="video-result"
            )
            here.status = photos.line("video-status")
            gr.Markdown(ABOUT, elem_classes="note")
    return here


def wire(here, pipe):
    """Connect the components to the handlers."""
    outputs = [here.problem, here.status, here.result, here.run, here.cancel]
    working = here.run.click(
        partial(show, pipe),
        [here.film, here.way],
        outputs,
        show_progress="hidden",
        concurrency_limit=1,
        concurrency_id="video",
        api_visibility="private",
    )
    working.then(None, js=photos.scroll_to("video-result", "video-problem"), api_visibility="private")
    # sent last: a progress update after it would leave Begin disabled
    here.cancel.click(None, None, None, cancels=working, queue=False, api_visibility="private").then(
        lambda: ("", photos.done("Cancelled."), None, *_buttons(False)), None, outputs, queue=False,
        api_visibility="private",
    )  # fmt: skip
    here.film.change(lambda: ("", "", None), None, outputs[:3], queue=False, api_visibility="private")


def show(pipe, path, way):
    """Translate a film; yields a problem, the status line, the result and the buttons until it is done."""
    yield "", _bar(0, 0), None, *_buttons(True)
    start = told = time.perf_counter()
    try:
        if not path:
            raise VideoError("There is no film yet: upload one.")
        check(path)
        # in a folder that the app cleans up
        target = Path(tempfile.mkdtemp(dir=get_upload_folder())) / f"{Path(path).stem[:80]}-{way}ed.mp4"
        translator = FrameTranslator(pipe, way)
        work = Film(path, target, translator, pipe.provenance(way))
        for done in work:
            if time.perf_counter() - told > TELL_EVERY:
                told = time.perf_counter()
                yield "", _bar(done, work.total, told - start), None, *_buttons(True)
    except MaskHubError as error:
        # visitors know the film by its original name
        error = VideoError(str(error).replace(str(path), f"“{Path(path or '').name}”"))
        yield photos.problem(error), "", None, *_buttons(False)
        return
    text = _said(way, work.report, translator.outcomes, time.perf_counter() - start)
    yield "", photos.done(text), str(target), *_buttons(False)


def check(path):
    """Raise VideoError if a film exceeds the limits, worded for visitors."""
    facts = film_facts(path)
    rate = facts.frames / facts.seconds if facts.seconds else 0.0
    if facts.seconds > MOST_SECONDS + 0.5:
        raise VideoError(f"This film lasts {facts.seconds:.0f} seconds: cut it to {MOST_SECONDS} or less.")
    if max(facts.width, facts.height) > MOST_SIDE:
        raise VideoError(f"This film is {facts.width}×{facts.height}: scale it to {MOST_SIDE} pixels a side or less.")
    if rate > MOST_RATE + 1 or facts.frames > MOST_SECONDS * MOST_RATE:
        raise VideoError(f"This film has {rate:.0f} frames a second: at most {MOST_RATE} are allowed.")


def _bar(done, total, seconds=0.0):
    share = min(done / total, 1) if total else 0
    rest = f", about {seconds / done * max(total - done, 0):.0f} s to go" if done and total else ""
    said = f"Frame {done} of {total or 'an unknown number'}{rest}" if done else "Beginning ..."
    return photos.bar(share, "Progress") + photos.done(said)


def _said(way, report, outcomes, seconds):
    text = f"{SAID[way]}: a face in {report.with_faces} of {report.frames} frames, {seconds:.1f} s"
    text += f" ({report.frames / seconds:.1f} frames/s)."
    text += "".join(f" {clause[0].upper()}{clause[1:]}." for clause in frames_left(outcomes))
    if way == "unmask" and outcomes[Outcome.CHANGED]:
        text += " What appears under masks is invented."
    return text


def _buttons(working):
    """Updates of Begin and Cancel."""
    return gr.update(interactive=not working), gr.update(interactive=working)
