"""Does a mask hide who someone is, and does taking it off help? Verification on pairs, as the first paper tables it.

In each pair the second photo wears a mask. For each encoder there are five rows:

* ``unmasked–unmasked``: no mask at all, what the encoder can do at best;
* ``masked–unmasked, baseline``: the mask as it is;
* ``masked–unmasked, bias projection``: the part of both vectors along the mask's mean shift is taken out
  (:func:`~maskhub.evaluation.verification.mask_directions`). The shift is that from bare to masked vectors of the
  second photos of all *other* folds, none of which is in the fold that is measured;
* ``stripped–unmasked, unmasker strip``: a pipeline's unmasker takes the mask off first. Nothing else is told to it:
  the face is looked for anew, in the masked photo to take the mask off, in the result to encode it;
* ``masked and stripped–unmasked, pooled``: the mean of the masked photo's vector and the stripped one's, at length 1:
  what is made up counts half, what is seen is never lost. So Masi and others pool a photo with views synthesised from
  it ("Do We Really Need to Collect Millions of Faces for Effective Face Recognition?", ECCV 2016, section 4).

A photo without a face, on which no mask can be put or whose face is no longer found with the mask on, leaves the
comparison in *all* rows, and is listed: rows are of the same pairs.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from maskhub.data.masked import Wearing, seed_of
from maskhub.data.paired import FaceCache
from maskhub.errors import ConfigError, MaskHubError
from maskhub.evaluation.embeddings import EmbeddingCache, default_cache
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.report import BestAndWorst
from maskhub.evaluation.sets import picture_seed
from maskhub.evaluation.verification import FARS, mask_directions, project_out, verification_figures
from maskhub.faces.detect import detect
from maskhub.faces.photo import open_photo, split_alpha

__all__ = ["APPROACHES", "measure_recognition"]

ROWS = {
    "none": "unmasked–unmasked",
    "baseline": "masked–unmasked, baseline",
    "projection": "masked–unmasked, bias projection",
    "strip": "stripped–unmasked, unmasker strip",
    "pooled": "masked and stripped–unmasked, pooled",
}
APPROACHES = ("baseline", "projection", "strip", "pooled")
STRIPPED = {"strip", "pooled"}
"""Those that need an unmasker."""
CHUNK = 64
"""Photos that are in memory at once."""


def measure_recognition(
    folder, pairs, encoders, pipeline=None, *, approaches=APPROACHES, masks="rule", style="random", directions=1,
    groups=(), resamples=500, seed=0, cache=None, progress=True,
):  # fmt: skip
    """Measure the table.

    Args:
        folder: of the photos.
        pairs: list of :class:`~maskhub.evaluation.identity_pairs.IdentityPair`.
        encoders: list of :class:`~maskhub.evaluation.encoders.Encoder`.
        pipeline: :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`; ``strip`` and ``pooled`` need its unmasker.
        approaches: of :data:`APPROACHES`.
        masks: ``"rule"`` (:mod:`maskhub.masks`), or ``"model"``: the pipeline's masker.
        style: of masks by rule, or ``random``.
        directions: how many the projection takes out.
        groups: columns of the pairs.
        resamples: of the bootstrap.
        seed: of masks and bootstrap.
        cache: folder for faces and vectors; :func:`default_cache` if not given.
        progress: show a bar.

    Returns:
        the keyword arguments of :func:`~maskhub.evaluation.report.write_report`.

    Raises:
        ConfigError: an option, no encoder, a network that the pipeline has not, or too few pairs that can be measured.
    """
    unknown = [name for name in approaches if name not in APPROACHES]
    if unknown or not encoders or masks not in ("rule", "model"):
        wrong = f"the approach is {unknown[0]!r}" if unknown else f"the masks are {masks!r}"
        wrong = wrong if encoders else "no encoder is given"
        raise ConfigError(f"{wrong}: approaches are {', '.join(APPROACHES)}, masks rule or model.")
    strips = not STRIPPED.isdisjoint(approaches)
    for needed, network in ((strips, "unmasker"), (masks == "model", "masker")):
        if needed and getattr(pipeline, network, None) is None:
            raise ConfigError(f"there is no {network}: give a --model that has one, or leave it out.")
    check_columns([pair.columns for pair in pairs], groups)
    cache = default_cache() if cache is None else Path(cache)
    dresser = _Dresser(folder, Wearing(style=style, seed=seed), pipeline, masks, strips, cache)
    faces = _encode(dresser, pairs, encoders, cache, progress)
    kept = [pair for pair in pairs if pair.first in faces.bare and pair.second in faces.masked]
    same, folds = np.array([p.same for p in kept], bool), np.array([p.fold for p in kept], int)
    if min(same.sum(), (~same).sum()) < 2:
        why = next((f"; {name}: {reason}" for name, reason in faces.failures.items()), ".")
        raise ConfigError(
            f"of {len(pairs)} pairs only {same.sum()} of the same and {(~same).sum()} of different people can be "
            f"measured, at least 2 of each are needed{why}"
        )
    warnings = _warnings(pairs, kept, folds, encoders, approaches)
    scores = {}
    for place, encoder in enumerate(encoders):
        for approach in ("none", *approaches):
            row = _scores(faces, place, approach, kept, folds, directions)
            scores[f"{encoder.name}: {ROWS[approach]}"] = row
    figures = {name: verification_figures(s, same, folds, None, resamples, seed) for name, s in scores.items()}

    def of_group(numbers):
        if min(same[numbers].sum(), (~same[numbers]).sum()) < 2:
            return {}
        return {name: verification_figures(s, same, folds, numbers, resamples, seed) for name, s in scores.items()}

    measured = by_group([pair.columns for pair in kept], groups, of_group, warnings) if groups else {}
    for column, values in measured.items():
        for value in [value for value, found in values.items() if not found]:
            del values[value]
            warnings.append(f"the group {column} = {value} has fewer than 2 pairs of a kind: it is left out.")
    return {
        "settings": {
            "photos": str(folder), "pairs": len(pairs), "pairs_measured": len(kept),
            "same": int(same.sum()), "different": int((~same).sum()), "folds": len(np.unique(folds)),
            "encoders": [encoder.name for encoder in encoders], "approaches": list(approaches),
            "masks": masks, "style": style, "directions": directions, "resamples": resamples, "seed": seed,
            "baselines": [name for name in scores if not name.endswith(tuple(ROWS[name] for name in STRIPPED))],
            "interval": "95 %, percentiles of a bootstrap over pairs within folds",
        },
        "figures": figures,
        "groups": measured,
        "warnings": warnings,
        "curves": [_curve(encoder.name, scores, same) for encoder in encoders],
        "galleries": _galleries(dresser, kept, scores, same, encoders, approaches),
        "failures": sorted(faces.failures.items()),
    }  # fmt: skip


class _Dresser:
    """A photo, the same masked, and the same with the mask taken off again, each with its face."""

    def __init__(self, folder, wearing, pipeline, masks, strip, cache):
        self.folder = Path(folder).expanduser()
        self.wearing, self.pipeline, self.masks, self.strip = wearing, pipeline, masks, strip
        self.cache = FaceCache(cache / "faces.sqlite")

    def bare(self, name):
        """Pixels, face, landmarks (or None)."""
        pixels = np.asarray(split_alpha(open_photo(self.folder / name))[0])
        found = self.cache.look(pixels)
        if found is None:
            faces = detect(pixels)
            if not faces:
                raise ConfigError("no face was found.")
            found = faces[0], None
        return pixels, *found

    def masked(self, name, pixels, marks):
        """Pixels and face with the mask on."""
        if self.masks == "rule":
            if marks is None:
                raise ConfigError("its landmarks can't be made out well enough for a mask.")
            made = self.wearing.put_on(pixels, marks, seed_of(self.wearing.seed, name), "correctly").image
        else:
            made = np.asarray(self.pipeline.mask(pixels, on_no_face="keep", seed=picture_seed(pixels)))
        faces = detect(made)
        if not faces:
            raise ConfigError("no face is found any more once it is masked.")
        return made, faces[0]

    def stripped(self, masked):
        """For each ``(pixels, face)``, both with the mask taken off."""
        photos = self.pipeline.unmask([pixels for pixels, _ in masked], on_no_face="keep")
        photos = [np.asarray(photo) for photo in photos]
        return [(photo, (detect(photo) or [face])[0]) for photo, (_, face) in zip(photos, masked, strict=True)]


@dataclass
class _Faces:
    """For each photo a list of vectors, one an encoder; why the others have none."""

    bare: dict = field(default_factory=dict)
    masked: dict = field(default_factory=dict)
    stripped: dict = field(default_factory=dict)
    failures: dict = field(default_factory=dict)


def _encode(dresser, pairs, encoders, folder, progress):
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    seconds, faces = {pair.second for pair in pairs}, _Faces()
    cache = EmbeddingCache(folder / "embeddings.sqlite")
    with tqdm(total=len(names), desc="recognition", unit="photo", disable=not progress) as bar:
        for start in range(0, len(names), CHUNK):
            part = names[start : start + CHUNK]
            bare, masked = {}, {}
            for name in part:
                try:
                    pixels, face, marks = dresser.bare(name)
                    bare[name] = pixels, face
                    if name in seconds:
                        masked[name] = dresser.masked(name, pixels, marks)
                except MaskHubError as error:
                    faces.failures[name] = str(error)
            _keep(faces.bare, bare, encoders, cache)
            _keep(faces.masked, masked, encoders, cache)
            if dresser.strip and masked:
                stripped = dict(zip(masked, dresser.stripped(list(masked.values())), strict=True))
                _keep(faces.stripped, stripped, encoders, cache)
            bar.update(len(part))
    cache.close()
    dresser.cache.close()
    return faces


def _keep(vectors, photos, encoders, cache):
    if photos:
        pixels, found = zip(*photos.values(), strict=True)
        by_encoder = [cache.embed_many(encoder, pixels, found) for encoder in encoders]
        vectors.update(zip(photos, zip(*by_encoder, strict=True), strict=True))


def _scores(faces, place, approach, pairs, folds, directions):
    """The cosine of each pair, in one encoder and approach."""
    second = {"none": faces.bare, "strip": faces.stripped}.get(approach, faces.masked)
    a = np.array([faces.bare[pair.first][place] for pair in pairs], np.float64)
    b = np.array([second[pair.second][place] for pair in pairs], np.float64)
    if approach == "pooled":
        b = b + np.array([faces.stripped[pair.second][place] for pair in pairs], np.float64)
        b /= np.linalg.norm(b, axis=1, keepdims=True)
    if approach == "projection":
        for fold in np.unique(folds):
            here = folds == fold
            seen = {name for pair in pairs if pair.fold == fold for name in (pair.first, pair.second)}
            others = list(dict.fromkeys(pair.second for pair in pairs if pair.second not in seen))
            if not others:
                raise ConfigError("the bias projection needs pairs of at least two folds: give a fold column.")
            bare, masked = ([kind[name][place] for name in others] for kind in (faces.bare, faces.masked))
            basis = mask_directions(bare, masked, directions)
            a[here], b[here] = project_out(a[here], basis), project_out(b[here], basis)
    return (a * b).sum(1)


def _warnings(pairs, kept, folds, encoders, approaches):
    out = []
    if len(kept) < len(pairs):
        out.append(f"{len(pairs) - len(kept)} of {len(pairs)} pairs are left out in all rows: see the failures.")
    different = sum(not pair.same for pair in kept)
    others = different * (1 - 1 / max(len(np.unique(folds)), 2))
    for far in FARS:
        if others * far < 10:
            out.append(
                f"a false-accept rate of {100 * far:g} % is {others * far:.1f} of the different pairs that its "
                "threshold is set on: it hangs on single pairs."
            )
    for encoder in encoders:
        if not encoder.face_network:
            out.append(f"{encoder.name} is no face network: it was trained to tell things apart, not people.")
    if "projection" in approaches and len(np.unique(folds)) < 2:
        out.append("all pairs are of one fold: thresholds are set on the pairs that they are measured on.")
    return out


def _curve(encoder, scores, same):
    """True accepts against false accepts, thresholds from all pairs."""
    lines = {}
    for name, row in scores.items():
        if name.startswith(f"{encoder}: "):
            different, kind = np.sort(row[~same])[::-1], np.sort(row[same])
            places = np.unique(np.geomspace(1, len(different), 40).astype(int) - 1)
            lines[name.removeprefix(f"{encoder}: ")] = [
                [float(place / len(different)), float(1 - np.searchsorted(kind, different[place], "right") / len(kind))]
                for place in places
            ]
    axes = {"x": "false-accept rate", "y": "true-accept rate"}
    return {"title": f"{encoder}: true and false accepts", **axes, "lines": lines}


def _galleries(dresser, pairs, scores, same, encoders, approaches):
    """Pairs of one person by their score, drawn again: photo, masked, and stripped."""
    approach, encoder = approaches[-1], next((e for e in encoders if e.face_network), encoders[0])
    row = scores[f"{encoder.name}: {ROWS[approach]}"]
    gallery = BestAndWorst(f"pairs of one person by cosine of {encoder.name}, {ROWS[approach]}", "high")
    order = [number for number in np.argsort(row, kind="stable") if same[number]]
    for number in dict.fromkeys([*order[: gallery.keep], *order[-gallery.keep :]]):
        pair = pairs[number]
        pixels, _, marks = dresser.bare(pair.second)
        masked = dresser.masked(pair.second, pixels, marks)
        pictures = [dresser.bare(pair.first)[0], pixels, masked[0]]
        if approach in STRIPPED:
            pictures.append(dresser.stripped([masked])[0][0])
        gallery.add(f"{pair.first} | {pair.second}", float(row[number]), [Image.fromarray(p) for p in pictures])
    return [gallery]
