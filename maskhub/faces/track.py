"""Track faces from frame to frame, so that the detector does not run on every frame.

    tracker = FaceTracker()
    for frame, seconds in film:                # uint8 H×W×3, time of the frame
        for track in tracker(frame, seconds):
            track.face                         # a steady Face
            track.number                       # usually the same for the same person

The detector, YuNet, runs on about every tenth frame. In between, a face is followed by pyramidal Lucas-Kanade (Lucas,
Kanade, IJCAI 1981; Bouguet, 2000) on corners of a small patch around it. A corner is used if tracking it back leads to
where it began (the forward-backward error: Kalal, Mikolajczyk, Matas, ICPR 2010), and the similarity transform that
most corners agree on moves the face. Motion is always measured from the frame of the last detection, so that errors
don't accumulate. The position is then smoothed (:mod:`maskhub.faces.smooth`).
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from maskhub.faces.detect import Face, FaceDetector
from maskhub.faces.smooth import OneEuro

__all__ = ["FaceTracker", "Track"]

NEW, STILL_THERE = 0.7, 0.5
"""Lowest detector score at which a new face is tracked, and at which a tracked face counts as detected again."""
EVERY, EVERY_SECONDS, EVERY_EMPTY = 10, 0.5, 3
"""Frames between searches; the same in seconds, for low frame rates; frames between searches without a face."""
PATIENCE = 2
"""Consecutive searches that may miss a face while it can still be followed."""
CUT = 24.0
"""Mean absolute change of an 8-bit thumbnail between two frames that counts as a cut."""
THUMBNAIL = (32, 24)
PAUSE = 1.0
"""Seconds between two frames after which tracking starts over."""

PATCH, PATCH_WIDTHS = 160, 2.0
"""Side in pixels of the patch in which a face is followed, and the face widths it spans."""
CORNERS, LEAST_CORNERS = 45, 10
BACK = 0.7
"""Largest forward-backward error in pixels of the patch."""
LIKE = 0.6
"""Lowest correlation, -1 to 1, of the face with its appearance at the last detection."""
PULL, JUMP = 0.25, 0.08
"""Share of a new detection that a tracked face takes over, and the difference in face widths above which it takes all
of it."""
SETTLING = 0.25
"""Seconds over which a correction by the detector is spread, so that the face does not jump."""
FLIP, SURER = 60.0, 0.03
"""Largest turn in degrees of a tracked face between two frames, and how much higher the detector must score to override
it."""
SAME = 0.3
"""Lowest intersection over union of two boxes of the same face."""


@dataclass(frozen=True)
class Track:
    """A face in one frame of a film.

    Attributes:
        number: 0, 1, ...: the lowest free number when the face appeared. A face that leaves and returns alone gets the
            same number again.
        face: the smoothed :class:`~maskhub.faces.detect.Face`; ``score`` is that of the last detection.
        new: whether the face appeared or jumped in this frame, so that nothing from the previous frame applies to it.
        detected: whether the detector found it in this frame.
    """

    number: int
    face: Face
    new: bool
    detected: bool


class FaceTracker:
    """Tracks the faces of one film or camera.

    Args:
        every: frames between searches for faces; 1 searches each frame.
        max_side: frames are searched at this longer side, in pixels; faces narrower than 2 % of it are missed.

    A lost face and a new scene trigger a search at once; another face that appears is found at the next search. Faces
    may lie on their side or be upside down: if a search finds no face that is surely upright, the frame is turned as
    :func:`~maskhub.faces.detect.detect` turns a photo (in scenes without any face only every ``every`` frames). A lying
    face next to an upright one is tracked once it has been detected, even in the wrong orientation, and corrected then.
    Use one tracker per film and thread.
    """

    def __init__(self, every=EVERY, max_side=640):
        self.every = every
        self._detect = FaceDetector(STILL_THERE, max_side, settle=False)
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
        if fresh or step > PAUSE:
            self._followed = []
        step = min(max(step, 1 / 240), PAUSE)
        lost = [followed for followed in self._followed if not followed.follow(frame)]
        self._since, self._since_seconds = self._since + 1, self._since_seconds + step
        wait = min(self.every, EVERY_EMPTY) if not self._followed else self.every
        search = fresh or lost or step == PAUSE or self._since >= wait or self._since_seconds >= EVERY_SECONDS
        if search:
            self._search(frame, lost, fresh or step == PAUSE)
        tracks = [followed.track(step, search) for followed in self._followed]
        return sorted(tracks, key=lambda track: -track.face.box[2] * track.face.box[3])

    def _step(self, seconds):
        """Seconds since the previous frame."""
        before, self._seconds = self._seconds, seconds
        if seconds is None or before is None:
            return 1 / 30
        return seconds - before if seconds >= before else PAUSE * 2  # time went backwards: a new film

    def _is_cut(self, frame):
        thumbnail = cv2.cvtColor(cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        before, self._thumbnail = self._thumbnail, thumbnail
        return before is None or float(cv2.absdiff(before, thumbnail).mean()) > CUT

    def _search(self, frame, lost, new):
        # searching all eight orientations takes eight times as long: without a face do so only now and then
        self._unturned = 0 if new or self._followed else self._unturned + self._since
        turn = self._unturned == 0 or self._unturned >= self.every
        self._unturned = 0 if turn else self._unturned
        self._since, self._since_seconds = 0, 0.0
        found = self._detect(frame, turn)
        pairs = sorted(
            ((_overlap(face.box, followed.face.box), i, j) for i, face in enumerate(found)
             for j, followed in enumerate(self._followed)),
            reverse=True,
        )  # fmt: skip
        matched, taken = {}, set()
        for overlap, i, j in pairs:
            if overlap >= SAME and i not in taken and j not in matched:
                matched[j] = found[i]
                taken.add(i)
        kept = []
        for j, followed in enumerate(self._followed):
            if followed.search_result(frame, matched.get(j), followed in lost):
                kept.append(followed)
        for i, face in enumerate(found):
            doubled = any(_overlap(face.box, followed.face.box) >= SAME for followed in kept)
            if i not in taken and face.score >= NEW and not doubled:
                number = min(set(range(len(kept) + 1)) - {followed.number for followed in kept})
                kept.append(_Followed(number, frame, face))
        self._followed = kept


class _Followed:
    """One tracked face: its last detection and its current position."""

    def __init__(self, number, frame, face):
        self.number, self.missed = number, 0
        self._settle(frame, face, new=True)

    def _settle(self, frame, face, new):
        """Follow the face from this frame on."""
        self.face = self._first = face
        self.new = new or getattr(self, "new", False)
        if new:
            self._filter, self._owed = OneEuro(), np.zeros((7, 2))
        self._matrix = _patch_matrix(face)
        self._motion = np.eye(3)
        self._patch = self._look(frame)
        ellipse = np.zeros((PATCH, PATCH), np.uint8)
        cv2.ellipse(ellipse, (PATCH // 2, PATCH // 2), (int(0.24 * PATCH), int(0.32 * PATCH)), 0, 0, 360, 255, -1)
        self._corners = cv2.goodFeaturesToTrack(self._patch, CORNERS, 0.02, 4, mask=ellipse)

    def _look(self, frame):
        """The face in grey, moved and turned back to its position at the last detection."""
        matrix = (self._matrix @ np.linalg.inv(self._motion))[:2]
        patch = cv2.warpAffine(frame, matrix, (PATCH, PATCH), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)

    def follow(self, frame):
        """Move to the face's position in this frame; False if it is lost."""
        if self._corners is None or len(self._corners) < LEAST_CORNERS:
            return False
        now, options = self._look(frame), {"winSize": (13, 13), "maxLevel": 3}
        ahead, there, _ = cv2.calcOpticalFlowPyrLK(self._patch, now, self._corners, None, **options)
        back, here, _ = cv2.calcOpticalFlowPyrLK(now, self._patch, ahead, None, **options)
        error = np.linalg.norm(back - self._corners, axis=2)[:, 0]
        good = (there[:, 0] > 0) & (here[:, 0] > 0) & (error < BACK)
        if good.sum() < max(LEAST_CORNERS, 0.4 * len(good)):
            return False
        moved, inliers = cv2.estimateAffinePartial2D(
            self._corners[good], ahead[good], method=cv2.RANSAC, ransacReprojThreshold=1.0
        )
        if moved is None or inliers.sum() < max(LEAST_CORNERS, 0.5 * good.sum()):
            return False
        scale = np.sqrt(abs(np.linalg.det(moved[:, :2])))
        if not 0.7 < scale < 1.4:
            return False
        # the motion within the patch, in the frame's pixels
        inside = self._matrix @ np.linalg.inv(self._motion)
        motion = np.linalg.inv(inside) @ np.vstack([moved, [0, 0, 1]]) @ inside @ self._motion
        before, self._motion = self._motion, motion
        if _correlation(self._patch, self._look(frame)) < LIKE:
            self._motion = before
            return False
        self.face = _moved(self._first, motion)
        return True

    def search_result(self, frame, found, lost):
        """Update from the detector's result (None: not found); False if the face is given up."""
        if found is not None and not lost and self._flipped(found):
            found = None
        if found is None:
            self.missed += 1
            return not lost and self.missed <= PATIENCE
        self.missed = 0
        width = self.face.box[2]
        away = float(np.linalg.norm(found.points - self.face.points, axis=1).mean()) / width
        away = max(away, abs(found.box[2] / width - 1))
        if not lost and away < JUMP:
            before = _as_points(self.face)
            self._settle(frame, _between(self.face, found, PULL), new=False)
            self._owed = self._owed + before - _as_points(self.face)
        else:
            self._settle(frame, found, new=away > 3 * JUMP)
        return True

    def _flipped(self, found):
        """Whether the detector reports another orientation than the tracked one without being surer of it."""
        turned = abs((found.roll - self.face.roll + 180) % 360 - 180)
        return turned > FLIP and found.score < self.face.score + SURER

    def track(self, step, searched):
        """The smoothed face of this frame."""
        points = self._filter(_as_points(self.face) + self._owed, step, self.face.box[2])
        self._owed = self._owed * np.exp(-step / SETTLING)
        (left, top), (right, bottom) = points[5:]
        box = tuple(map(float, (left, top, right - left, bottom - top)))
        new, self.new = self.new, False
        face = replace(self.face, box=box, points=points[:5].astype(np.float32))
        return Track(self.number, face, new, searched and self.missed == 0)


def _as_points(face):
    """A face as 7×2 numbers: its five points and two corners of its box."""
    left, top, width, height = face.box
    return np.vstack([face.points, [[left, top], [left + width, top + height]]]).astype(np.float64)


def _patch_matrix(face):
    """From the frame's pixels to the patch's, 3×3; the patch is not turned."""
    left, top, width, height = face.box
    scale = PATCH / (PATCH_WIDTHS * max(width, 0.75 * height))
    middle = np.array([left + width / 2, top + height / 2])
    return np.array([[scale, 0, PATCH / 2 - scale * middle[0]], [0, scale, PATCH / 2 - scale * middle[1]], [0, 0, 1]])


def _moved(face, motion):
    """A face moved by a similarity transform; its box keeps its proportions about its moved centre."""
    left, top, width, height = face.box
    middle = motion[:2] @ (left + width / 2, top + height / 2, 1)
    scale = np.sqrt(abs(np.linalg.det(motion[:2, :2])))
    width, height = width * scale, height * scale
    points = cv2.transform(face.points[None].astype(np.float64), motion[:2])[0].astype(np.float32)
    box = tuple(map(float, (middle[0] - width / 2, middle[1] - height / 2, width, height)))
    return replace(face, box=box, points=points)


def _between(one, other, share):
    """The interpolation of two faces, ``share`` of the way to the second; the score is the second's."""
    box = tuple(float(a + share * (b - a)) for a, b in zip(one.box, other.box, strict=True))
    return Face(box, one.points + np.float32(share) * (other.points - one.points), other.score)


def _correlation(one, other):
    """Of the centres of two patches, -1 to 1; unaffected by changes of lighting."""
    inner = slice(PATCH // 4, 3 * PATCH // 4)
    return float(cv2.matchTemplate(one[inner, inner], other[inner, inner], cv2.TM_CCOEFF_NORMED)[0, 0])


def _overlap(one, other):
    """Intersection over union of two boxes."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(across, 0) * max(down, 0)
    return shared / max(one[2] * one[3] + other[2] * other[3] - shared, 1e-6)
