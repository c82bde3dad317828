"""Face verification on pairs of photos: does a mask hide who someone is, and does taking it off help?

In each pair the second photo wears a mask. For each encoder there are seven rows:

* ``unmasked–unmasked``: no mask, the best the encoder can do;
* ``masked–unmasked, baseline``: with the mask;
* ``masked–unmasked, bias projection``: the component of both vectors along the mask's mean shift is removed
  (:func:`~maskhub.evaluation.verification.mask_directions`);
* ``masked–unmasked, whitened``: directions in which masks change vectors count for less
  (:class:`~maskhub.evaluation.verification.MaskWhitening`);
* ``stripped–unmasked, unmasker strip``: a pipeline's unmasker takes the mask off first. The face
  is detected again, both in the masked photo and in the result;
* ``masked and stripped–unmasked, pooled``: the mean of the vectors of the masked and the stripped photo, normalised:
  the invented part counts half, and nothing visible is lost. Masi et al. pool a photo with synthesised views like this
  ("Do We Really Need to Collect Millions of Faces for Effective Face Recognition?", ECCV 2016, section 4);
* ``masked and stripped–unmasked, pooled and whitened``: both.

Projection and whitening are learnt from the unmasked and masked (or pooled) vectors of the second photos of all *other*
folds, none of which is in the measured fold.

A photo without a face, on which no mask can be put, or whose face is not found with the mask on, is removed from *all*
rows and listed, so all rows have the same pairs.

The protocol of table 3 of the first paper, in which each photo is compared with itself masked, is in
:mod:`maskhub.evaluation.self_pairs`.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from maskhub.data.portraits import FOLDER, are_portraits
from maskhub.data.portraits import NAME as PORTRAITS
from maskhub.errors import ConfigError
from maskhub.evaluation.embeddings import EmbeddingCache, default_cache
from maskhub.evaluation.encoders import encoder as find_encoder
from maskhub.evaluation.face_views import FaceViews, encode_views, not_for_faces
from maskhub.evaluation.gallery import BestAndWorst
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.identity_pairs import read_pairs, some_pairs
from maskhub.evaluation.options import Model, ModelOptions, Names
from maskhub.evaluation.report import Curve, Report
from maskhub.evaluation.self_pairs import APPROACHES as OF_TABLE_3
from maskhub.evaluation.self_pairs import Photos, measure_self_pairs
from maskhub.evaluation.trained_against import refuse_trained_against
from maskhub.evaluation.verification import (
    FARS,
    MaskWhitening,
    mask_directions,
    pool,
    project_out,
    verification_figures,
)
from maskhub.options import Count, Positive
from maskhub.pipelines.load import load_pipeline

__all__ = ["APPROACHES", "Options", "measure", "measure_recognition", "pair_scores"]

ROWS = {
    "none": "unmasked–unmasked",
    "baseline": "masked–unmasked, baseline",
    "projection": "masked–unmasked, bias projection",
    "whitened": "masked–unmasked, whitened",
    "strip": "stripped–unmasked, unmasker strip",
    "pooled": "masked and stripped–unmasked, pooled",
    "pooled-whitened": "masked and stripped–unmasked, pooled and whitened",
}
APPROACHES = tuple(ROWS)[1:]
STRIPPED = {"strip", "pooled", "pooled-whitened"}
"""Approaches that need an unmasker."""
LEARNT = {"projection": "bias projection", "whitened": "whitening", "pooled-whitened": "whitening"}
"""Approaches that learn from other folds, and their names in messages."""
ABOUT = "Whether people can still be recognised with a mask on, and with the mask taken off again."


DEFAULTS = {
    "pairs": {"encoders": ("vgg19", "mobilefacenet", "dlib"), "approaches": APPROACHES, "masks": "rule"},
    "table-3": {"encoders": ("inception", "vgg19"), "approaches": tuple(OF_TABLE_3), "masks": "model"},
}
"""Defaults of each protocol."""


class Options(ModelOptions):
    """Verify people on photos: unmasked, masked, with the mask's bias projected out, with the mask taken off.

    Compares listed pairs of photos, or, as in table 3 of Mumford, 2021, each photo with itself masked by the model and
    with all others masked. Faces and vectors of pairs are cached, so another model on the same pairs takes less time.
    """

    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]]
    """Folder of the photos, or builtin:portraits; for pairs with pairs.csv: fold,first,second,same (see the docs)."""
    protocol: Literal["pairs", "table-3"] = "pairs"
    """Listed pairs, or the protocol of table 3."""
    held_out: bool = False
    """With --protocol table-3: only the held-out tenth of the photos."""
    pairs: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None
    """List of pairs; default: pairs.csv in the folder."""
    count: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Maximum number of pairs, balanced over folds and kinds, or of photos with table-3; default: all."""
    encoders: Names = ()
    """Any of vgg19, mobilefacenet, dlib (default for pairs) and inception (with vgg19 the default for table-3); never
    one that the model was trained against."""
    approaches: Names = ()
    """Any of baseline, projection, strip and, for pairs, whitened, pooled (masked and stripped together) and
    pooled-whitened; default: all."""
    model: Model = None
    """Pipeline folder or Hub id with the unmasker; default: the bundled checkpoint."""
    masks: Literal["rule", "model"] | None = None
    """Put masks on by rule (default for pairs) or with the pipeline's masker (default for table-3)."""
    style: str = "random"
    """Style of rule-based masks: surgical, kn95, cup, cloth, patterned, neoprene, or random."""
    directions: Positive = 1
    """Number of directions that the projection removes."""
    resamples: Count = 500
    """Resamples for the bootstrap intervals."""
    seed: Count = 0
    """Seed of masks, bootstrap and the choice of pairs."""
    weights_dir: Model = None
    """Folder or Hub repository with the encoders' weights; default: MASKHUB_WEIGHTS."""


def measure(options):
    """The :class:`~maskhub.evaluation.report.Report` of :class:`Options`."""
    defaults = DEFAULTS[options.protocol]
    chosen = {name: getattr(options, name) or value for name, value in defaults.items()}
    _check_applies(options, chosen)
    encoders = [find_encoder(name, options.weights_dir) for name in chosen["encoders"]]
    pipeline = None
    if _needs_network(chosen):
        refuse_trained_against(options.model, chosen["encoders"])
        pipeline = load_pipeline(options.model, options.device)
    names = ("style", "groups", "resamples", "seed")
    arguments = chosen | {name: getattr(options, name) for name in names} | {"encoders": encoders}
    folder = _folder(options.folder)
    if options.protocol == "table-3":
        photos = Photos.of(folder, options.held_out, options.count)
        report = measure_self_pairs(photos, pipeline=pipeline, **arguments)
    else:
        pairs = some_pairs(read_pairs(folder, options.pairs), options.count, options.seed)
        arguments["directions"] = options.directions
        report = measure_recognition(folder, pairs, pipeline=pipeline, **arguments)
    report.settings |= {"model": options.model or "bundled"} if pipeline is not None else {}
    return report


def _needs_network(chosen):
    return not STRIPPED.isdisjoint(chosen["approaches"]) or chosen["masks"] == "model"


def _check_applies(options, chosen):
    """ConfigError for an option that the protocol, approaches or masks don't use."""
    others = {"pairs": ("held_out",), "table-3": ("pairs", "directions")}[options.protocol]
    options.refuse(f"with --protocol {options.protocol}", *others)
    if "projection" not in chosen["approaches"]:
        options.refuse("without the approach projection", "directions")
    if chosen["masks"] == "model":
        options.refuse("with --masks model", "style")
    if not _needs_network(chosen):
        options.refuse("with these approaches, which need no network", "model", "device")


def _folder(spec):
    if not are_portraits(spec):
        return spec
    if str(spec) != PORTRAITS:
        raise ConfigError(f"{spec} can't be verified: give {PORTRAITS}, on which the measure puts the masks itself.")
    return FOLDER


def measure_recognition(
    folder, pairs, encoders, pipeline=None, *, approaches=APPROACHES, masks="rule", style="random", directions=1,
    groups=(), resamples=500, seed=0, cache=None, progress=True,
):  # fmt: skip
    """Measure listed pairs. ConfigError for a bad option, a generator that the pipeline does not have, or too few pairs
    that can be measured.

    Args:
        folder, pairs: of the photos; list of :class:`~maskhub.evaluation.identity_pairs.IdentityPair`.
        encoders: list of :class:`~maskhub.evaluation.encoders.Encoder`.
        pipeline: :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`; :data:`STRIPPED` need its unmasker.
        approaches: of :data:`APPROACHES`.
        masks, style, seed: as for :class:`~maskhub.evaluation.face_views.FaceViews`; the bootstrap also uses the seed.
        directions, groups: number of directions that the projection removes; columns of the pairs.
        cache: folder for faces and vectors, by default in ``~/.cache``.
    """
    _check_approaches(approaches)
    check_columns([pair.columns for pair in pairs], groups)
    cache, strip = default_cache() if cache is None else Path(cache), not STRIPPED.isdisjoint(approaches)
    views = FaceViews(folder, cache, pipeline, masks=masks, style=style, seed=seed, strip=strip)
    vectors = _encode(views, pairs, encoders, cache, progress)
    kept = [pair for pair in pairs if pair.first in vectors.unmasked and pair.second in vectors.masked]
    same, folds = np.array([p.same for p in kept], bool), np.array([p.fold for p in kept], int)
    _check_counts(pairs, same, vectors)
    warnings = _warnings(pairs, kept, folds, encoders, approaches)
    scores = {
        f"{encoder.name}: {ROWS[approach]}": pair_scores(vectors, place, approach, kept, folds, directions)
        for place, encoder in enumerate(encoders)
        for approach in ("none", *approaches)
    }

    def rows(numbers=None):
        if numbers is not None and min(same[numbers].sum(), (~same[numbers]).sum()) < 2:
            return {}
        return {name: verification_figures(s, same, folds, numbers, resamples, seed) for name, s in scores.items()}

    return Report(
        "recognition",
        rows(),
        len(kept),
        str(folder),
        ABOUT,
        {
            **_settings(folder, pairs, same, folds, encoders), "approaches": list(approaches), "masks": masks,
            "style": style, "directions": directions, "resamples": resamples, "seed": seed,
        },
        by_group([pair.columns for pair in kept], groups, rows, warnings),
        [name for name in scores if not name.endswith(tuple(ROWS[name] for name in STRIPPED))],
        warnings,
        [_curve(encoder.name, scores, same) for encoder in encoders],
        _galleries(views, kept, scores, same, encoders, approaches),
        vectors.items(),
    )  # fmt: skip


def _settings(folder, pairs, same, folds, encoders):
    return {
        "photos": str(folder), "pairs": len(pairs), "pairs_measured": len(same), "same": int(same.sum()),
        "different": int((~same).sum()), "folds": len(np.unique(folds)),
        "encoders": [encoder.name for encoder in encoders],
        "interval": "95 %, percentiles of a bootstrap over pairs within folds",
    }  # fmt: skip


def _check_approaches(approaches):
    unknown = [name for name in approaches if name not in APPROACHES]
    if unknown:
        raise ConfigError(f"the approach is {unknown[0]!r}; it must be one of {', '.join(APPROACHES)}.")


def _encode(views, pairs, encoders, folder, progress):
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    cache = EmbeddingCache(folder / "embeddings.sqlite")
    vectors = encode_views(views, names, {pair.second for pair in pairs}, encoders, cache.embed_many, progress)
    cache.close()
    return vectors


def _check_counts(pairs, same, vectors):
    if min(same.sum(), (~same).sum()) < 2:
        raise ConfigError(
            f"only {same.sum()} pairs of the same and {(~same).sum()} of different people out of {len(pairs)} can be "
            f"measured, but at least 2 of each are needed{vectors.first_failure()}"
        )


def pair_scores(vectors, place, approach, pairs, folds, directions):
    """The cosine of each of N pairs, in one encoder and approach.

    Args:
        vectors, place: :class:`~maskhub.evaluation.face_views.Vectors`; number of the encoder.
        approach: ``"none"`` or one of :data:`APPROACHES`.
        pairs, folds, directions: N pairs and their folds; as in :func:`measure_recognition`.

    Raises:
        ConfigError: the approach learns from other folds, but all pairs are in one.
    """
    first, second = _vectors_of(vectors, place, "none"), _vectors_of(vectors, place, approach)
    a, b = first([pair.first for pair in pairs]), second([pair.second for pair in pairs])
    for fold in np.unique(folds) if approach in LEARNT else ():
        here = folds == fold
        here_too = {name for pair in pairs if pair.fold == fold for name in (pair.first, pair.second)}
        others = list(dict.fromkeys(pair.second for pair in pairs if pair.second not in here_too))
        if not others:
            raise ConfigError(f"the {LEARNT[approach]} needs pairs of at least two folds: give a fold column.")
        unmasked, masked = first(others), second(others)
        if approach == "projection":
            basis = mask_directions(unmasked, masked, directions)
            a[here], b[here] = project_out(a[here], basis), project_out(b[here], basis)
        else:
            whitening = MaskWhitening.of(unmasked, masked)
            a[here], b[here] = whitening.unmasked(a[here]), whitening.masked(b[here])
    return (a * b).sum(1)


def _vectors_of(vectors, place, approach):
    """A function of N names to their vectors, N×D, in one encoder and approach."""

    def take(kind, names):
        return np.array([kind[name][place] for name in names], np.float64)

    if approach not in ("pooled", "pooled-whitened"):
        return partial(take, {"none": vectors.unmasked, "strip": vectors.stripped}.get(approach, vectors.masked))
    return lambda names: pool(take(vectors.masked, names), take(vectors.stripped, names))


def _warnings(pairs, kept, folds, encoders, approaches):
    out = []
    if len(kept) < len(pairs):
        out.append(f"{len(pairs) - len(kept)} of {len(pairs)} pairs are left out of all rows: see the failures.")
    different = sum(not pair.same for pair in kept)
    others = different * (1 - 1 / max(len(np.unique(folds)), 2))
    for far in FARS:
        if others * far < 10:
            out.append(
                f"a false-accept rate of {100 * far:g} % is {others * far:.1f} of the different pairs that its "
                "threshold is set on: it depends on single pairs."
            )
    out += not_for_faces(encoders)
    if not LEARNT.keys().isdisjoint(approaches) and len(np.unique(folds)) < 2:
        out.append("all pairs are of one fold: thresholds are set on the pairs that they are measured on.")
    return out


def _curve(encoder, scores, same):
    """True accepts over false accepts, for thresholds from all pairs."""
    lines = {}
    for name, row in scores.items():
        if name.startswith(f"{encoder}: "):
            different, kind = np.sort(row[~same])[::-1], np.sort(row[same])
            places = np.unique(np.geomspace(1, len(different), 40).astype(int) - 1)
            lines[name.removeprefix(f"{encoder}: ")] = [
                [float(place / len(different)), float(1 - np.searchsorted(kind, different[place], "right") / len(kind))]
                for place in places
            ]
    return Curve(f"{encoder}: true and false accepts", "false-accept rate", "true-accept rate", lines)


def _galleries(views, pairs, scores, same, encoders, approaches):
    """Pairs of one person by their score, with the pictures computed again: photo, masked, and stripped."""
    approach, encoder = approaches[-1], next((e for e in encoders if e.face_network), encoders[0])
    row = scores[f"{encoder.name}: {ROWS[approach]}"]
    gallery = BestAndWorst(f"pairs of one person by cosine of {encoder.name}, {ROWS[approach]}", "high")
    pairs = [pair for pair in pairs if pair.same]

    def pictures(number):
        pair = pairs[number]
        return [views.unmasked(pair.first)[0], *views.pictures(pair.second, approach in STRIPPED)]

    gallery.add_ends([f"{pair.first} | {pair.second}" for pair in pairs], row[same], pictures)
    return gallery.galleries()
