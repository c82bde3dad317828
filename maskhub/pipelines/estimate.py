"""How well a mask will come off a face, estimated before it is taken off.

    estimate = estimate_result(crop, face.score, found)        # crop and mask detection from detect_masks
    estimate.error, estimate.poor, estimate.reason             # 0.34, True, "lit from one side"

A linear model of five numbers that the detectors have found anyway, so it needs no further network and takes about
half a millisecond. ``benchmarks/fit_estimate.py`` fitted it to the bundled unmasker's errors on faces that it was never
trained on; docs/evaluate.md says how often it is right. For another unmasker it ranks faces, but its unit is only
roughly right.
"""

import functools
import json
from typing import NamedTuple

import cv2
import numpy as np

from maskhub.pipelines.fetch import WEIGHTS

__all__ = ["FILE", "REASONS", "Estimate", "estimate_result", "measure_face"]

FILE = WEIGHTS / "estimate.json"
"""The model: ``intercept``; ``poor``, the error from which a result is likely poor; and ``terms``, name in
:data:`REASONS` → its ``mean`` and ``weight``."""
REASONS = {
    "certainty": "turned away or partly hidden",
    "reach": "a mask that reaches below the chin",
    "unevenness": "a patterned or unevenly lit mask",
    "doubt": "a mask without a clear outline",
    "slant": "lit from one side",
}
"""The numbers of :func:`measure_face`, and what it is about a face that makes its result poor."""
CERTAIN = 0.97
"""Scores of the face detector above this one count as equal."""
FEW = 50
"""Fewest pixels that a figure of light is taken from."""


class Estimate(NamedTuple):
    """What to expect of a face with its mask taken off: the ``error``, LPIPS (VGG16, v0.1) to the true face inside the
    mask's region, mostly between 0.2 and 0.4; whether the result is likely ``poor``; and what raises the error most, a
    ``reason`` in :data:`REASONS`."""

    error: float
    poor: bool
    reason: str


def estimate_result(crop, score, found):
    """The :class:`Estimate` for a masked face; arguments as for :func:`measure_face`."""
    model, measured = _model(), measure_face(crop, score, found)
    raised = {name: term["weight"] * (measured[name] - term["mean"]) for name, term in model["terms"].items()}
    error = float(model["intercept"] + sum(raised.values()))
    return Estimate(error, error >= model["poor"], REASONS[max(raised, key=raised.get)])


def measure_face(crop, score, found):
    """The numbers that the estimate is made of, from an aligned crop (uint8 RGB S×S×3), the face detector's ``score``
    (0 to 1) and the :class:`~maskhub.masks.detector.MaskDetection` on the crop; a dict with the keys of
    :data:`REASONS`:

    * ``certainty``: of the face detector, -ln(1 - score);
    * ``reach``: the mask's lowest row, as a share of the crop's side;
    * ``unevenness``: standard deviation of the mask's brightness (0 to 1);
    * ``doubt``: the share of the crop of which the mask detector is unsure whether it is covered;
    * ``slant``: difference in brightness between the left and the right half of the uncovered face.
    """
    side, region = len(crop), found.region
    light = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    kernel = np.ones((5, 5), np.uint8)
    covered = region > 0.5
    inside = cv2.erode(covered.astype(np.uint8), kernel) > 0
    bare = np.zeros((side, side), bool)
    bare[side // 8 : 7 * side // 8, side // 6 : 5 * side // 6] = True
    bare &= cv2.dilate((region > 0.1).astype(np.uint8), kernel) == 0
    left, right = light[:, : side // 2][bare[:, : side // 2]], light[:, side // 2 :][bare[:, side // 2 :]]
    rows = np.flatnonzero(covered.any(1))
    return {
        "certainty": -np.log(1 - min(score, CERTAIN)),
        "reach": (rows[-1] + 1) / side if len(rows) else 1.0,
        "unevenness": light[inside].std() / 255 if inside.sum() >= FEW else 0.0,
        "doubt": np.count_nonzero((region > 0.1) & (region < 0.9)) / side**2,
        "slant": abs(left.mean() - right.mean()) / 255 if min(len(left), len(right)) >= FEW else 0.0,
    }


@functools.cache
def _model():
    return json.loads(FILE.read_text(encoding="utf-8"))
