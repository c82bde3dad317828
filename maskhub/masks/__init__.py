"""Rule-based masks: styles (what they look like), fit (where they sit on the face) and wear (putting them on).

Other things in front of a face are in :mod:`maskhub.masks.coverings`.
"""

from maskhub.masks.coverings import COVERED, COVERING_COLOURS, COVERINGS, RANDOM_COVERING
from maskhub.masks.styles import COLOURS, STYLES, WORN
from maskhub.masks.wear import Worn, wear

__all__ = [
    "COLOURS", "COVERED", "COVERINGS", "COVERING_COLOURS", "RANDOM_COVERING", "STYLES", "WORN", "Worn", "wear",
]  # fmt: skip
