"""Masks on and off in video: faces are tracked, and each keeps the same mask in every frame, without flicker.

    translator = FrameTranslator(pipe, "mask", seed=0)
    for frame, seconds in film:                # uint8 H×W×3, time of the frame
        made = translator(frame, seconds)      # same size; the frame itself if there is no face

Results are stable for three reasons. The position of a face is smoothed (:mod:`maskhub.faces.track`). Each face has one
seed for its rule-based mask and for the network's noise. Where the aligned face stands still, the network's input and
output are averaged over the last frames; where it moves, nothing is delayed.
"""

from collections import Counter

import cv2
import numpy as np

from maskhub.arguments import check_pixels, check_whole
from maskhub.faces import align
from maskhub.faces.landmarks import Landmarks, landmarks, moved_landmarks
from maskhub.faces.smooth import OneEuro
from maskhub.faces.track import FaceTracker
from maskhub.masks.detector import MASKED, mask_presences
from maskhub.pipelines.outcomes import Outcome
from maskhub.pipelines.record import FaceRecord
from maskhub.pipelines.translator import RuleMasker

__all__ = ["FrameTranslator", "steadied"]

MEMORY = 0.12
"""Time constant in seconds of the exponential average over a face that stands still."""
LEAST_AVERAGED = 0.5
"""Smallest share of a still face that is kept from before, however low the frame rate."""
STILL, MOVED = 4.0, 12.0
"""Change of the face in 8-bit units, smoothed over :data:`GRAIN` of the crop's side, up to which it counts as still,
and above which no previous frame is used. The smoothing averages out the camera's noise."""
GRAIN = 0.012
DRAW_EVERY = 3
"""Frames between redrawing a rule-based mask with new landmarks; in between it moves with the face."""
DECIDE_SECONDS, DECIDE_SHARE, DECIDED = 0.15, 0.3, 0.2
"""How often the mask detector runs on a face, and the weight of its result in the average. A face changes between
masked and unmasked only once the average is this far beyond the detector's threshold."""
SHADE = 3
"""A mask's region times this, up to 1, is pasted: low values are its shadow, which is already part of the picture."""
LEAST_SIDE, MOST_SIDE = 128, 512
"""Bounds of the side in pixels of crops for rule-based masks, which are otherwise as large as the face in the frame."""


class FrameTranslator:
    """Translates one film or camera, frame after frame.

    Args:
        pipe: a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`, or a
            :class:`~maskhub.pipelines.translator.RuleMasker`.
        direction: ``"mask"``, ``"unmask"`` or ``"auto"``: remove masks where worn, add them elsewhere.
        seed: of the masks and their fabric; face number n of the tracker has ``seed + n``.
        force: translate every face, masked or not; otherwise faces that need no change are left as they are.
        tracker: a :class:`~maskhub.faces.track.FaceTracker` for this film only; a new one if not given.

    Attributes:
        tracks: of the last frame, largest first: :class:`~maskhub.faces.track.Track`.
        faces: the :class:`~maskhub.pipelines.record.FaceRecord` of each.
        region: float32 H×W in [0, 1] of the last frame: what was replaced; all other pixels are unchanged.
        outcomes: ``Counter`` of frames so far in which a face had an :class:`~maskhub.pipelines.outcomes.Outcome`.

    Raises:
        ConfigError: a bad seed, an unknown direction, or one the pipeline has no network for.
    """

    def __init__(self, pipe, direction="mask", *, seed=0, force=False, tracker=None):
        check_whole("the seed", seed, 0)
        self.translator = pipe.translator(direction, force)
        self.side = None if isinstance(pipe, RuleMasker) else pipe.config.resolution
        self.direction, self.seed = direction, seed
        self.tracker = FaceTracker() if tracker is None else tracker
        self.reset()

    def reset(self):
        """Forget everything, as at the start of another film."""
        self.tracker.reset()
        self.tracks, self.faces, self.region, self.outcomes = [], [], None, Counter()
        self._memories, self._seconds = {}, None

    def __call__(self, frame, seconds=None):
        """Translate the next frame (uint8 RGB H×W×3, not modified); returns the frame itself if nothing was changed.

        ``seconds`` is its time; if not given, 1/30 after the previous frame.
        """
        return self.translate(frame, *self.follow(frame, seconds))

    def follow(self, frame, seconds=None):
        """The first half of a call, arguments as there: track the faces. Returns the arguments for :meth:`translate`.

        It needs no results of earlier frames, so another thread may be some frames ahead with it. PhotoError for a
        frame that isn't uint8 RGB H×W×3.
        """
        check_pixels(frame)
        before, self._seconds = self._seconds, seconds
        step = 1 / 30 if seconds is None or before is None else max(seconds - before, 1e-3)
        return self.tracker(frame, seconds), step

    def translate(self, frame, tracks, step):
        """The second half of a call: translate the tracked faces of a frame, ``step`` seconds after the last one."""
        self.tracks = tracks
        kept, self._memories = self._memories, {}
        for track in self.tracks:
            memory = None if track.new else kept.get(track.number)
            self._memories[track.number] = memory or _Memory(self.side or _drawing_side(track.face))
        self.faces = [self._translated(frame, track, self._memories[track.number], step) for track in self.tracks]
        self.outcomes.update({face.outcome for face in self.faces})
        out, self.region = frame, np.zeros(frame.shape[:2], np.float32)
        for face in reversed(self.faces):  # largest last, on top of its neighbours
            if face.changed:
                out, region = face.paste(out)
                self.region = np.maximum(self.region, region)
        return out

    def _translated(self, frame, track, memory, step):
        """The record of one face, translated or left as it is."""
        face = FaceRecord(frame, track.face, memory.side, self.seed + track.number, wider=memory.wider)
        memory.decide(face, self.translator, step)
        if face.pending:
            way = self.translator.ways[face.direction]
            memory.steady(face, step)
            if way.rule:
                memory.dress(face, way.rule, step)
        if face.pending:
            if way.network:
                way.make([face])
            else:
                face.made, face.outcome = face.given, Outcome.CHANGED
            if face.wider > memory.wider:
                memory.restart(face, step)
            memory.steady_result(face)
        return face


class _Memory:
    """The state of one face from the frames so far.

    Attributes:
        side, wider: of its crops. A face keeps a wider crop, because switching back and forth would make it jump.
        presence, masked: the mask detector's averaged confidence, and the resulting decision.
        crop, made, region: averages of the aligned crop, of its translation, and of the region where that shows.
        worn: the rule-based mask as last drawn, and its region.
        marks: the landmarks it was drawn with.
    """

    def __init__(self, side):
        self.side, self.presence, self.masked, self._undecided = side, None, None, 0.0
        self._forget(1.0)

    def _forget(self, wider):
        self.wider, self._share = wider, np.float32(1)
        self.crop = self.made = self.region = self.worn = self.marks = None
        self._filter, self._until, self._waited = OneEuro(), 0, 0.0

    def restart(self, face, step):
        """Restart with the wider crop that a face has been given."""
        self._forget(face.wider)
        self.steady(face, step)

    def decide(self, face, translator, step):
        """Set a face's direction, or its outcome if it needs no change; runs the detector now and then."""
        before, self._undecided = self.masked, self._undecided - step
        if not translator.force and self._undecided <= 0:
            (presence,), self._undecided = mask_presences([(face.photo, face.face)]), DECIDE_SECONDS
            share = 1 if self.presence is None else DECIDE_SHARE
            self.presence = presence + (1 - share) * ((self.presence or 0) - presence)
            if self.masked is None or abs(self.presence - MASKED) > DECIDED:
                self.masked = self.presence >= MASKED
        face.presence = self.presence
        translator.decide(face, self.masked)
        if not face.pending or before != self.masked:
            self._forget(face.wider)

    def steady(self, face, step):
        """Average the camera's noise out of a face's crop where it stands still."""
        crop = face.crop.astype(np.float32)
        if self.crop is None:
            self.crop = crop
        else:
            self.crop, self._share = steadied(self.crop, crop, step)
        face.crop = face.given = _bytes(self.crop)

    def steady_result(self, face):
        """Average the translation and its region in the same way as the crop."""
        made, region = face.made.astype(np.float32), face.region.astype(np.float32)
        if self.made is not None:
            made = _mixed(self.made, made, self._share)
            region = self.region + (region - self.region) * self._share[..., 0]
        self.made, self.region = made, region
        face.made, face.region = _bytes(made), region

    def dress(self, face, rule, step):
        """Put the rule-based mask on a face; it is redrawn with new landmarks every few frames, else moves along."""
        self._until, self._waited = self._until - 1, self._waited + step
        if self._until <= 0:
            self._until = DRAW_EVERY
            self._find_landmarks(face)
            self.worn = None if self.marks is None else rule(face.crop, self.marks, face.seed)
            # here, where the mask belongs to this frame and is not averaged yet
            if self.worn is not None and face.widen(self.worn[0]):
                self.restart(face, step)
                return self.dress(face, rule, step)
        if self.worn is None:
            face.outcome = Outcome.UNCLEAR if self.marks is None else Outcome.NOT_CHOSEN
            return None
        worn, region = self.worn
        face.region = np.minimum(SHADE * region, 1) * align.window(face.matrix, face.side, face.photo)
        face.given = _bytes(_mixed(face.crop.astype(np.float32), worn.astype(np.float32), face.region))
        return None

    def _find_landmarks(self, face):
        """The landmarks in the crop; the previous ones if these are unreliable."""
        found = landmarks(face.photo, face.face)
        if found.present:
            moved = moved_landmarks(found, face.matrix)
            points = self._filter(moved.points, min(self._waited, 1.0), self.side / align.SIDE)
            self.marks, self._waited = Landmarks.of(points.astype(np.float32), found.presence), 0.0


def _drawing_side(face):
    """Side in pixels of the crop that a rule-based mask is drawn on."""
    return int(np.clip(np.ceil(align.SIDE * face.box[2] / 32) * 32, LEAST_SIDE, MOST_SIDE))


def steadied(before, now, step):
    """Average two pictures of a face, float32 S×S×3 from 0 to 255, where it stands still.

    ``before`` is the average so far, ``now`` the newest picture, ``step`` seconds later. Returns the new average and
    the weight of ``now`` in it, float32 S×S×1.
    """
    half = max(len(now) // 2, 1)
    # smooth the signed difference, so that noise cancels out and motion does not
    change = cv2.resize(now - before, (half, half), interpolation=cv2.INTER_AREA)
    change = np.abs(cv2.GaussianBlur(change, (0, 0), max(GRAIN * half, 0.6)))
    change = np.maximum.reduce(cv2.split(change))
    least = min(1 - np.exp(-step / MEMORY), 1 - LEAST_AVERAGED)
    ramp = np.clip((change - STILL) / (MOVED - STILL), 0, 1)
    ramp = least + (1 - least) * ramp * ramp * (3 - 2 * ramp)
    share = cv2.resize(ramp.astype(np.float32), now.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    return _mixed(before, now, share), share


def _mixed(before, now, share):
    """Two pictures, float32 S×S×3, the second with the weight ``share``, float32 S×S or S×S×1."""
    mixed = now - before
    mixed *= cv2.merge([share] * 3)  # numpy broadcasts slowly over a last axis of 3
    mixed += before
    return mixed


def _bytes(values):
    return cv2.convertScaleAbs(values)  # rounds and clips as numpy does, in a fifth of the time; none is below 0
