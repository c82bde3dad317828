"""Rule-based masks: styles (what they look like), fit (where they sit on the face) and wear (putting them on)."""

from maskhub.masks.styles import COLOURS, STYLES, WORN
from maskhub.masks.wear import Worn, wear

__all__ = ["COLOURS", "STYLES", "WORN", "Worn", "wear"]
