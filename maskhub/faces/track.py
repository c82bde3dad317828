"""Faces followed from frame to frame, so that they are not searched for in each.

    tracker = FaceTracker()
    for frame, seconds in film:                # uint8 H×W×3, time of the frame
        for track in tracker(frame, seconds):
            track.face                         # a steady Face
            track.number                       # the same for the same person, as a rule

YuNet looks at every tenth frame or so; in between a face is followed by Lucas-Kanade with pyramids (Lucas, Kanade,
IJCAI 1981; Bouguet, 2000) on corners of a small patch about it. A corner counts that is led back to where it began (the
forward-backward error: Kalal, Mikolajczyk, Matas, ICPR 2010), and the similarity that most of them agree on moves the
face. It is always followed from the frame in which it was last detected, so that errors don't add up. The place is
then smoothed (:mod:`maskhub.faces.smooth`).
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from maskhub.faces.detect import Face, FaceDetector
from maskhub.faces.smooth import OneEuro

__all__ = ["FaceTracker", "Track"]

NEW, STILL_THERE = 0.7, 0.5
"""The detector's score from which a face is taken up, and from which one that is followed is seen again."""
EVERY, EVERY_SECONDS, EVERY_EMPTY = 10, 0.5, 3
"""Frames after which it is searched again, at slow rates seconds, and frames where there was no face."""
PATIENCE = 2
"""Searches in a row that may miss a face that can be followed."""
CUT = 24.0
"""Mean absolute change of an 8-bit thumbnail between two frames, from which it is another scene."""
THUMBNAIL = (32, 24)
PAUSE = 1.0
"""Seconds between two frames after which what was before no longer holds."""

PATCH, PATCH_WIDTHS = 160, 2.0
"""Side in pixels of the patch that a face is followed in, and how many face widths it spans."""
CORNERS, LEAST_CORNERS = 45, 10
BACK = 0.7
"""Largest forward-backward error in pixels of the patch."""
LIKE = 0.6
"""Least correlation, -1 to 1, of the face with how it looked when it was last detected."""
PULL, JUMP = 0.25, 0.08
"""How much of what the detector sees a followed face takes over, and from which difference, in face widths, all."""
SETTLING = 0.25
"""Seconds over which what is taken over from the detector is spread, so that no leap shows."""
FLIP, SURER = 60.0, 0.03
"""Degrees that no followed face turns between two frames, and by how much the detector must be surer of such a turn."""
SAME = 0.3
"""Least intersection over union of two boxes of the same face."""


@dataclass(frozen=True)
class Track:
    """A face in one frame of a film.

    Attributes:
        number: 0, 1, ...: the lowest that was free when it came. Who leaves and comes back alone has the same again.
        face: the smoothed :class:`~maskhub.faces.detect.Face`; ``score`` is that of the last detection.
        new: whether it came, or leapt, in this frame: then nothing from the frame before holds for it.
        detected: whether the detector saw it in this very frame.
    """

    number: int
    face: Face
    new: bool
    detected: bool


class FaceTracker:
    """Follows the faces of one film or camera.

    Args:
        every: frames from one search for faces to the next; 1 searches each frame.
        max_side: frames are searched at this longer side, in pixels; faces narrower than 2 % of it are missed.

    A face that is lost is searched for at once, and so are those of a new scene; another one that comes is found at the
    next search. Faces may lie on their side or stand on their head: where a search finds no face that is surely
    upright, it turns the frame as :func:`~maskhub.faces.detect.detect` turns a photo (in scenes without any face only
    every ``every`` frames). A lying face next to a sure upright one is followed once it has been found upright or
    with the wrong way up, and then righted. One tracker serves one film and one thread.
    """

    def __init__(self, every=EVERY, max_side=640):
        self.every = every
        self._detect = FaceDetector(STILL_THERE, max_side)
        self.reset()

    def reset(self):
        """Forget all faces, as before the first frame."""
        self._followed = []
        self._thumbnail = self._seconds = None
        self._since, self._since_seconds = 0, 0.0
        self._unturned = 0

    def __call__(self, frame, seconds=None):
        """Find or follow the faces of the next frame.

        Args:
            frame: uint8 RGB, H×W×3.
            seconds: its time; a thirtieth after the frame before, if not given.

        Returns:
            list of :class:`Track`, largest first.
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
        """Seconds since the frame before."""
        before, self._seconds = self._seconds, seconds
        if seconds is None or before is None:
            return 1 / 30
        return seconds - before if seconds >= before else PAUSE * 2  # a film wound back is another film

    def _is_cut(self, frame):
        thumbnail = cv2.cvtColor(cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        before, self._thumbnail = self._thumbnail, thumbnail
        return before is None or float(cv2.absdiff(before, thumbnail).mean()) > CUT

    def _search(self, frame, lost, new):
        # turned eight ways a frame takes eight times as long: one without a face is so only now and then
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
        seen, taken = {}, set()
        for overlap, i, j in pairs:
            if overlap >= SAME and i not in taken and j not in seen:
                seen[j] = found[i]
                taken.add(i)
        kept = []
        for j, followed in enumerate(self._followed):
            if followed.search_result(frame, seen.get(j), followed in lost):
                kept.append(followed)
        for i, face in enumerate(found):
            doubled = any(_overlap(face.box, followed.face.box) >= SAME for followed in kept)
            if i not in taken and face.score >= NEW and not doubled:
                number = min(set(range(len(kept) + 1)) - {followed.number for followed in kept})
                kept.append(_Followed(number, frame, face))
        self._followed = kept


class _Followed:
    """One face: as it was last detected, and where it is now."""

    def __init__(self, number, frame, face):
        self.number, self.missed = number, 0
        self._settle(frame, face, new=True)

    def _settle(self, frame, face, new):
        """Follow from this frame on."""
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
        """The face in grey, moved and turned to where it was when it was last detected."""
        matrix = (self._matrix @ np.linalg.inv(self._motion))[:2]
        patch = cv2.warpAffine(frame, matrix, (PATCH, PATCH), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)

    def follow(self, frame):
        """Move to where the face is in this frame; False where it is lost."""
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
        # what it did in the patch, in the frame's pixels
        inside = self._matrix @ np.linalg.inv(self._motion)
        motion = np.linalg.inv(inside) @ np.vstack([moved, [0, 0, 1]]) @ inside @ self._motion
        before, self._motion = self._motion, motion
        if _correlation(self._patch, self._look(frame)) < LIKE:
            self._motion = before
            return False
        self.face = _moved(self._first, motion)
        return True

    def search_result(self, frame, found, lost):
        """Take in what the detector saw of it (None: nothing); False where the face is given up."""
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
        """Whether the detector sees another way up than the face was followed in, and is not surer of it."""
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
    """A face under a similarity; its box keeps its proportions about its moved middle."""
    left, top, width, height = face.box
    middle = motion[:2] @ (left + width / 2, top + height / 2, 1)
    scale = np.sqrt(abs(np.linalg.det(motion[:2, :2])))
    width, height = width * scale, height * scale
    points = cv2.transform(face.points[None].astype(np.float64), motion[:2])[0].astype(np.float32)
    box = tuple(map(float, (middle[0] - width / 2, middle[1] - height / 2, width, height)))
    return replace(face, box=box, points=points)


def _between(one, other, share):
    """Of two faces, ``share`` of the way from the first to the second; the score is the second's."""
    box = tuple(float(a + share * (b - a)) for a, b in zip(one.box, other.box, strict=True))
    return Face(box, one.points + np.float32(share) * (other.points - one.points), other.score)


def _correlation(one, other):
    """Of the middles of two patches, -1 to 1; a change of light is none."""
    inner = slice(PATCH // 4, 3 * PATCH // 4)
    return float(cv2.matchTemplate(one[inner, inner], other[inner, inner], cv2.TM_CCOEFF_NORMED)[0, 0])


def _overlap(one, other):
    """Intersection over union of two boxes."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(across, 0) * max(down, 0)
    return shared / max(one[2] * one[3] + other[2] * other[3] - shared, 1e-6)
