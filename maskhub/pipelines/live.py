"""Masks on and off in moving pictures: faces followed, each in the same mask in every frame, without flicker.

    translator = FrameTranslator(pipe, "mask", seed=0)
    for frame, seconds in film:                # uint8 H×W×3, time of the frame
        made = translator(frame, seconds)      # as large; the frame itself where no face is

What keeps it steady: the place of a face is smoothed (:mod:`maskhub.faces.track`); each face has one seed for its mask
by rule and for the network's noise; and where the aligned face stands still, what goes into the network and what comes
out of it are averaged over the last frames. Where it moves, nothing is held back.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from maskhub.errors import ConfigError
from maskhub.faces import align
from maskhub.faces.landmarks import Landmarks, landmarks, moved_landmarks
from maskhub.faces.smooth import OneEuro
from maskhub.faces.track import FaceTracker
from maskhub.masks.wear import wear
from maskhub.pipelines.changed import changed_region, wider_for

__all__ = ["FrameTranslator", "RuleMasker", "steadied"]

MEMORY = 0.12
"""Seconds over which a face that stands still is averaged (time constant of an exponential average)."""
LEAST_AVERAGED = 0.5
"""However slow the frames come, this share at least of a still face stays as it was."""
STILL, MOVED = 4.0, 12.0
"""Change of the face in 8-bit units, smoothed over :data:`GRAIN` of the crop's side, up to which it stands still, and
from which nothing of what was before is kept. A camera's noise is averaged out by the smoothing."""
GRAIN = 0.012
LOOK_EVERY = 3
"""Frames from one mask by rule, with new landmarks, to the next; in between it moves with the face."""
SHADE = 3
"""A mask's region times this, up to 1, is what is pasted: its shadow, of a low region, is in the picture already."""
LEAST_SIDE, MOST_SIDE = 128, 512
"""Side in pixels of the crops that masks are drawn on by rule: as large as the face in the frame, within these."""


class RuleMasker:
    """Masks drawn by rule alone, in place of a pipeline for a :class:`FrameTranslator`.

    Args:
        style, colour: as in :func:`maskhub.masks.wear`.
        worn: one of :data:`maskhub.masks.WORN`, or a function of a ``numpy.random.Generator`` that draws one.
        portion: share of faces that get a mask, 0 to 1, drawn for each by its number.
    """

    def __init__(self, style="random", colour=None, worn="correctly", portion=1.0):
        self.style, self.colour, self.worn, self.portion = style, colour, worn, portion

    def __call__(self, crop, marks, seed):
        """The masked crop and its region, or None for a face that wears none; ``marks`` lie in the crop."""
        rng = np.random.default_rng(seed)
        if rng.random() >= self.portion:
            return None
        worn = self.worn(rng) if callable(self.worn) else self.worn
        made = wear(crop, style=self.style, colour=self.colour, worn=worn, seed=seed, landmarks=marks)
        return made.image, made.region


class FrameTranslator:
    """Translates one film or camera, frame after frame.

    Args:
        pipe: a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`, or a :class:`RuleMasker`.
        direction: ``"mask"`` or ``"unmask"``.
        seed: of the masks and their fabric; face number n of the tracker has ``seed + n``.
        tracker: a :class:`~maskhub.faces.track.FaceTracker` of its own; a new one if not given.

    Attributes:
        tracks: of the last frame, largest first: :class:`~maskhub.faces.track.Track`.
        region: float32 H×W in [0, 1] of the last frame: what was replaced; every other pixel is the frame's own.

    Raises:
        ConfigError: an unknown direction, or one that the pipeline has no network for.
    """

    def __init__(self, pipe, direction="mask", *, seed=0, tracker=None):
        if direction not in ("mask", "unmask"):
            raise ConfigError(f"the direction is {direction!r}; it must be 'mask' or 'unmask'.")
        self.by_rule = isinstance(pipe, RuleMasker)
        if self.by_rule and direction != "mask":
            raise ConfigError("masks are only put on by rule; to take them off give a pipeline.")
        if not self.by_rule and getattr(pipe, f"{direction}er") is None:
            raise ConfigError(f"this pipeline has no {direction}er: load one that has.")
        self.pipe, self.direction, self.seed = pipe, direction, seed
        self.tracker = FaceTracker() if tracker is None else tracker
        self.wears = pipe.style if self.by_rule else pipe.config.wear if direction == "mask" else None
        self.reset()

    def reset(self):
        """Forget all that came before, as at the beginning of another film."""
        self.tracker.reset()
        self.tracks, self.region, self._memories, self._seconds = [], None, {}, None

    def __call__(self, frame, seconds=None):
        """Translate the next frame.

        Args:
            frame: uint8 RGB, H×W×3; not written to.
            seconds: its time; a thirtieth after the frame before, if not given.

        Returns:
            uint8 RGB, H×W×3; the frame itself where nothing was to be done.
        """
        before, self._seconds = self._seconds, seconds
        step = 1 / 30 if seconds is None or before is None else max(seconds - before, 1e-3)
        self.tracks = self.tracker(frame, seconds)
        kept, self._memories = self._memories, {}
        out, self.region = frame, np.zeros(frame.shape[:2], np.float32)
        for track in reversed(self.tracks):  # the largest last, over its neighbours
            memory = None if track.new else kept.get(track.number)
            if memory is None:
                memory = _Memory(self._side(track.face))
            self._memories[track.number] = memory
            matrix = align.alignment(track.face, memory.side, memory.wider)
            made = self._made(frame, track, matrix, memory, step)
            if memory.needed > 1:  # it stays wider, or it would leap to and fro
                memory = self._memories[track.number] = _Memory(memory.side, memory.needed)
                matrix = align.alignment(track.face, memory.side, memory.wider)
                made = self._made(frame, track, matrix, memory, step)
            if made is not None:
                out, region = align.paste(out, *made, matrix)
                self.region = np.maximum(self.region, region)
        return out

    def _side(self, face):
        if not self.by_rule:
            return self.pipe.config.resolution
        return int(np.clip(np.ceil(align.SIDE * face.box[2] / 32) * 32, LEAST_SIDE, MOST_SIDE))

    def _made(self, frame, track, matrix, memory, step):
        """What becomes of one aligned face and where it shows, or None."""
        crop, share = memory.steady_crop(align.crop(frame, matrix, memory.side), step)
        seed = self.seed + track.number
        given, region = crop, None
        if self.wears:
            if memory.due(step):
                marks = memory.look(frame, track, matrix)
                memory.worn = None if marks is None else self._put_on(crop, marks, seed)
                if memory.worn is not None and memory.wider == 1:  # here, where it is of this frame and not yet faded
                    memory.needed = wider_for(crop, memory.worn[0], matrix, frame)
            if memory.worn is None:
                return None
            worn, region = memory.worn
            region = np.minimum(SHADE * region, 1) * align.window(matrix, memory.side, frame)
            given = _bytes(crop + (worn.astype(np.float32) - crop) * region[..., None])
        if not self.by_rule:
            given = self.pipe.translate_crops([given], self.direction, seed=seed)[0]
            region = changed_region(crop, given, matrix, frame)
        if not self.wears and memory.wider == 1:
            memory.needed = wider_for(crop, given, matrix, frame)
        return memory.steady_result(given, region, share)

    def _put_on(self, crop, marks, seed):
        if self.by_rule:
            return self.pipe(crop, marks, seed)
        made = wear(crop, style=self.wears, seed=seed, landmarks=marks)
        return made.image, made.region


@dataclass
class _Memory:
    """What is known of one face from the frames before."""

    side: int
    wider: float = 1.0
    needed: float = 1.0
    crop: np.ndarray | None = None
    made: np.ndarray | None = None
    region: np.ndarray | None = None
    worn: tuple | None = None
    marks: Landmarks | None = None
    until: int = 0
    waited: float = 0.0

    def __post_init__(self):
        self._filter = OneEuro()

    def steady_crop(self, crop, step):
        """The crop with the camera's noise averaged out where it stands still, and the share of the new there."""
        crop = crop.astype(np.float32)
        if self.crop is None:
            self.crop, share = crop, np.float32(1)
        else:
            self.crop, share = steadied(self.crop, crop, step)
        return _bytes(self.crop), share

    def steady_result(self, made, region, share):
        """The result and its region, averaged as the crop was."""
        made, region = made.astype(np.float32), region.astype(np.float32)
        if self.made is not None:
            made = self.made + (made - self.made) * share
            region = self.region + (region - self.region) * share[..., 0]
        self.made, self.region = made, region
        return _bytes(made), region

    def due(self, step):
        """Whether a mask by rule is to be drawn anew in this frame."""
        self.until, self.waited = self.until - 1, self.waited + step
        if self.until > 0:
            return False
        self.until = LOOK_EVERY
        return True

    def look(self, frame, track, matrix):
        """The landmarks in the crop; the last ones that were seen clearly, or None."""
        found = landmarks(frame, track.face)
        if found.present:
            moved = moved_landmarks(found, matrix)
            points = self._filter(moved.points, min(self.waited, 1.0), self.side / align.SIDE)
            self.marks, self.waited = Landmarks.of(points.astype(np.float32), found.presence), 0.0
        return self.marks


def steadied(before, now, step):
    """Average two pictures of a face where it stands still.

    Args:
        before: float32 S×S×3, 0 to 255: the average so far.
        now: float32 S×S×3, the newest.
        step: seconds between them.

    Returns:
        float32 S×S×3, and the share of ``now`` in it, float32 S×S×1.
    """
    half = max(len(now) // 2, 1)
    # the sign stays until it is smoothed, so that noise cancels out and a movement does not
    change = cv2.resize(now - before, (half, half), interpolation=cv2.INTER_AREA)
    change = np.abs(cv2.GaussianBlur(change, (0, 0), max(GRAIN * half, 0.6))).max(2)
    least = min(1 - np.exp(-step / MEMORY), 1 - LEAST_AVERAGED)
    ramp = np.clip((change - STILL) / (MOVED - STILL), 0, 1)
    ramp = least + (1 - least) * ramp * ramp * (3 - 2 * ramp)
    share = cv2.resize(ramp.astype(np.float32), now.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    return before + (now - before) * share, share


def _bytes(values):
    return np.rint(values).clip(0, 255).astype(np.uint8)
