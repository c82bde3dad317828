"""Face detection with YuNet (Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", 2023).

The 225 kB network is in ``weights/`` (MIT licence, see ``weights/LICENSES.md``).
"""

import threading
from dataclasses import replace

import cv2
import numpy as np

from maskhub.arguments import check_pixels
from maskhub.faces.covered import covered_face, covered_place
from maskhub.faces.settle import settle
from maskhub.faces.view import (
    CERTAIN,
    MARGIN,
    WORN,
    View,
    face_of,
    overturned,
    own_row,
    rows_turned_back,
    sides_in_window,
    trusted,
    turned_copy,
    upright_window,
)
from maskhub.faces.yunet import WEIGHTS, YuNet

__all__ = ["SURE", "FaceDetector", "detect"]

TURNS = (90, -90, 180, 45, -45, 135, -135)
"""Angles in degrees at which a photo is searched for faces that are not upright."""
SURE = 0.9
"""Upright detections are trusted from this score on. Of 150 unmasked faces, 98 % reach it upright, under 1 % upside
down and none lying. Only half of masked faces reach it, so for many of those the orientation is checked."""
WINDOW = 176
"""Side in pixels of the window in which a face's orientation is determined."""
UNSURE_LEAD = 0.06
"""How much higher another orientation must score if it doesn't reach :data:`SURE`: in 5 of 168 photos, upright masked
faces scored 0.01 to 0.05 higher upside down or lying."""
HIDDEN, BARE = 0.35, 0.6
"""Where no face is found, those from the first score on are taken if the mask detector is sure of a mask. Of two
orientations between which landmarks can't decide, one with a mask is preferred to one in which the confidence of a mask
is below the second number."""
COARSE, CLOSE, AROUND = 128, 256, 1.2
"""A face whose box's larger side, in the searched picture, is less than the first number of pixels is detected again in
a window of the second, whose side is the third times that of the box: of faces of up to about 90 pixels in width, which
its finest grid finds, YuNet sees only a fifth of a tilt (:meth:`FaceDetector._closer`)."""
LEVEL = 10.0
"""Degrees of roll up to which a sure detection is used as it is."""
LIKELY, TRIED = 0.1, 3
"""Landmarks and masks are looked for in other orientations that score at most the first number less than the detected
one, but only in those of highest score, as many as the second number."""
EVEN, AHEAD = 0.05, 0.03
"""Landmarks decide between two orientations if their presences are further apart than the first number. If not, and a
mask seems to be worn in only one of the two (it may be hair, upside down), YuNet decides if its scores are further
apart than the second, or else the mask."""
AGAIN, SIZES = 200, (0.8, 0.9, 1.0, 1.1, 1.2)
"""A face without landmarks is detected again, upright, at most this large in pixels times each of these; the mean is
taken."""


class FaceDetector:
    """Finds faces in whole photos.

    Args:
        threshold: lowest confidence of a face, 0 to 1.
        max_side: photos are first scaled down to this longer side; faces then smaller than about 10 pixels are lost.
        turn: determine the orientation of each face below :data:`SURE`, and search again with the photo turned upright,
            in steps of 45°. If no face is found, all orientations are searched.
        settle: look again at faces that are turned, or below :data:`SURE`, so that the same face is placed in the same
            way however the photo is turned. Only with ``turn``.
        margin: share of each side that is added around the photo: YuNet misses faces that fill the whole picture. Long
            sides (of 370 pixels or more by default) get less, but at least a third of it.
        closer: detect small faces again in an enlarged window, since YuNet hardly sees a tilt of theirs; about 2 ms per
            face. Not needed if landmarks are looked for next. Only with ``turn``.

    A detector holds scratch state: use one per thread, or :func:`detect`, which does.
    """

    def __init__(self, threshold=0.7, max_side=1024, turn=True, settle=True, margin=MARGIN, closer=True):
        self.threshold, self.max_side, self.margin = threshold, max_side, margin
        self.turn, self.settle, self.closer = turn, settle, closer
        self._net = YuNet(WEIGHTS, min(threshold, HIDDEN))

    def __call__(self, image, turn=None):
        """The faces of a photo, uint8 RGB H×W×3, as a list of :class:`Face`, largest first; ``turn`` overrides the
        detector's setting."""
        return self.faces(self.view(image), turn)

    def view(self, image, searched=None):
        """The :class:`View` of a photo as this detector searches it, with YuNet's rows. This is ``searched``, the view
        of the same photo by a detector with the same threshold, if both have the same size: YuNet then runs once."""
        view = View.of(image, self.max_side, self.margin)
        if searched is not None and (searched.image.shape, searched.pad) == (view.image.shape, view.pad):
            return searched
        view.rows = self._net.detect(view.image, view.pad)
        return view

    def faces(self, view, turn=None):
        """The faces of a photo's :meth:`view`, as those of the photo itself."""
        rows, doubtful = self._divided(view.rows)
        turn = self.turn if turn is None else turn
        if turn:
            rows = self._closer(view, rows) if self.closer else rows
            rows = self._find_turned(view, rows, doubtful) if _best(rows) < SURE else self._turn_unsure(view, rows)
        faces = [view.face(row) for row in rows]
        if turn and self.settle:
            faces = [self._placed(view, row, [*faces[:n], *faces[n + 1 :]]) for n, row in enumerate(rows)]
        return sorted(faces, key=lambda face: -face.area)

    def _closer(self, view, rows):
        """The rows, with those of small faces replaced by what an enlarged window shows; the scores stay."""
        rows = rows.copy()
        for row in rows:
            near = self._in_window(view, row, 0, CLOSE, AROUND) if max(row[2:4]) < COARSE else None
            if near is not None and near[14] >= row[14] - LIKELY:
                row[:14] = near[:14]
        return rows

    def _divided(self, rows):
        """YuNet's rows from the threshold on, and the doubtful ones below, each best first."""
        sure = rows[:, 14] >= self.threshold
        return rows[sure], rows[~sure]

    def _find_turned(self, view, rows, doubtful):
        """Search the turned image, unless ``rows``, found in the unturned one, or one of the ``doubtful`` ones stands
        upright; where nothing is sure, also small copies. Returns the rows of the best one."""
        if not len(rows):
            rows = doubtful[[view.settles(row) for row in doubtful]] if len(doubtful) else rows
        if len(rows):
            winner = self._way_up(view, _surest(rows))
            if not winner:
                return rows
            found = self._in_turned(view, winner)[0]
            return found if len(found) else np.stack([self._righted(view, row) for row in rows])
        tried = []
        for degrees in TURNS:
            tried.append(self._in_turned(view, degrees))
            if _best(tried[-1][0]) >= SURE + 0.02:
                return tried[-1][0]
        sure, less = (sorted(filter(len, found), key=_best, reverse=True) for found in zip(*tried, strict=True))
        sure.sort(key=lambda found: -view.mask_grade(_surest(found)))
        masked = [found for found in sure if view.mask_grade(_surest(found))]
        standing = next((found for found in sure if view.stands(_surest(found))), None)
        if standing is not None:
            return standing
        face = None if masked else covered_face(view.photo)
        covered = rows if face is None else view.row(face)[None]
        hidden = next((row[None] for row in [*covered, *doubtful] if view.worn(row) >= WORN), rows)
        if len(hidden):
            return masked[0] if masked and _best(masked[0]) > _best(hidden) + LIKELY else hidden
        if sure:
            return sure[0]
        return next((found[:1] for found in less if view.shows(found[0])), covered)

    def _in_turned(self, view, degrees):
        """The rows found in the image turned clockwise, and the doubtful ones."""
        matrix, turned = turned_copy(view.padded, degrees)
        return [rows_turned_back(rows, matrix, degrees) for rows in self._divided(self._net.detect(turned))]

    def _turn_unsure(self, view, rows):
        """In an image with at least one sure face, detect the others again with each turned upright."""
        return np.stack([self._righted(view, row) if row[14] < SURE or overturned(row) else row for row in rows])

    def _righted(self, view, row):
        """Detect a face again in its surroundings turned upright; returns the row unchanged if it is upright."""
        winner = self._way_up(view, row)
        found = self._in_window(view, row, winner) if winner else None
        return row if found is None else found

    def _in_window(self, view, row, degrees, side=WINDOW, around=1.8):
        """Detect a face again in a window of ``side`` pixels around it, ``around`` times as large as its box, turned
        clockwise; None if it isn't found there."""
        matrix = _about_the_middle(degrees, side) @ np.vstack([_window_matrix(row, side, around), (0, 0, 1)])
        turned = cv2.warpAffine(view.padded, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        return own_row(rows_turned_back(self._net.detect(turned), matrix, degrees), row)

    def _way_up(self, view, row):
        """Degrees by which a detected face must be turned to stand upright; 0 unless that is clearly better.

        A lying or upside-down face, above all a masked one, is often detected as upright, with misplaced points.
        Landmarks settle on one in ten of those, and the mask detector finds a mask on one in five. A small window
        around the face is enough to find its orientation, at a fraction of the cost of the whole photo.
        """
        over = 180 - view.face(row).roll
        if row[14] >= SURE or view.stands(row, surely=False):
            found = self._in_window(view, row, over)
            if found is None or found[14] < row[14] - LIKELY:
                return 0
            masks = view.worn(row), view.worn(found)
            if view.stands(row, surely=False) or (min(masks) < BARE and max(masks) >= WORN):
                return over if self._surer(view, found, row, *masks) else 0
        found = {degrees: self._in_window(view, row, degrees) for degrees in (0, over, *TURNS)}
        scores = {degrees: 0.0 if own is None else float(own[14]) for degrees, own in found.items()}
        least = min(row[14], scores[0] or 1.0) - LIKELY  # scores in the window are often lower than in the photo
        likely = sorted((over, *TURNS), key=scores.get, reverse=True)[:TRIED]
        likely = [degrees for degrees in likely if scores[degrees] > least]
        likely.sort(key=lambda degrees: -view.mask_grade(found[degrees]))
        masked = view.worn(row)
        for degrees in likely:
            worn = view.worn(found[degrees]) >= WORN
            bare = masked < WORN or view.presence(found[degrees]) > view.presence(row) + EVEN
            if view.settled(found[degrees]) if worn else bare and view.stands(found[degrees]):
                return degrees
        if masked < BARE and likely and view.worn(found[likely[0]]) >= WORN:
            return likely[0]
        winner = max(scores, key=scores.get)
        # a masked face scores low, and sometimes slightly higher upside down: most photos are upright
        lead = 0.01 if scores[winner] >= SURE else UNSURE_LEAD
        if scores[winner] <= max(scores[0], float(row[14])) + lead:
            return 0
        return winner if masked < WORN or view.worn(found[winner]) >= WORN else 0

    def _surer(self, view, found, row, masked, found_masked):
        """Whether a face stands as in ``found``, not as in ``row``, by YuNet's scores, landmarks and the confidences
        that a mask is worn in each."""
        lead, stays = found[14] - row[14], view.presence(row)
        if min(masked, found_masked) >= BARE or max(masked, found_masked) < WORN:
            by_masks = int(found_masked >= CERTAIN) - int(masked >= CERTAIN)
            limit = stays + (-EVEN if (by_masks or lead) > 0 else EVEN)
            return limit < 1 and view.stands(found) and view.presence(found) > limit
        # no presence is above 1: mostly the landmarks of ``found``, the slowest step, are not needed
        if stays + EVEN < 1 or lead > AHEAD or found_masked >= WORN:
            surer = view.presence(found) - stays
            if abs(surer) > EVEN:
                return surer > 0
        return lead > 0 if abs(lead) > AHEAD else found_masked >= WORN

    def _placed(self, view, row, others):
        """The face as it was detected if it is upright and sure; otherwise where a second look places it, and not one
        of the ``others``."""
        face = view.face(row)
        if row[14] >= SURE and abs(face.roll) <= LEVEL:
            return face
        found = view.settled(row, surely=False)
        if trusted(found, face):
            return found.face
        again = covered_place(view.photo, face, others) or self._again(view.photo, face)
        found = settle(view.photo, again, surely=False) if again is not face else None
        return found.face if trusted(found, again) else again

    def _again(self, photo, face):
        """A face detected again in its surroundings turned upright, where its width is certain: the mean over a few
        sizes, since YuNet's points depend on the pixel grid; unchanged if it isn't found there."""
        size, rows, sides = max(face.box[2:]), [], []
        for factor in SIZES:
            scale = min(1.0, AGAIN / size) * factor
            side = round(2 * size * scale)
            matrix = upright_window(face.box, face.roll, scale, side)
            turned = cv2.warpAffine(photo, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
            around = np.float32([side / 2 - size * scale / 2] * 2 + [size * scale] * 2)
            row = own_row(self._net.detect(turned), around)
            if row is not None and row[14] >= face.score - LIKELY:
                sides.append(sides_in_window(row, matrix))
                rows.append(rows_turned_back(row[None], matrix, -face.roll)[0])
        if not rows:
            return face
        found = face_of(np.mean(rows, 0), (0, 0), (1, 1))
        return replace(found, sides=np.mean(sides, 0).astype(np.float32))


_threads = threading.local()


def detect(image, threshold=0.7, max_side=1024, margin=MARGIN, closer=True):
    """Find the faces of a photo, uint8 RGB H×W×3; see :class:`FaceDetector`. PhotoError for anything else.
    Thread-safe."""
    check_pixels(image)
    detectors = _threads.__dict__.setdefault("detectors", {})
    key = threshold, max_side, margin, closer
    if key not in detectors:
        detectors[key] = FaceDetector(threshold, max_side, margin=margin, closer=closer)
    return detectors[key](image)


def _surest(rows):
    return rows[rows[:, 14].argmax()]


def _best(rows):
    return float(rows[:, 14].max(initial=0.0))


def _window_matrix(row, pixels, around):
    side = around * max(row[2], row[3])
    scale = pixels / side
    corner = row[:2] + row[2:4] / 2 - side / 2
    return np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])


def _about_the_middle(degrees, side):
    return cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -degrees, 1.0)
