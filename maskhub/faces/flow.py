"""Follow a face from one frame to later ones by optical flow.

Corners of a small patch around the face are followed by pyramidal Lucas-Kanade (Lucas, Kanade, IJCAI 1981; Bouguet,
2000). A corner is used if tracking it back leads to where it began (the forward-backward error: Kalal, Mikolajczyk,
Matas, ICPR 2010), and the similarity transform that most corners agree on is the face's motion.
"""

import cv2
import numpy as np

__all__ = ["Patch"]

SIDE, WIDTHS = 160, 2.0
"""Side of the patch in pixels, and the face widths it spans."""
CORNERS, LEAST_CORNERS = 45, 10
BACK = 0.7
"""Largest forward-backward error in pixels of the patch."""
LIKE = 0.6
"""Lowest correlation, -1 to 1, of the face with its appearance in the first frame."""
ELLIPSE = cv2.ellipse(
    np.zeros((SIDE, SIDE), np.uint8), (SIDE // 2, SIDE // 2), (int(0.24 * SIDE), int(0.32 * SIDE)), 0, 0, 360, 255, -1
)
"""Where corners are looked for."""


class Patch:
    """The appearance of a face in one frame, uint8 RGB H×W×3, where it has this box."""

    def __init__(self, frame, box):
        left, top, width, height = box
        scale = SIDE / (WIDTHS * max(width, 0.75 * height))
        x, y = left + width / 2, top + height / 2
        self._matrix = np.array([[scale, 0, SIDE / 2 - scale * x], [0, scale, SIDE / 2 - scale * y], [0, 0, 1]])
        self._grey = self._look(frame, np.eye(3))
        self._corners = cv2.goodFeaturesToTrack(self._grey, CORNERS, 0.02, 4, mask=ELLIPSE)

    def motion(self, frame, guess):
        """The similarity transform, 3×3, from the first frame's pixels to this frame's; None if the face is lost.

        ``guess`` is a motion near it: the larger the difference, the more likely the face is lost.
        """
        if self._corners is None or len(self._corners) < LEAST_CORNERS:
            return None
        now, options = self._look(frame, guess), {"winSize": (13, 13), "maxLevel": 3}
        ahead, there, _ = cv2.calcOpticalFlowPyrLK(self._grey, now, self._corners, None, **options)
        back, here, _ = cv2.calcOpticalFlowPyrLK(now, self._grey, ahead, None, **options)
        error = np.linalg.norm(back - self._corners, axis=2)[:, 0]
        good = (there[:, 0] > 0) & (here[:, 0] > 0) & (error < BACK)
        if good.sum() < max(LEAST_CORNERS, 0.4 * len(good)):
            return None
        moved, inliers = cv2.estimateAffinePartial2D(
            self._corners[good], ahead[good], method=cv2.RANSAC, ransacReprojThreshold=1.0
        )
        if moved is None or inliers.sum() < max(LEAST_CORNERS, 0.5 * good.sum()):
            return None
        if not 0.7 < np.sqrt(abs(np.linalg.det(moved[:, :2]))) < 1.4:
            return None
        # the motion within the patch, in the frame's pixels
        inside = self._matrix @ np.linalg.inv(guess)
        motion = np.linalg.inv(inside) @ np.vstack([moved, [0, 0, 1]]) @ self._matrix
        return motion if _correlation(self._grey, self._look(frame, motion)) >= LIKE else None

    def _look(self, frame, motion):
        """The face in grey, moved and turned back to where it was in the first frame."""
        matrix = (self._matrix @ np.linalg.inv(motion))[:2]
        patch = cv2.warpAffine(frame, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)


def _correlation(one, other):
    """Of the centres of two patches, -1 to 1; unaffected by changes of lighting."""
    inner = slice(SIDE // 4, 3 * SIDE // 4)
    return float(cv2.matchTemplate(one[inner, inner], other[inner, inner], cv2.TM_CCOEFF_NORMED)[0, 0])
