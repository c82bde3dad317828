"""Track faces from frame to frame, so that the detector does not run on every frame.

    tracker = FaceTracker()
    for frame, seconds in film:                # uint8 H×W×3, time of the frame
        for track in tracker(frame, seconds):
            track.face                         # a steady Face
            track.number                       # usually the same for the same person

The detector, YuNet, runs on about every tenth frame. In between, a face is followed by optical flow
(:mod:`maskhub.faces.flow`). At every second of these searches its landmarks are found, from where it was followed to.
They must lie where they lay in the face's crop at first: what they drifted by is corrected, so that the crop shows the
same part of the face in every frame. A wrong detection in a single frame therefore moves nothing. A face on which
landmarks don't settle is corrected by the detector's points, found with the face turned upright. Corrections are spread
over several frames, and the noise is smoothed out of the position (:mod:`maskhub.faces.followed`).
"""

import cv2
import numpy as np

from maskhub.faces import align
from maskhub.faces.detect import FaceDetector
from maskhub.faces.face import iou
from maskhub.faces.followed import Followed, Track, moved
from maskhub.faces.settle import settled

__all__ = ["FaceTracker", "Track", "is_cut", "thumbnail"]

NEW, STILL_THERE = 0.7, 0.5
"""Lowest detector score at which a new face is tracked, and at which one with landmarks is, or a tracked face counts as
detected again."""
EVERY, EVERY_SECONDS, EVERY_EMPTY = 10, 0.5, 3
"""Frames between searches; the same in seconds, for low frame rates; frames between searches without a face."""
CUT = 24.0
"""Mean absolute change of an 8-bit thumbnail between two frames that counts as a cut."""
THUMBNAIL = (32, 24)
PAUSE = 1.0
"""Seconds between two frames after which tracking starts over."""

AROUND, AGAIN = 2.0, 115
"""Side of the surroundings in which a followed face is detected again, in the larger side of its box, and that side's
size there, in pixels."""
SAME = 0.3
"""Lowest intersection over union of two boxes of the same face."""
DOUBLED = 0.7
"""Intersection over union of the boxes of two tracked faces from which they are the same face, tracked twice."""


class FaceTracker:
    """Tracks the faces of one film or camera.

    Args:
        every: frames between searches for faces; 1 searches each frame.
        max_side: frames are searched at this longer side, in pixels, as long as all faces can be followed, and as a
            photo is otherwise. Faces narrower than 2 % of it are missed.

    A lost face and a new scene trigger a search at once; another face that appears is found at the next search. Faces
    may lie on their side or be upside down: if a search finds a new face, or none, the frame is turned as
    :func:`~maskhub.faces.detect.detect` turns a photo (in scenes without any face only every ``every`` frames). A face
    that was tracked in the wrong orientation at first is corrected once landmarks show it, or the detector is surer.
    Use one tracker per film and thread.
    """

    def __init__(self, every=EVERY, max_side=640):
        self.every = every
        self._detect = FaceDetector(STILL_THERE, max_side, turn=False)
        self._detect_new = FaceDetector(STILL_THERE)
        self.reset()

    def reset(self):
        """Forget all faces, as before the first frame."""
        self._followed = []
        self._thumbnail = self._seconds = None
        self._since, self._since_seconds = 0, 0.0
        self._unturned = 0

    def __call__(self, frame, seconds=None):
        """Find or track the faces of the next frame, uint8 RGB H×W×3, as a list of :class:`Track`, largest first.

        ``seconds`` is its time; if not given, 1/30 after the previous frame.
        """
        step, fresh = self._step(seconds), self._is_cut(frame)
        if step > PAUSE:
            self._followed = []
        step = min(max(step, 1 / 240), PAUSE)
        lost = [followed for followed in self._followed if not followed.follow(frame)]
        if fresh:
            self._followed = [followed for followed in self._followed if followed not in lost]
            fresh = not self._followed  # if a face can be followed, the camera only moved fast
        self._since, self._since_seconds = self._since + 1, self._since_seconds + step
        soon = not self._followed or any(followed.unsure for followed in self._followed)
        wait = min(self.every, EVERY_EMPTY) if soon else self.every
        search = fresh or lost or self._since >= wait or self._since_seconds >= EVERY_SECONDS
        if search:
            self._search(frame, lost, fresh or step == PAUSE)
        tracks = [followed.track(step, search) for followed in self._followed]
        return sorted(tracks, key=lambda track: -track.face.area)

    def _step(self, seconds):
        """Seconds since the previous frame."""
        before, self._seconds = self._seconds, seconds
        if seconds is None or before is None:
            return 1 / 30
        return seconds - before if seconds >= before else PAUSE * 2  # time went backwards: a new film

    def _is_cut(self, frame):
        before, self._thumbnail = self._thumbnail, thumbnail(frame)
        return before is None or is_cut(before, self._thumbnail)

    def _search(self, frame, lost, new):
        # searching all eight orientations takes eight times as long: without a face do so only now and then
        self._unturned = 0 if new or self._followed else self._unturned + self._since
        turn = self._unturned == 0 or self._unturned >= self.every
        self._unturned = 0 if turn else self._unturned
        self._since, self._since_seconds = 0, 0.0
        view = self._detect.view(frame) if self._followed and not lost else None
        found = self._detect.faces(view) if view else []
        matched = self._matched(found)
        placed = [self._placed(frame, one, one in lost or j not in matched) for j, one in enumerate(self._followed)]
        missing = [j for j, one in enumerate(self._followed) if not placed[j] and (one in lost or j not in matched)]
        strange = any(face.score >= NEW for i, face in enumerate(found) if i not in matched.values())
        whole = missing or strange or not self._followed
        if whole:
            found = self._detect_new.faces(self._detect_new.view(frame, view), turn)
            matched = self._matched(found)
        kept = []
        for j in sorted(range(len(self._followed)), key=lambda j: j not in matched):
            followed, detected = self._followed[j], found[matched[j]] if j in matched else None
            if not followed.search_result(frame, placed[j], detected, followed in lost):
                continue
            # where two faces cross, both may have been followed to the one in front; the detector finds it once
            if j in matched or all(iou(followed.face.box, one.face.box) < DOUBLED for one in kept):
                kept.append(followed)
        for i, face in enumerate(found if whole else []):
            doubled = any(iou(face.box, followed.face.box) >= SAME for followed in kept)
            if i not in matched.values() and not doubled and (face.score >= NEW or settled(frame, face)):
                number = min(set(range(len(kept) + 1)) - {followed.number for followed in kept})
                kept.append(Followed(number, frame, face))
        self._followed = kept

    def _placed(self, frame, followed, needed):
        """A followed face as landmarks place it near where it was followed to, else the detector; or None."""
        if not needed and not followed.due:
            return None
        return settled(frame, followed.face) or self._detected_upright(frame, followed.face)

    def _detected_upright(self, frame, face):
        """A followed face as the detector finds it in its surroundings turned upright, or None."""
        left, top, width, height = face.box
        size = max(width, height)
        scale = AGAIN / size
        matrix = np.vstack([cv2.getRotationMatrix2D((0, 0), face.roll, scale), (0, 0, 1)])
        side = round(AROUND * AGAIN)
        matrix[:2, 2] = side / 2 - matrix[:2, :2] @ (left + width / 2, top + height / 2)
        found = self._detect(align.warped(frame, matrix[:2], side))
        found = [moved(one, np.linalg.inv(matrix)) for one in found]
        return max(found, key=lambda one: iou(one.box, face.box), default=None)

    def _matched(self, found):
        """The index of a followed face: that of the detected one that is the same."""
        pairs = sorted(
            ((iou(face.box, followed.face.box), i, j) for i, face in enumerate(found)
             for j, followed in enumerate(self._followed)),
            reverse=True,
        )  # fmt: skip
        matched = {}
        for overlap, i, j in pairs:
            if overlap >= SAME and i not in matched.values() and j not in matched:
                matched[j] = i
        return matched


def thumbnail(frame):
    """A frame, uint8 RGB H×W×3, small and in grey, for :func:`is_cut`."""
    return cv2.cvtColor(cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def is_cut(before, now):
    """Whether there is a cut between two frames, given their thumbnails."""
    return float(cv2.absdiff(before, now).mean()) > CUT
