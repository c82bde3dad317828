"""One face that is followed through a film: its position, corrected at each search and smoothed in each frame."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from maskhub.faces import align
from maskhub.faces.face import Face
from maskhub.faces.flow import Patch
from maskhub.faces.settle import settled
from maskhub.faces.smooth import Steady

__all__ = ["Followed", "Track", "apart_on_face", "moved"]

TRIES = 4
"""Number of searches that come sooner, as without a face, until landmarks of a new face are found."""
PATIENCE = 2
"""Consecutive searches that may miss a face while it can still be followed."""
PULL, PULL_BY_POINTS, JUMP = 0.25, 0.08, 0.12
"""Share of a drift by which a face is corrected, if measured by landmarks and by the detector's less exact points;
and the drift, in widths of the face, from which on all of it is corrected. From three times that on, the face jumps."""
CORRECTING = 0.25
"""Seconds over which a correction is spread, so that the face does not jump."""
TURNS = (0, 20, -20)
"""Turns in degrees that are tried in this order, on top of the last frame's motion: flow alone follows about 20."""
FLIP, SURER = 60.0, 0.03
"""Largest turn in degrees of a tracked face between two frames, and how much higher the detector must score to override
it."""


@dataclass(frozen=True)
class Track:
    """A face in one frame of a film.

    Attributes:
        number: 0, 1, ...: the lowest free number when the face appeared. A face that leaves and returns alone gets the
            same number again.
        face: the smoothed :class:`~maskhub.faces.face.Face`; ``score`` is that of the last detection.
        new: whether the face appeared or jumped in this frame, so that nothing from the previous frame applies to it.
        detected: whether the detector found it in this frame.
    """

    number: int
    face: Face
    new: bool
    detected: bool


class Followed:
    """One tracked face.

    Attributes:
        face: where it was followed to, with its sides.
        missed: searches in a row that did not find it.
        new: whether it appeared or jumped in this frame.
    """

    def __init__(self, number, frame, face):
        self.number = number
        self._restart(frame, face)

    def _restart(self, frame, face):
        """Take this position, whatever came before."""
        self.missed, self.new, self.tries = 0, True, 0
        # the motion of one frame; where the landmarks (7) and the detector's points (5) were in the crop at first
        self._speed, self._seen, self._far, self._confirmed = np.eye(3), {}, None, False
        self._filter, self._owed = Steady(), np.zeros((7, 2))
        self._begin(frame, _with_sides(face))

    def _begin(self, frame, face):
        """Measure motion from this frame on."""
        self.face = self._first = face
        self._patch, self._motion = Patch(frame, face.box), np.eye(3)

    @property
    def due(self):
        """Whether landmarks should be looked for at the next search: at every other one, once they have been found."""
        return 7 not in self._seen or self.tries % 2 == 1

    @property
    def unsure(self):
        """Whether a search is due soon, since landmarks have not been found."""
        return 7 not in self._seen and self.tries < TRIES

    def follow(self, frame):
        """Move to the face's position in this frame; False if it is lost."""
        guess = self._speed @ self._motion
        left, top, width, height = moved(self._first, guess).box
        centre = left + width / 2, top + height / 2
        turns = (np.vstack([cv2.getRotationMatrix2D(centre, degrees, 1), (0, 0, 1)]) for degrees in TURNS)
        motions = (self._patch.motion(frame, turn @ guess) for turn in turns)
        motion = next((motion for motion in motions if motion is not None), None)
        if motion is None:
            self.face, self._speed = moved(self._first, guess), np.eye(3)
            return False
        self._speed = motion @ np.linalg.inv(self._motion)
        self._motion, self.face = motion, moved(self._first, motion)
        return True

    def search_result(self, frame, placed, found, lost):
        """Correct the position by the face as it was ``placed`` near it, or else as it was ``found`` in the whole
        frame; either can be None. False if the face is given up."""
        due, self.tries = self.due or lost, self.tries + 1
        score = max(placed.score if placed else 0.0, found.score if found else 0.0)
        if found is not None and self._turned(found):
            surer, known = found.score >= (placed or self.face).score + SURER, 7 in self._seen
            righted = settled(frame, found) if surer or not known else None
            if righted or (surer and not known):
                self._restart(frame, righted or found)
                return True
            found = found if lost and placed is None else None
        if placed is None and found is None:
            self.missed += 1
            return not lost and self.missed <= PATIENCE
        self.missed = 0
        self.face = replace(self.face, score=score)
        if placed or due:
            self._correct(frame, placed or found, lost)
        else:
            self._begin(frame, self.face)
        return True

    def _correct(self, frame, placed, lost):
        """Move so that the landmarks, or the detector's points, come nearer to where they were in the crop at first.

        The roll that the detector finds depends on that of its input: turning by it would go on and on. What it finds
        far away only counts the second time.
        """
        crop, count = align.alignment(self.face, 1.0), len(_shape(placed))
        here, seen = (cv2.transform(_shape(face)[None], crop)[0] for face in (self.face, placed))
        by_marks = count == 7
        counts = by_marks or self._points_count(seen, lost)
        if by_marks and _apart(here, seen) < JUMP:
            self._seen.setdefault(count, seen)
        known = self._seen.get(count, here)
        apart = _apart(known, seen)
        whole = cv2.transform(here[None], _similarity(known, seen, turned=lost or by_marks))[0] - here
        drift = seen - known if by_marks and not lost else whole
        if not counts:
            self._begin(frame, self.face)
        elif apart > 3 * JUMP:
            self._restart(frame, placed)
        elif apart < JUMP and not lost:
            self._pull(frame, (PULL if by_marks else PULL_BY_POINTS) * drift, crop)
        else:
            self._pull(frame, drift, crop)
            if lost:
                self._owed[:] = 0
            else:
                self._seen = {count: cv2.transform(_shape(placed)[None], align.alignment(self.face, 1.0))[0]}

    def _points_count(self, seen, lost):
        """Whether the detector's points, 5×2 in the crop's sides, count. They do if they are near where they were at
        first, if they were found at the same other place the last time, or if the face could not be followed.

        Found at another place twice, before any detection has confirmed the first place, they show that the first place
        was wrong, not where the face was followed to; unless they are so far away that the face has jumped.
        """
        first, before = self._seen.setdefault(5, seen), self._far
        apart = _apart(first, seen)
        if lost:
            return True
        if apart < JUMP:
            self._far, self._confirmed = None, self._confirmed or first is not seen
            return True
        again = before is not None and _apart(before, seen) < JUMP
        if again and not self._confirmed and apart < 3 * JUMP:
            self._seen[5], self._far, self._confirmed = seen, None, True
            return False
        self._far = seen
        return again

    def _pull(self, frame, drift, crop):
        """Correct the position by a drift, 7×2 in the crop's sides; what is shown follows slowly."""
        back = cv2.invertAffineTransform(crop)
        face = _shaped(self.face, _shape(self.face) + drift @ back[:, :2].T)
        now = align.alignment(face, 1.0)
        # the new crop may be larger or turned
        self._owed = (self._owed - drift) @ back[:, :2].T @ now[:, :2].T
        step = np.vstack([cv2.invertAffineTransform(now), (0, 0, 1)]) @ np.vstack([crop, (0, 0, 1)])
        self._begin(frame, replace(face, box=moved(self.face, step).box))

    def _turned(self, found):
        """Whether the detector reports another orientation than the tracked one."""
        return found.turned_from(self.face) > FLIP

    def track(self, step, searched):
        """The steady face of this frame."""
        shape, inverse = _shape(self.face), cv2.invertAffineTransform(align.alignment(self.face, 1.0))
        shown = self._filter(shape + self._owed @ inverse[:, :2].T, step, self.face.sides)
        self._owed *= np.exp(-step / CORRECTING)
        new, self.new = self.new, False
        left, top, width, height = self.face.box
        x, y = (shown - shape).mean(0)
        face = replace(_shaped(self.face, shown), box=(float(left + x), float(top + y), width, height))
        return Track(self.number, face, new, searched and self.missed == 0)


def _shape(face):
    """A face's five points and, if they are known, its two sides, float64 N×2."""
    return np.vstack([face.points, *([] if face.sides is None else [face.sides])]).astype(np.float64)


def _shaped(face, shape):
    """A face with these points and, if there are seven, sides."""
    points, sides = shape[:5].astype(np.float32), shape[5:].astype(np.float32)
    return replace(face, points=points, sides=sides if len(sides) else None)


def _with_sides(face):
    """A face with sides. From its box they are taken once: the box of a face that turns changes its width."""
    if face.sides is not None:
        return face
    matrix = align.alignment(face, 1.0)
    middle = 1 - cv2.transform(face.points[None, :2].astype(np.float64), matrix)[0, :, 0].mean()
    sides = np.array([[[middle + half, align.EYE_HEIGHT] for half in (-0.5 / align.SIDE, 0.5 / align.SIDE)]])
    return replace(face, sides=cv2.transform(sides, cv2.invertAffineTransform(matrix))[0].astype(np.float32))


def apart_on_face(one, other):
    """Mean distance of two places of a face, in widths of the first."""
    crop = align.alignment(one, 1.0)
    return _apart(*(cv2.transform(face.points[None].astype(np.float64), crop)[0] for face in (one, other)))


def _apart(one, other):
    """Mean distance of two shapes in the crop's sides, in widths of the face."""
    return float(np.linalg.norm(one - other, axis=1).mean()) * align.SIDE


def _similarity(one, other, turned):
    """The similarity transform, 2×3, that moves the points ``one`` nearest to ``other``, both N×2; with a rotation if
    ``turned``."""
    a, b = (points @ (1, 1j) for points in (one, other))
    about = a - a.mean()
    turn = np.vdot(about, b - b.mean()) / np.vdot(about, about).real
    turn = turn if turned else abs(turn) + 0j
    shift = b.mean() - turn * a.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def moved(face, motion):
    """A face moved by a similarity transform; its box keeps its proportions about its moved centre."""
    left, top, width, height = face.box
    middle = motion[:2] @ (left + width / 2, top + height / 2, 1)
    scale = np.sqrt(abs(np.linalg.det(motion[:2, :2])))
    width, height = width * scale, height * scale
    box = tuple(map(float, (middle[0] - width / 2, middle[1] - height / 2, width, height)))
    return replace(_shaped(face, cv2.transform(_shape(face)[None], motion[:2])[0]), box=box)
