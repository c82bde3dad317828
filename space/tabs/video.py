"""Put masks on everyone in a short film, or take them off; the sound is kept."""

import shutil
import tempfile
import time
from dataclasses import dataclass
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

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Video"
WAYS = [("Swap masks", "auto"), ("Put masks on", "mask"), ("Take masks off", "unmask")]
DONE = {"auto": "Masks swapped", "mask": "Masks put on", "unmask": "Masks taken off"}
MOST_SECONDS, MOST_FRAMES, MOST_SIDE = 30, 1800, 1280
"""Limits of a film: seconds, frames, and the longer side in pixels to which its frames are scaled down."""
TELL_EVERY = 0.5
"""Seconds between two updates of the progress."""

ABOUT = f"""Films of up to {MOST_SECONDS} seconds and 200 MB (MP4, MOV, WebM, MKV, ...); large ones are scaled down to
{MOST_SIDE} pixels. The sound is kept. Films are processed one at a time and deleted within an hour. What appears under
a mask is **invented**, and must not be passed off as real; the result's metadata says that maskhub made it."""


def layout(pipe):
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    with gr.Row(equal_height=False, elem_classes="workbench"):
        with gr.Column(min_width=300):
            here.film = gr.Video(
                sources=["upload"], include_audio=True, label="Your film", height=340, buttons=[], elem_id="video-film",
                elem_classes="photo",
            )  # fmt: skip
            here.way = gr.Radio(WAYS, value="auto", show_label=False, container=False, elem_id="video-way")
            with gr.Row(elem_classes="pair"):
                here.run = gr.Button("Start", variant="primary", elem_id="video", min_width=110)
                here.cancel = gr.Button("Cancel", interactive=False, elem_id="video-cancel", min_width=110)
            here.problem = photos.line("video-problem")
            here.example = gr.Button("Try the example: a clip of three people", elem_id="video-example")
            gr.Markdown(ABOUT, elem_classes="note")
        with gr.Column(min_width=300):
            here.result = gr.Video(
                interactive=False, label="Film with swapped masks", height=340, buttons=["download"],
                elem_id="video-result", elem_classes="compared",
            )  # fmt: skip
            here.status = photos.line("video-status")
    return here


def wire(here, pipe):
    """Connect the components to the handlers.

    gradio ignores clicks on a button whose event is still pending, and a cancelled one (``cancels=``) stays pending for
    a while after the page has moved on. So every click counts (``multiple``), and a film is stopped by its
    :class:`Job`.
    """
    here.job = gr.State()
    outputs = [here.problem, here.status, here.result, here.run, here.cancel]
    private = {"api_visibility": "private"}
    event = {"show_progress": "hidden", "trigger_mode": "multiple", **private}
    at_once, in_turn = {"queue": False, **event}, {"concurrency_limit": 1, "concurrency_id": "video", **event}
    picked = here.example.click(_example, None, here.film, **at_once)
    for clicked in (here.run.click, picked.then):
        begun = clicked(begin, [here.film, here.way, here.job], [here.job, *outputs], **at_once)
        shown = begun.success(partial(show, pipe), here.job, outputs, **in_turn)
        shown.failure(partial(stop, ("", "", None, *_buttons(False))), here.job, outputs, **at_once)
        shown.then(None, js=photos.scroll_to("video-result", "video-problem"), **private)
    cancelled = "", photos.done("Cancelled."), None, *_buttons(False)
    here.cancel.click(partial(stop, cancelled), here.job, outputs, **at_once)
    # another film, or none: the old one's result must not appear
    for changed in (here.film.upload, here.film.clear):
        how = at_once | {"trigger_mode": "always_last"}
        changed(lambda path, job: stop(about(path), job), [here.film, here.job], outputs, **how)


@dataclass
class Job:
    """A film that a visitor has begun: its ``path``, and the ``way``, the direction. Once :func:`show` has ``taken``
    it, it runs; if a visitor clicks while a job waits, the newest one is taken in its place. Once it is stopped, the
    page shows ``ending`` instead of a result."""

    path: str
    way: str
    taken: bool = False
    ending: tuple | None = None


def begin(path, way, before):
    """Make the :class:`Job` of a click, which replaces the one ``before``; returns it and what the page shows."""
    job, shown = Job(path, way), ("", _bar(0, 0), None, *_buttons(True))
    try:
        if not path:
            raise VideoError("There is no film yet: upload one, or try the example.")
        check(path)
    except MaskHubError as error:
        shown = job.ending = photos.problem(_named(error, path)), "", None, *_buttons(False)
    return job, *stop(shown, before)


def stop(ending, job):
    """Let a job end with its next frame, if there is one; returns what the page shows then, and until then."""
    if job is not None:
        job.ending = ending
    return ending


def about(path):
    """What is known of a new film: a problem, a line about it, no result, and the buttons."""
    if not path:
        return "", "", None, *_buttons(False)
    try:
        facts = check(path)
    except MaskHubError as error:
        return photos.problem(_named(error, path)), "", None, *_buttons(False)
    size = f"{facts.width}×{facts.height}"
    if max(facts.width, facts.height) > MOST_SIDE:
        size += f", scaled down to {MOST_SIDE}"
    # browsers record films without noting their length
    length = f"{facts.seconds:.0f} seconds, {facts.frames} frames" if facts.frames else "Length unknown"
    return "", photos.done(f"{length}, {size}."), None, *_buttons(False)


def show(pipe, job):
    """Translate a job's film; yields a problem, the status line, the result and the buttons until it is done."""
    if job is None or job.taken:  # by an earlier click
        yield (gr.skip(),) * 5
        return
    job.taken = True
    if not job.ending:
        yield from _translated(pipe, job)
    if job.ending:
        yield job.ending


def _translated(pipe, job):
    yield "", _bar(0, 0), None, *_buttons(True)
    start = told = time.perf_counter()
    try:
        # in a folder that the app cleans up
        name = f"{Path(job.path).stem[:80]}-{photos.SUFFIX[job.way]}.mp4"
        target = Path(tempfile.mkdtemp(dir=get_upload_folder())) / name
        translator = FrameTranslator(pipe, job.way)
        work = Film(job.path, target, translator, pipe.provenance(job.way), most_side=MOST_SIDE)
        for done in work:
            if job.ending:
                return
            if done > MOST_FRAMES and not work.total:
                raise VideoError(f"this film has more than {MOST_FRAMES} frames: cut it.")
            if time.perf_counter() - told > TELL_EVERY:
                told = time.perf_counter()
                yield "", _bar(done, work.total, told - start), None, *_buttons(True)
    except MaskHubError as error:
        yield photos.problem(_named(error, job.path)), "", None, *_buttons(False)
        return
    said = _said(job.way, work.report, translator.outcomes, time.perf_counter() - start)
    if translator.outcomes[Outcome.CHANGED]:
        yield "", photos.done(said), str(target), *_buttons(False)
    else:  # an unchanged film is not offered as a result
        yield photos.notice([said]), "", None, *_buttons(False)


def check(path):
    """The :class:`~maskhub.pipelines.film_reading.FilmFacts` of a film. VideoError, worded for visitors, if it exceeds
    the limits or can't be read."""
    facts = film_facts(path)
    if facts.seconds > MOST_SECONDS + 0.5:
        raise VideoError(f"this film lasts {facts.seconds:.0f} seconds: cut it to {MOST_SECONDS} or less.")
    if facts.frames > MOST_FRAMES:
        raise VideoError(f"this film has {facts.frames} frames: cut it to {MOST_FRAMES} or less.")
    return facts


def _example():
    target = Path(tempfile.mkdtemp(dir=get_upload_folder())) / Path(photos.CLIP).name
    return str(shutil.copyfile(photos.CLIP, target))


def _named(error, path):
    """An error with the film's name as the visitor knows it."""
    return VideoError(str(error).replace(str(path), f"“{Path(path or '').name}”"))


def _bar(done, total, seconds=0.0):
    share = min(done / total, 1) if total else 0
    rest = f", about {seconds / done * max(total - done, 0):.0f} s to go" if done and total else ""
    said = f"Frame {done} of {total or 'an unknown number'}{rest}" if done else "Starting …"
    return photos.bar(share, "Progress") + photos.done(said)


def _said(way, report, outcomes, seconds):
    if not report.with_faces:
        return "No face was found in this film, so nothing was changed."
    changed, alone = outcomes[Outcome.CHANGED], max(outcomes[Outcome.NO_MASK], outcomes[Outcome.ALREADY_MASKED])
    if not changed and way == "unmask" and alone:
        return "Nobody in this film wears a mask, so nothing was changed. Choose Put masks on."
    if not changed and way == "mask" and alone:
        return "Everybody in this film already wears a mask, so nothing was changed. Choose Take masks off."
    if not changed:
        return "No face in this film is clear enough, so nothing was changed."
    rate = f"{seconds:.1f} s ({report.frames / seconds:.1f} frames/s)"
    text = f"{DONE[way]} in {changed} of {report.frames} frames, {rate}."
    text += "".join(f" {clause[0].upper()}{clause[1:]}." for clause in frames_left(outcomes))
    return text if way == "mask" else f"{text} What appears under a mask is invented."


def _buttons(working):
    """Updates of Start and Cancel."""
    return gr.update(interactive=not working), gr.update(interactive=working)
