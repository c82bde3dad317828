"""Criteria for training photos: the options of ``maskhub dataset curate`` and the reasons to drop a photo."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskhub.data.mask_measures import MASK_MEASURES
from maskhub.errors import ConfigError
from maskhub.masks.detector import MASKED
from maskhub.options import Count, OptionSet, Positive, Share

__all__ = ["MEASURES", "Criteria"]

MEASURES = ("faces", "size", "sharpness", "presence", "yaw", "pitch", "roll", "mask_presence", *MASK_MEASURES)

Degrees = Annotated[float, Field(ge=0)]


class Criteria(OptionSet):
    """Criteria for photos; only the largest face is measured.

    A face without reliable landmarks is dropped, unless ``mask`` is ``"masked"``: under a mask they often can't be
    detected, and then only the roll is known.
    """

    min_faces: Positive = 1
    """Minimum number of faces in a photo."""
    max_faces: Count = 1
    """Maximum number of faces in a photo; 0 for any number."""
    min_size: Count = 64
    """Minimum width of the face in pixels."""
    min_sharpness: Annotated[float, Field(ge=0)] = 0.6
    """Minimum sharpness; see docs/data.md. 0 keeps blurred photos."""
    max_yaw: Degrees = 40.0
    """Maximum turn to the side in degrees."""
    max_pitch: Degrees = 35.0
    """Maximum turn up or down in degrees."""
    max_roll: Degrees = 45.0
    """Maximum tilt in degrees."""
    mask: Literal["any", "masked", "unmasked"] = "any"
    """Keep only faces that seem masked, or only unmasked ones, by the mask detector; see docs/data.md."""

    min_mask_placement: Share = 0.0
    """Of a masked face: share of nose tip and mouth corners that the mask must cover; 1: all of them, 0: any."""
    min_mask_clarity: Share = 0.0
    """Of a masked face: how sure the mask detector must be of the mask's pixels, 0 to 1; see docs/data.md."""
    min_mask_realism: Share = 0.0
    """Of a masked face: how well the mask must match the photo in detail and light, 0 to 1; see docs/data.md."""
    min_mask_lightness: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Of a masked face: minimum lightness of the mask, 0 (black) to 100 (white); light-coloured ones have 60."""

    @model_validator(mode="after")
    def _check_faces(self):
        if self.max_faces and self.max_faces < self.min_faces:
            raise ConfigError(f"--min-faces {self.min_faces} is above --max-faces {self.max_faces}.")
        return self

    def reasons(self, measured):
        """Reasons to drop a photo with these measures, in the order of :data:`MEASURES`; empty if it is kept."""
        if measured["faces"] == 0:
            return ["no face"]
        reasons = []
        if measured["faces"] < self.min_faces:
            reasons.append("too few faces")
        if self.max_faces and measured["faces"] > self.max_faces:
            reasons.append("too many faces")
        if measured["size"] < self.min_size:
            reasons.append("face too small")
        if measured["sharpness"] < self.min_sharpness:
            reasons.append("blurred")
        if measured["yaw"] is None and self.mask != "masked":
            reasons.append("face not clear")
        limits = {"yaw": self.max_yaw, "pitch": self.max_pitch, "roll": self.max_roll}
        words = {"yaw": "turned aside", "pitch": "turned up or down", "roll": "tilted"}
        reasons += [words[key] for key, limit in limits.items() if abs(measured[key] or 0) > limit]
        if self.mask != "any" and (measured["mask_presence"] >= MASKED) != (self.mask == "masked"):
            reasons.append(f"seems {'unmasked' if self.mask == 'masked' else 'masked'}")
        if measured["mask_presence"] >= MASKED:
            words = ("mask misplaced", "mask not clear", "mask not realistic", "mask too dark")
            for key, word in zip(MASK_MEASURES, words, strict=True):
                if (measured[key] or 0) < getattr(self, f"min_{key}"):
                    reasons.append(word)
        return reasons
