"""Put masks on or take them off in front of the camera, frame by frame, with the frame rate."""

import base64
import binascii
import io
import time
from collections import deque
from functools import partial
from types import SimpleNamespace

import cv2
import gradio as gr
import numpy as np
from gradio.data_classes import ImageData

from maskhub.errors import MaskHubError, PhotoError
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.pipelines.live import FrameTranslator
from maskhub.pipelines.outcomes import described, tally
from space import photos

__all__ = ["TITLE", "build"]

TITLE = "Webcam"
WAYS = [("Mask on", "mask"), ("Mask off", "unmask"), ("Original", "original")]
WIDTH, HEIGHT = 640, 480
"""Maximum size of a frame; larger ones are scaled down."""
TURN = 60
"""Seconds of work after which the camera stops, to give the next visitor a turn."""
EVERY = 0.05
"""Seconds between frames that the browser sends; frames that arrive during work on another one are dropped."""
QUALITY = 85
LAST, OFF = 20, 5
"""Frames over which the rate is measured, and seconds without frames after which the camera counts as off."""

ABOUT = f"""Choose a direction and start the camera. Frames are sent to this app, translated and sent back; none is
stored. One visitor at a time has {TURN} seconds, the others wait. Unmasked faces are **invented**: they do not show
what is under the mask, and must not be used to impersonate someone."""


class CameraInput(gr.Image):
    """A camera whose frames arrive undecoded: gradio would let Pillow try all its decoders."""

    is_template = True  # in the browser it is a plain Image

    def preprocess(self, payload):
        """The path of the frame, or its ``data:`` address, or ``None``."""
        return (payload.url or payload.path) if payload else None


def decoded(frame):
    """A frame from :class:`CameraInput` as uint8 RGB, H×W×3.

    Raises:
        PhotoError: it is not a picture.
    """
    if frame.startswith("data:"):
        try:
            frame = io.BytesIO(base64.b64decode(frame.partition(",")[2], validate=True))
        except binascii.Error as error:
            raise PhotoError("this camera frame is not base64.") from error
    return np.asarray(split_alpha(open_photo(frame))[0])


class LiveImage(gr.Image):
    """A picture that is embedded in the response: a stream of files would fill the disk and store faces."""

    is_template = True  # in the browser it is a plain Image

    def postprocess(self, value):
        """uint8 RGB, H×W×3, as a JPEG in a ``data:`` address."""
        if value is None:
            return None
        _, data = cv2.imencode(".jpg", value[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return ImageData(url="data:image/jpeg;base64," + base64.b64encode(data).decode(), orig_name="frame.jpg")


class Session:
    """The session of one camera: a translator for the chosen direction, and the times of the frames."""

    def __init__(self, pipe):
        self.pipe, self.way, self.translator = pipe, None, None
        self.ends, self.works = deque(maxlen=LAST + 1), deque(maxlen=LAST)

    def __call__(self, frame, way):
        """One frame, as uint8 RGB H×W×3, and a line about it."""
        start = time.perf_counter()
        if self.ends and start - self.ends[-1] > OFF:
            self.ends.clear()
            self.works.clear()
        frame = fitted(frame)
        if way != self.way:
            self.way = way
            self.translator = None if way == "original" else FrameTranslator(self.pipe, way)
        if self.translator is None:
            seen = ""
        else:
            frame = self.translator(frame, start)
            seen = f" · {described(tally(self.translator.faces))}"
        end = time.perf_counter()
        self.ends.append(end)
        self.works.append(end - start)
        work = 1000 * sum(self.works) / len(self.works)
        rate = (len(self.ends) - 1) / (end - self.ends[0]) if len(self.ends) > 1 else 0.0
        return frame, f"{rate:.1f} frames/s · {work:.0f} ms of work per frame{seen}"

    def __deepcopy__(self, memo):  # gradio copies a state's initial value; the networks are shared
        return Session(self.pipe)


def fitted(frame):
    """Scale a frame down to at most 640×480, keeping its proportions."""
    scale = min(1.0, WIDTH / frame.shape[1], HEIGHT / frame.shape[0])
    if scale == 1:
        return frame
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def build(pipe):
    """The tab, for a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`."""
    wire(layout(), pipe)


def layout():
    """Place the components; returns them by name."""
    here = SimpleNamespace()
    gr.Markdown("Put a mask on in front of your camera, or take it off, live.")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            here.way = gr.Radio(WAYS, value="mask", show_label=False, container=False, elem_id="webcam-way")
            here.camera = CameraInput(
                sources=["webcam"],
                streaming=True,
                type="numpy",
                label="Your camera",
                height=360,
                buttons=[],
                webcam_options=gr.WebcamOptions(
                    mirror=True, constraints={"video": {"width": {"ideal": WIDTH}, "height": {"ideal": HEIGHT}}}
                ),
                elem_id="webcam-camera",
            )
            here.problem = photos.line("webcam-problem")
        with gr.Column(min_width=300):
            here.result = LiveImage(
                label="Result",
                type="numpy",
                interactive=False,
                height=360,
                buttons=["fullscreen"],
                elem_id="webcam-result",
            )
            here.rate = photos.line("webcam-rate")
            gr.Markdown(ABOUT, elem_classes="note")
    here.session = gr.State(time_to_live=3000)
    return here


def wire(here, pipe):
    """Connect the camera to its handler."""
    here.camera.stream(
        partial(step, pipe),
        [here.camera, here.way, here.session],
        [here.problem, here.result, here.rate, here.session],
        stream_every=EVERY,
        time_limit=TURN,
        concurrency_limit=1,
        concurrency_id="webcam",
        show_progress="hidden",
        api_visibility="private",
    )


def step(pipe, frame, way, session):
    """Translate one frame: a problem, the picture, the rate and the session."""
    if frame is None:
        return gr.skip(), gr.skip(), gr.skip(), session
    session = session or Session(pipe)
    try:
        frame = decoded(frame)
    except MaskHubError as error:
        return photos.problem(error), gr.skip(), "", session
    try:
        frame, text = session(frame, way)
    except MaskHubError as error:
        return photos.problem(error), fitted(frame), "", session
    return "", frame, photos.done(text), session
