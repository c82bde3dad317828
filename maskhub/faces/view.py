"""A photo as it is searched for faces, and what is known about each detection in it.

A row is one detection of YuNet: left, top, width, height, x and y of the five points, score, in pixels of the searched
picture.
"""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from maskhub.faces.face import Face
from maskhub.faces.settle import settle
from maskhub.faces.worn import worn
from maskhub.faces.yunet import STRIDES

__all__ = [
    "CERTAIN", "MARGIN", "SMALL", "WORN", "View", "face_of", "overturned", "own_row", "rows_turned_back",
    "sides_in_window", "trusted", "turned_copy", "upright_window",
]  # fmt: skip

MARGIN = 0.15
"""Share of each side that is added around a photo."""
LEAST = 24
"""Smallest margin in pixels after a reduction: photos of less than 370 pixels keep their whole margin of 15 %."""
DOUBTFUL = 0.5
"""Where no face is found, those from this score on are taken if landmarks settle on them."""
WORN = 0.8
"""Confidence of the mask detector from which a mask confirms a face, or its orientation."""
CERTAIN = 0.99
"""Confidence of the mask detector that decides between two orientations of a face in which landmarks are equally sure.
Of 41 masked faces that got 0.6 or more in both, the right one reached it on all, the wrong one on one."""
SMALL = 32
"""Width in pixels below which the mask detector is not run."""
ELSEWHERE, ASKEW = 15.0, 35.0
"""Degrees by which landmarks may turn a face that stands as it was detected: if the network is sure of it, or not."""
UPRIGHT = 1.116
"""Upside down, a masked face gets a less tall box, with eyes and nose lower in it: the box's height less three times
how far they lie below its middle, in widths, is less than this for 90 % of those that the detector is sure of. So it is
for 9 % of upright masked faces and 1 % of bare ones, whose orientation is checked as well."""


@dataclass
class View:
    """A photo as it is searched.

    Attributes:
        photo: uint8 RGB H×W×3.
        image: the photo, scaled down if it is large.
        pad, zoom: the margin that is added to the image, and its size as a share of the photo's; across and down.
        rows: what YuNet found in the padded image, best first.
    """

    photo: np.ndarray
    image: np.ndarray
    pad: tuple
    zoom: tuple
    rows: np.ndarray | None = None
    _known: dict = field(default_factory=dict)

    @classmethod
    def of(cls, photo, max_side, margin):
        height, width = photo.shape[:2]
        # the full margin is added at full size only for small photos; otherwise on the scaled-down copy
        scale, image = min(1.0, max_side / (max(height, width) * (1 + 2 * margin))), photo
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        pad = tuple(_pad(side, margin) for side in (image.shape[1], image.shape[0]))
        zoom = image.shape[1] / width, image.shape[0] / height
        return cls(photo, image, pad, zoom)

    @cached_property
    def padded(self):
        """The image with its margin."""
        across, down = self.pad
        return cv2.copyMakeBorder(self.image, down, down, across, across, cv2.BORDER_REPLICATE)

    def face(self, row):
        """The :class:`Face` of a row found in the padded image."""
        return face_of(row, self.pad, self.zoom)

    def row(self, face):
        """The row of a :class:`Face`, the inverse of :meth:`face`."""
        pad, zoom, box = np.float32(self.pad), np.float32(self.zoom), np.float32(face.box)
        points = face.points * zoom + pad
        return np.float32([*(box[:2] * zoom + pad), *(box[2:] * zoom), *points.ravel(), face.score])

    def settled(self, row, surely=True):
        """The face of a row placed by its landmarks; see :func:`~maskhub.faces.settle.settle`."""
        key = row.tobytes(), surely
        if key not in self._known:
            self._known[key] = settle(self.photo, self.face(row), surely)
        return self._known[key]

    def stands(self, row, surely=True):
        """Whether landmarks show the face in the orientation of its row."""
        found = self.settled(row, surely)
        return found is not None and found.sure and found.face.turned_from(self.face(row)) <= ELSEWHERE

    def presence(self, row):
        """The landmark network's confidence that there is a face as in its row, 0 to 1."""
        found = self.settled(row, surely=False)
        return found.presence if found is not None and found.face.turned_from(self.face(row)) <= ASKEW else 0.0

    def worn(self, row):
        """Confidence that the face of a row wears a mask; see :func:`~maskhub.faces.worn.worn`."""
        key = row.tobytes()
        if key not in self._known:
            face = self.face(row)
            self._known[key] = worn(self.photo, face) if min(face.box[2:]) >= SMALL else 0.0
        return self._known[key]

    def mask_grade(self, row):
        """2 if the mask detector is :data:`CERTAIN` of a mask, 1 if it is sure enough to confirm a face, else 0."""
        confidence = self.worn(row)
        return int(confidence >= WORN) + int(confidence >= CERTAIN)

    def settles(self, row):
        """Whether landmarks show that a doubtful row is a face."""
        return row[14] >= DOUBTFUL and self.settled(row) is not None

    def shows(self, row):
        """Whether a mask shows that a doubtful row of a turned photo is a face, and landmarks stay on it."""
        if row[14] < DOUBTFUL or self.worn(row) < WORN:
            return False
        return trusted(self.settled(row, surely=False), self.face(row))


def _pad(side, margin):
    """The margin in pixels: this share of a side, reduced by whole cells of YuNet's coarsest grid while a third of it
    and :data:`LEAST` pixels remain. Whole cells leave the faces in the same place on all grids, so that nearly the same
    faces are found."""
    whole = round(side * margin)
    return whole - STRIDES[-1] * max(int((whole - max(side * margin / 3, LEAST)) // STRIDES[-1]), 0)


def face_of(row, pad, scale):
    """The :class:`Face` of a row in a picture of ``scale`` times the photo's size with a margin of ``pad`` pixels."""
    pad, scale = np.asarray(pad, np.float32), np.asarray(scale, np.float32)
    corner = (row[:2] - pad) / scale
    size = row[2:4] / scale
    points = (row[4:14].reshape(5, 2) - pad) / scale
    return Face((*map(float, corner), *map(float, size)), points.astype(np.float32), float(row[14]))


def own_row(rows, row):
    """The row among ``rows``, best first, that is of the same face as ``row``, and not a neighbour's; or None."""
    middles = rows[:, :2] + rows[:, 2:4] / 2
    own = np.linalg.norm(middles - (row[:2] + row[2:4] / 2), axis=1) < 0.5 * max(row[2:4])
    return rows[own][0] if own.any() else None


def overturned(row):
    """Whether a sure detection may be of a face that is upside down."""
    width, height = row[2:4]
    below = row[[5, 7, 9, 9]].mean() - row[1] - height / 2
    return height - 3 * below < UPRIGHT * width


def trusted(found, face):
    """Whether the landmarks of a face, or None, are trusted to place it."""
    return found is not None and (found.sure or found.face.turned_from(face) <= ASKEW)


def turned_copy(image, degrees):
    """The 2×3 matrix of a clockwise turn, and the image turned by it, on a canvas that holds all of it."""
    height, width = image.shape[:2]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    size = round(abs(width * cos) + abs(height * sin)), round(abs(width * sin) + abs(height * cos))
    linear = np.array([[cos, -sin], [sin, cos]])
    middle, new_middle = np.array([width - 1, height - 1]) / 2, (np.array(size) - 1) / 2
    matrix = np.column_stack([linear, new_middle - linear @ middle])
    return matrix, cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE)


def upright_window(box, roll, scale, side):
    """The 2×3 matrix from a photo to a square window of ``side`` pixels: the middle of a face's box, turned upright by
    its ``roll`` in degrees and scaled, lies in the middle of the window."""
    left, top, width, height = box
    matrix = cv2.getRotationMatrix2D((0, 0), roll, scale)
    matrix[:, 2] = (side - 1) / 2 - matrix[:, :2] @ (left + width / 2, top + height / 2)
    return matrix


def sides_in_window(row, matrix):
    """The ends of a row's box at the height of its eyes, 2×2 float64 in the photo's pixels. ``matrix`` is that of the
    :func:`upright_window` in which it was found: in the photo, the box of a turned face is too wide."""
    eyes = row[[5, 7]].mean()
    ends = np.float64([[[row[0], eyes], [row[0] + row[2], eyes]]])
    return cv2.transform(ends, cv2.invertAffineTransform(matrix))[0]


def rows_turned_back(rows, matrix, degrees):
    """Map the rows found in a :func:`turned_copy` or an :func:`upright_window` back to the original image."""
    if not len(rows):
        return rows
    rows, inverse = rows.copy(), cv2.invertAffineTransform(matrix)
    centres = cv2.transform((rows[:, None, :2] + rows[:, None, 2:4] / 2).astype(np.float64), inverse)[:, 0]
    # treat the face as an ellipse in its box, and take the box of the turned ellipse
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    width, height = rows[:, 2:4].T / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    rows[:, 2], rows[:, 3] = np.hypot(width * cos, height * sin), np.hypot(width * sin, height * cos)
    rows[:, :2] = centres - rows[:, 2:4] / 2
    rows[:, 4:14] = cv2.transform(rows[:, 4:14].reshape(-1, 5, 2).astype(np.float64), inverse).reshape(-1, 10)
    return rows
