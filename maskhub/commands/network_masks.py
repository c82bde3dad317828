"""Masks by a network on photos of many faces, with the record of each face: the second step of the two-step method.

way = network_way(load_pipeline("user/model"))
mask_source("photos", "masked", Wearing(portion=0.5), boxes="coco", way=way)
"""

from functools import partial

import numpy as np

from maskhub.data.masked import Masked, face_facts, faces_of, low_quality, mask_box, seed_of
from maskhub.data.masked_files import MaskingWay
from maskhub.direction import Direction
from maskhub.errors import NoFaceError
from maskhub.masks.detector import MASKED
from maskhub.masks.styles import WORN
from maskhub.pipelines.outcomes import Outcome
from maskhub.pipelines.record import FaceRecord

__all__ = ["mask_by_network", "network_way"]


def network_way(pipeline):
    """The :class:`~maskhub.data.masked_files.MaskingWay` of a pipeline."""
    return MaskingWay(partial(mask_by_network, pipeline), pipeline.model_name)


def mask_by_network(pipeline, pixels, wearing, name, own=None):
    """Put masks on the faces of a photo with a pipeline's masker; arguments, result and errors as for
    :func:`~maskhub.data.masked.mask_faces`.

    Of ``wearing``, the portion, the seed and ``bare_only`` count; ``style`` is the pipeline's name.
    """
    found = faces_of(pixels, own)
    order, wanted = wearing.order(name, len(found))
    side, seed = pipeline.config.resolution, seed_of(wearing.seed, name)
    records = [FaceRecord(pixels, found[number], side, seed, number) for number in order if found[number]]
    translator = pipeline.translator("mask", force=not wearing.bare_only)
    translator.examine(records)
    for face in records:
        translator.decide(face, masked=face.presence is not None and face.presence >= MASKED)
    for face in [face for face in records if face.pending][wanted:]:
        face.outcome = Outcome.NOT_CHOSEN
    translator.ways[Direction.MASK].translate([face for face in records if face.pending])
    if own is None and not any(face.changed for face in records):
        why = ", ".join(sorted({face.outcome for face in records}))
        raise NoFaceError(f"no face was masked ({why}).")

    image, region = pixels.copy(), np.zeros(pixels.shape[:2], np.float32)
    faces = [face_facts(face) for face in found]
    for record in sorted(records, key=lambda record: record.face.box[2]):  # the larger face is usually nearer
        if record.changed:
            after, cover = record.paste(image)
            facts = faces[record.number]
            facts |= wearing.score(image, after, cover, record.face)
            if wearing.accepts(facts):
                image, region = after, np.maximum(region, cover)
                facts |= {"worn": WORN[0], "style": pipeline.model_name, "mask_box": mask_box(cover)}
        elif record.outcome is Outcome.ALREADY_MASKED:
            faces[record.number]["worn"] = "already masked"
    if own is None and not any(face["style"] for face in faces):
        raise NoFaceError(low_quality(faces, wearing))
    return Masked(image, region, faces, [None] * len(found), found)
