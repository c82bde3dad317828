"""The 478 face landmarks of MediaPipe's attention mesh, with the head's pose.

Kartynnik, Ablavatski, Grishchenko, Grundmann: "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs",
2019, and Grishchenko and others: "Attention Mesh", 2020. The 2.5 MB network is in ``weights/`` (Apache-2.0, see
``weights/LICENSES.md``). It expects an upright face: the crop is rotated by the detector's eye line, and by further
quarter turns if no face is found that way.
"""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from maskhub.faces.agreed import agreed
from maskhub.faces.detect import SURE
from maskhub.faces.mesh import PRESENT, look
from maskhub.faces.view import WORN
from maskhub.faces.worn import worn

__all__ = [
    "LIKELY_FACE", "MEAN_FACE", "PRESENT", "Landmarks", "landmarks", "moved_landmarks", "posed_mean_face", "reliable",
    "surest_landmarks",
]  # fmt: skip

SURE_FACE, NEAR = 0.85, 0.066
"""Landmarks of low presence are still reliable if the detector's score reaches the first number and its five points lie
within the second, in face sizes. Tuned on 600 CelebA photos, whose six profiles all pass; one of 400 masked photos
does."""
TURNED = 0.10
"""A head may be turned far if its nose lies this far beside the middle of the eyes, in widths of the box: 19 of 20
heads turned by 30° or more, one in seven of those turned by less than 25°."""
LIKELY_FACE, TURNED_NEAR, TURNED_YAW = 0.78, 0.08, 30.0
"""Landmarks of a head that is turned far are reliable from the first number on if the detector's points lie within the
second, since on profiles they are less exact, and the yaw to the same side reaches the third. Tuned on 107 profiles."""
NEAR_TURNED = 0.05
"""Of such heads the network's landmarks are kept from :data:`SURE_FACE` on if the points lie within this."""
MEAN_FACE = Path(__file__).parent / "weights" / "mean_face.npy"
POSED_SCALE, POSED_SHIFT = 0.98, (-0.01, 0.02)
"""How the mean face is placed better than by the fit alone: its size, and how far it moves forward (to where the nose
points) and down, in face widths. Chosen by eye on 40 heads. On 138 heads turned by 35° or more of which the network is
sure, the lower half then lies 0.033 face sizes from the network's, on average."""

BOX_SCALE, BOX_CENTRE = 1.25, 0.55
"""The crop's side in heights of the detector's box, and its centre as a share of the box's height."""
EXTENT_SCALE = 1.5
"""Side of the second pass's crop, relative to the extent of the first pass's landmarks."""

PAIRS = np.array(
    [[33, 263], [133, 362], [234, 454], [127, 356], [162, 389], [93, 323], [132, 361], [70, 300], [50, 280], [205, 425]]
)
"""Pairs of mirrored landmarks: the person's right (the picture's left), then left."""
FOREHEAD, BELOW_NOSE = (10, 151, 9, 8), (2, 164, 94)


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of one face.

    Attributes:
        points: 478×3 float32. x and y in the photo's pixels; z the depth in the same unit, 0 about the middle of the
            head, smaller towards the camera. Numbered as in MediaPipe's face mesh: 1 is the nose tip, 152 the chin, 33
            and 263 the outer corners of the eyes, 468 and 473 the pupils.
        presence: the network's confidence that there is a face, 0 to 1; below :data:`PRESENT` don't use the points.
        yaw: degrees, positive where the nose points to the picture's right.
        pitch: degrees, positive where the head looks down.
        roll: degrees, positive where the head is turned clockwise in the picture; -180 to 180.
        rotation: 3×3 float64: from the head's axes (to the picture's right on a level frontal face, down, away from
            the camera) to the photo's.
        agreed: whether several detections of a turned head agree on this place; the points are then reliable at any
            presence.
    """

    points: np.ndarray
    presence: float
    yaw: float
    pitch: float
    roll: float
    rotation: np.ndarray
    agreed: bool = False

    @classmethod
    def of(cls, points, presence):
        """Landmarks from these points, 478×3, with the pose computed from them."""
        rotation = _rotation(points)
        return cls(points, presence, *_angles(rotation), rotation)

    @property
    def present(self):
        """Whether the points are reliable."""
        return self.presence >= PRESENT


def landmarks(image, face, passes=1):
    """Find the :class:`Landmarks` of a detected face in a photo, uint8 RGB H×W×3. Thread-safe.

    If the upright crop shows no face, a wider and a closer crop and three quarter turns are tried, and the result of
    highest presence is kept. Its ``presence`` may still be low: no error is raised. Two ``passes`` run the network
    again on a crop set by the first landmarks: slightly more accurate, twice the time.
    """
    centre, side, across, down = _frame(face)
    points, presence = look(image, centre, side, across)
    if presence < PRESENT:
        tries = [(1.4, across), (0.8, across)]
        if face.score < SURE:  # otherwise the detector knows the orientation
            tries += [(1.2, down), (1.2, -across), (1.2, -down)]
        for scale, axis in tries:
            other, found = look(image, centre, scale * side, axis)
            if found > presence:
                points, presence = other, found
            if presence >= PRESENT:
                passes = 2
                break
    for _ in range(passes - 1):
        eyes = points[263, :2] - points[33, :2]
        axis = eyes / max(float(np.hypot(*eyes)), 1e-6)
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        other, found = look(image, (low + high) / 2, EXTENT_SCALE * float((high - low).max()), axis)
        if found >= min(presence, PRESENT):
            points, presence = other, found
    return Landmarks.of(points, presence)


def reliable(landmarks, face):
    """Whether a mask can be drawn by these landmarks of a detected face.

    They are present, or the detector places eyes, nose and mouth where they do, and either it is confident or both see
    a profile: strong profiles have a low presence although their landmarks fit; on covered faces the two disagree. Or
    several detections of a bare profile agree (:func:`~maskhub.faces.agreed.agreed`).
    """
    return landmarks.agreed or _sure(landmarks, face) or (face.score >= LIKELY_FACE and _profile(landmarks, face))


def _sure(marks, face):
    return marks.present or (face.score >= SURE_FACE and _apart(marks.points, face) <= NEAR)


def _profile(marks, face):
    aside = _aside(face)
    turned = abs(aside) >= TURNED and marks.yaw * np.sign(aside) >= TURNED_YAW
    return bool(turned and _apart(marks.points, face) <= TURNED_NEAR)


def surest_landmarks(image, face, first=None):
    """:func:`landmarks` (``first``, if already known), or where the network is unsure of a head that is turned far,
    those of :func:`posed_mean_face`: by the face's own points, or if these don't fit, by the points that several
    detections agree on, unless the mask detector finds a mask there. They may still be unreliable."""
    marks = first or landmarks(image, face)
    if marks.present or (face.score >= SURE_FACE and _apart(marks.points, face) <= NEAR_TURNED):
        return marks
    if face.score >= LIKELY_FACE and _profile(posed := posed_mean_face(face), face):
        return posed
    if not reliable(marks, face) and (found := agreed(image, face)):
        posed = posed_mean_face(found)
        if _profile(posed, found) and worn(image, found) < WORN:
            return replace(posed, agreed=True)
    return marks


def posed_mean_face(face):
    """:class:`Landmarks` of the mean face, placed and turned by a detected face's five points; their presence is 0.

    The scaled orthographic projection of least squares (POS of DeMenthon, Davis: "Model-based object pose in 25 lines
    of code", IJCV 1995), then the nearest one with perpendicular axes.
    """
    mean, middle, solve = _mean_face()
    points = face.points.astype(np.float64)
    axes = (solve @ (points - points.mean(0))).T
    square = axes @ axes.T
    root = square + np.sqrt(max(np.linalg.det(square), 1e-9)) * np.eye(2)
    root /= np.sqrt(np.trace(root))
    width = POSED_SCALE * np.trace(root) / 2
    across, down = np.linalg.solve(root, axes)
    rotation = np.stack([across, down, np.cross(across, down)])
    angle = np.radians(face.roll)
    forward = np.sign(_aside(face)) * np.array([np.cos(angle), np.sin(angle)])
    posed = width * mean @ rotation.T
    shift = POSED_SHIFT[0] * forward + POSED_SHIFT[1] * rotation[:2, 1] - rotation[:2] @ middle
    posed[:, :2] += points.mean(0) + width * shift
    return Landmarks.of(posed.astype(np.float32), 0.0)


@functools.cache
def _mean_face():
    """The mean face, 478×3 in face widths, the middle of the five points on it, and the least-squares solution for the
    two rows of a projection, 3×5."""
    mean = np.load(MEAN_FACE).astype(np.float64)
    five = _five(mean)
    return mean, five.mean(0), np.linalg.pinv(five - five.mean(0))


def _aside(face):
    """How far the nose lies beside the middle of the eyes, in widths of the box; positive to the face's right in the
    picture."""
    right, left, nose = face.points[:3]
    angle = np.radians(face.roll)
    return float((nose - (right + left) / 2) @ (np.cos(angle), np.sin(angle))) / face.box[2]


def _apart(points, face):
    """Mean distance between landmarks and a detected face's five points, in face sizes."""
    return float(np.linalg.norm(_five(points[:, :2]) - face.points, axis=1).mean()) / max(face.box[2:])


def _five(points):
    """Where the detector's five points lie on landmarks."""
    return np.stack([(points[33] + points[133]) / 2, (points[263] + points[362]) / 2, *points[[1, 61, 291]]])


def _frame(face):
    """The crop of the first pass: its centre and side in the photo, and the head's axes across and down."""
    left, top, width, height = face.box
    angle = np.radians(face.roll)
    across, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    # the box follows the photo's axes: use the size and centre of the box around the turned head
    side = BOX_SCALE * max(width, height)
    centre = np.array([left + width / 2, top + height / 2]) + (BOX_CENTRE - 0.5) * max(width, height) * down
    return centre, side, across, down


def moved_landmarks(marks, matrix):
    """Convert :class:`Landmarks` in a photo's pixels to those of an aligned crop with this
    :func:`~maskhub.faces.align.alignment`."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    flat = cv2.transform(marks.points[None, :, :2].astype(np.float64), matrix)[0]
    points = np.column_stack([flat, marks.points[:, 2] * scale]).astype(np.float32)
    turn = np.eye(3)
    turn[:2, :2] = matrix[:, :2] / scale
    roll = (marks.roll + np.degrees(np.arctan2(turn[1, 0], turn[0, 0])) + 180) % 360 - 180
    return replace(marks, points=points, roll=float(roll), rotation=turn @ marks.rotation)


def _rotation(points):
    """The head's axes in the photo, from its mirror symmetry and the line down forehead and nose."""
    points = points.astype(np.float64)
    x = (points[PAIRS[:, 1]] - points[PAIRS[:, 0]]).sum(0)
    x /= np.linalg.norm(x) + 1e-9
    y = points[list(BELOW_NOSE)].mean(0) - points[list(FOREHEAD)].mean(0)
    y -= (y @ x) * x
    y /= np.linalg.norm(y) + 1e-9
    z = x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]  # np.cross takes 50 µs
    return np.stack([x, y, z], 1)


def _angles(rotation):
    """Yaw, pitch and roll in degrees of a rotation composed as roll · yaw · pitch."""
    forward = -rotation[:, 2]
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    # the forward axis with the roll removed
    level_x = np.cos(roll) * forward[0] + np.sin(roll) * forward[1]
    level_y = -np.sin(roll) * forward[0] + np.cos(roll) * forward[1]
    yaw = np.arctan2(level_x, np.hypot(forward[2], level_y))
    pitch = np.arctan2(level_y, -forward[2])
    return tuple(float(np.degrees(angle)) for angle in (yaw, pitch, roll))
