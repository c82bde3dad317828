"""Rule-based masks: what they look like (styles), where they lie (fit), and putting them on (wear)."""

from maskhub.masks.styles import COLOURS, STYLES, WORN
from maskhub.masks.wear import Worn, wear

__all__ = ["COLOURS", "STYLES", "WORN", "Worn", "wear"]
