"""Put masks on or take them off in front of the camera, frame by frame, with the frame rate."""

import base64
import binascii
import io
import time
from collections import deque
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import cv2
import gradio as gr
import numpy as np
from gradio.context import Context
from gradio.data_classes import ImageData
from PIL import Image

from maskhub.errors import MaskHubError, PhotoError
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.image_file import data_url, encoded
from maskhub.pipelines.live import FrameTranslator
from maskhub.pipelines.outcomes import described, tally
from maskhub.provenance import mark
from space import browser_edition, photos, rooms

__all__ = ["TITLE", "layout", "wire"]

TITLE = "Webcam"
WAYS = [("Swap", "auto"), ("Put on", "mask"), ("Take off", "unmask"), ("Original", "original")]
CHANGES = [way for _, way in WAYS if way != "original"]
WIDTH, HEIGHT = 640, 480
"""Maximum size of a frame; larger ones are scaled down."""
TURN = 60
"""Seconds of work after which the camera stops, to give the next visitor a turn."""
EVERY = 0.05
"""Seconds between frames that the browser sends; frames that arrive during work on another one are dropped."""
QUALITY = 85
LAST, OFF = 20, 5
"""Frames over which the rate is measured, and seconds without frames after which the camera counts as off."""

ASK_EVERY = 2
"""Seconds between two questions of a page for its place in the queue."""

ABOUT = f"""Frames are sent to this app, changed and sent back; none is stored. One visitor at a time has {TURN}
seconds; the others wait. What appears under a mask is **invented** and must not be used to impersonate someone. A
snapshot is deleted within an hour."""


class CameraInput(gr.Image):
    """A camera whose frames arrive undecoded: gradio would let Pillow try all its decoders."""

    is_template = True  # in the browser it is a plain Image

    def preprocess(self, payload):
        """The path of the frame, or its ``data:`` address, or ``None``."""
        return (payload.url or payload.path) if payload else None


def decoded(frame):
    """A frame from :class:`CameraInput` or :class:`LiveImage` as a :class:`Live` picture; PhotoError if it is not a
    picture."""
    if frame.startswith("data:"):
        try:
            frame = io.BytesIO(base64.b64decode(frame.partition(",")[2], validate=True))
        except binascii.Error as error:
            raise PhotoError("this camera frame is not base64.") from error
    photo = open_photo(frame)
    comment = photo.info.get("comment", "")
    way = comment.decode("ascii", "replace") if isinstance(comment, bytes) else comment  # a PNG's is text
    return Live(np.asarray(split_alpha(photo)[0]), way if way in CHANGES else None)


class Live(NamedTuple):
    """A live picture, uint8 RGB H×W×3, and the way in which it was changed, as in :data:`WAYS`; None if it wasn't."""

    pixels: np.ndarray
    way: str | None = None


class LiveImage(gr.Image):
    """A picture that is embedded in the response: a stream of files would fill the disk and store faces. The JPEG's
    comment is the way in which it was changed, for the snapshot."""

    is_template = True  # in the browser it is a plain Image

    def preprocess(self, payload):
        """Its ``data:`` address, or ``None``."""
        return payload.url if payload else None

    def postprocess(self, value):
        """A :class:`Live` picture as a JPEG in a ``data:`` address."""
        if value is None:
            return None
        data = encoded(Image.fromarray(value.pixels), "JPEG", quality=QUALITY, comment=value.way or "")
        return ImageData(url=data_url(data), orig_name="frame.jpg")


class Session:
    """The session of one camera: a translator for the chosen direction, and the times of the frames."""

    def __init__(self, pipe):
        self.pipe, self.way, self.translator = pipe, None, None
        self.ends, self.works, self.spent = deque(maxlen=LAST + 1), deque(maxlen=LAST), 0.0

    def __call__(self, frame, way):
        """One frame, uint8 RGB H×W×3, as a :class:`Live` picture, and a line about it."""
        start = time.perf_counter()
        if self.ends and start - self.ends[-1] > OFF:
            self.ends.clear()
            self.works.clear()
        frame = fitted(frame)
        if way != self.way:
            self.translator = None if way == "original" else FrameTranslator(self.pipe, way)
            self.way = way  # last: a way that the pipeline lacks is an error at every frame
        if self.translator is None:
            seen, made = "", frame
        else:
            made = self.translator(frame, start)
            seen = f" · {described(tally(self.translator.faces))}"
        end = time.perf_counter()
        self.ends.append(end)
        self.works.append(end - start)
        self.spent += end - start
        work = 1000 * sum(self.works) / len(self.works)
        rate = (len(self.ends) - 1) / (end - self.ends[0]) if len(self.ends) > 1 else 0.0
        left = max(0.0, TURN - self.spent)
        live = Live(made, None if made is frame else way)
        return live, f"{rate:.1f} frames/s · {work:.0f} ms each · {left:.0f} s left{seen}"

    def __deepcopy__(self, memo):  # gradio copies a state's initial value; the networks are shared
        return Session(self.pipe)


def fitted(frame):
    """Scale a frame down to at most 640×480, keeping its proportions."""
    scale = min(1.0, WIDTH / frame.shape[1], HEIGHT / frame.shape[0])
    if scale == 1:
        return frame
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def layout(pipe):
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    with gr.Row(equal_height=False, elem_classes="workbench"):
        with gr.Column(min_width=300):
            here.way = gr.Radio(WAYS, value="auto", show_label=False, container=False, elem_id="webcam-way")
            size = {"width": {"ideal": WIDTH}, "height": {"ideal": HEIGHT}}
            here.camera = CameraInput(
                sources=["webcam"], streaming=True, type="numpy", label="Your camera", height=360, buttons=[],
                placeholder="Click here, then press Start", elem_id="webcam-camera", elem_classes="photo",
                webcam_options=gr.WebcamOptions(mirror=True, constraints={"video": size}),
            )  # fmt: skip
            here.problem = photos.line("webcam-problem")
            gr.Markdown(ABOUT, elem_classes="note")
        with gr.Column(min_width=300):
            here.result = LiveImage(
                label="Live result", type="numpy", interactive=False, height=360, buttons=["fullscreen"],
                elem_id="webcam-result", elem_classes="compared",
            )  # fmt: skip
            here.rate = photos.line("webcam-rate")
            here.snap = gr.Button("Take a snapshot", elem_id="webcam-snap")
            here.snapshot = gr.Image(
                label="Snapshot", type="filepath", format="jpeg", interactive=False, visible=False, height=240,
                buttons=["download", "fullscreen"], elem_id="webcam-snapshot",
            )  # fmt: skip
    if browser_edition.folder():
        with gr.Accordion("Or on your own device: no frame leaves it, no waiting", open=False, elem_id="webcam-own"):
            browser_edition.camera(elem_id="webcam-browser")
    here.session = gr.State(time_to_live=3000)
    here.timer = gr.Timer(ASK_EVERY, active=False)
    return here


def wire(here, pipe):
    """Connect the camera to its handler."""
    quiet = rooms.quiet
    here.camera.stream(
        partial(step, pipe), [here.camera, here.way, here.session],
        [here.problem, here.result, here.rate, here.session], stream_every=EVERY, time_limit=TURN,
        concurrency_limit=1, concurrency_id="webcam", show_progress="hidden", api_visibility="private",
    ).then(ended, here.session, [here.result, here.rate, here.session], **quiet)  # fmt: skip
    root = Context.root_block

    def waiting(request: gr.Request):
        return wait_words(root._queue.place(request.session_hash, "webcam"))

    here.timer.tick(waiting, None, here.rate, **rooms.once)
    here.snap.click(
        partial(snapshot, pipe), here.result, [here.problem, here.snapshot], **quiet
    ).then(None, js=photos.scroll_to("webcam-snapshot", "webcam-problem"), api_visibility="private")  # fmt: skip


def step(pipe, frame, way, session):
    """Translate one frame: a problem, the picture, the rate and the session."""
    if frame is None:
        return gr.skip(), gr.skip(), gr.skip(), session
    session = session or Session(pipe)
    try:
        frame = decoded(frame).pixels
    except MaskHubError as error:
        return photos.problem(error), gr.skip(), "", session
    try:
        live, text = session(frame, way)
    except MaskHubError as error:
        return photos.problem(error), Live(fitted(frame)), "", session
    return "", live, photos.done(text), session


def ended(session):
    """The camera was stopped, or its turn is over: no frame and no rate stay on the page."""
    if session is None:
        return None, "", None
    over = session.spent >= TURN
    text = f"Your {TURN} seconds are over: press Start for another turn." if over else "Stopped."
    return None, photos.done(text), None


def wait_words(place):
    """An update of the rate line for a page that waits, from :meth:`space.fair_queue.FairQueue.place`."""
    if place is None or not place[0]:  # its turn begins
        return gr.skip()
    before, seconds = place
    others = "one other visitor is" if before == 1 else f"{before} other visitors are"
    return photos.notice([f"The camera is in use: {others} ahead of you, it is your turn in {seconds:.0f} s or less."])


def snapshot(pipe, frame):
    """The live picture as a file, with its provenance if it was changed: a problem, and the picture."""
    try:
        if not frame:
            raise PhotoError("there is no live picture: press Start first.")
        live = decoded(frame)
    except MaskHubError as error:
        return photos.problem(error), gr.skip()
    picture = Image.fromarray(live.pixels)
    if live.way:
        picture = mark(picture, pipe.provenance(live.way))
    return "", gr.update(value=photos.save_jpeg(picture, "snapshot"), visible=True)
