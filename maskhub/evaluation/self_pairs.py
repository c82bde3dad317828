"""Table 3 of the first paper: each photo is compared with itself masked by the model and with all others masked.

The protocol of Mumford ("CycleGAN, SimGAN and face recognition", Stanford, 2021), as written: with encodings e of N
photos and of the same photos masked, ``same`` are the N cosines of face i and mask i, ``different`` the N² − N of face
i and mask j. Three approaches:

* baseline: the unchanged encodings;
* bias projection: f = mean of e_mask − e_face over all N photos, normalised; the component along f is removed from
both;
* strip: the model's unmasker takes the mask off before the picture is encoded.

Its columns are the *difference in σ*, Δ / √(σ_same² + σ_different²), and the *error*, Φ(−Δ / (σ_same + σ_different)).
Each photo is compared with itself, so all figures are better than with two photos of a person.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskhub.data.rows import open_rows
from maskhub.errors import ConfigError
from maskhub.evaluation.embeddings import default_cache
from maskhub.evaluation.face_views import FaceViews, encode_views, not_for_faces
from maskhub.evaluation.gallery import BestAndWorst
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import percentile_interval
from maskhub.evaluation.report import Curve, Figure, Report
from maskhub.evaluation.verification import GaussianRule, mask_directions

__all__ = ["Photos", "measure_self_pairs"]

APPROACHES = {"baseline": "baseline", "projection": "bias projection", "strip": "unmasker strip"}
FEW = 30
ABOUT = (
    "Whether a masked photo can be told from those of other people (table 3 of Mumford, 2021): each photo is compared "
    "with itself masked and with all others masked."
)


@dataclass(frozen=True)
class Photos:
    """Photos of a folder by name, with their metadata."""

    folder: Path
    columns: dict = field(default_factory=dict)
    held_out: bool = False

    @classmethod
    def of(cls, folder, held_out=False, count=None):
        """The first ``count`` photos of a folder, or of its held-out tenth. SourceError if there is no such folder,
        ConfigError for a count below 3."""
        if count is not None and count < 3:
            raise ConfigError(f"--count is {count}; it must be at least 3.")
        rows = [row for row in open_rows(folder) if not held_out or row.held_out]
        return cls(Path(folder), {row.name: row.columns for row in rows[:count]}, held_out)


def measure_self_pairs(
    photos, encoders, pipeline, *, approaches=tuple(APPROACHES), masks="model", style="random", groups=(),
    resamples=500, seed=0, cache=None, progress=True,
):  # fmt: skip
    """Measure the table for :class:`Photos`; ``approaches`` are keys of :data:`APPROACHES`, ``groups`` metadata
    columns, the rest as for :func:`~maskhub.evaluation.measures.recognition.measure_recognition`. ConfigError for a bad
    option, a missing generator, or fewer than 3 photos to measure."""
    for name in approaches:
        if name not in APPROACHES:
            raise ConfigError(f"the approach is {name!r}; with table-3 it must be one of {', '.join(APPROACHES)}.")
    check_columns(photos.columns.values(), groups)
    cache, strip = default_cache() if cache is None else cache, "strip" in approaches
    views = FaceViews(photos.folder, cache, pipeline, masks=masks, style=style, seed=seed, strip=strip)
    kept, vectors = _encode(views, list(photos.columns), encoders, progress)
    cosines = {
        f"{encoder.name}: {APPROACHES[approach]}": _cosines(vectors, place, approach, kept)
        for place, encoder in enumerate(encoders)
        for approach in approaches
    }

    def rows(numbers=None):
        numbers = np.arange(len(kept)) if numbers is None else numbers
        chosen = cosines.items() if len(numbers) >= 3 else ()
        return {name: _figures(c[np.ix_(numbers, numbers)], resamples, seed) for name, c in chosen}

    warnings = _warnings(kept, vectors, encoders, approaches)
    return Report(
        "recognition",
        rows(),
        len(kept),
        str(photos.folder),
        ABOUT,
        {
            "protocol": "table-3", "photos": str(photos.folder), "split": "held-out" if photos.held_out else "all",
            "encoders": [encoder.name for encoder in encoders], "approaches": list(approaches), "masks": masks,
            "style": style, "resamples": resamples, "seed": seed,
            "interval": "95 %, percentiles of a bootstrap over photos",
        },
        by_group([photos.columns[name] for name in kept], groups, rows, warnings),
        [name for name in cosines if not name.endswith(APPROACHES["strip"])],
        warnings,
        [_curve(encoder.name, cosines) for encoder in encoders],
        _galleries(views, kept, cosines, strip),
        vectors.items(),
    )  # fmt: skip


def _encode(views, names, encoders, progress):
    """Names of the photos that can be measured, and the vectors."""

    def embed(encoder, pixels, faces):  # the bias is a mean of unnormalised encodings, which the cache does not have
        return encoder.embed_many(pixels, faces, unit=False)

    vectors = encode_views(views, names, set(names), encoders, embed, progress)
    kept = [name for name in names if name in vectors.masked]
    if len(kept) < 3:
        few = f"only {len(kept)} of {len(names)} photos can be measured, but at least 3 are needed"
        raise ConfigError(few + vectors.first_failure())
    return kept, vectors


def _cosines(vectors, place, approach, names):
    """N×N: face i (row) against mask j (column)."""
    second = vectors.stripped if approach == "strip" else vectors.masked
    face, mask = (np.array([kind[name][place] for name in names], np.float64) for kind in (vectors.unmasked, second))
    if approach == "projection":
        bias = mask_directions(face, mask)
        face, mask = (v - (v @ bias.T) @ bias for v in (face, mask))
    face, mask = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (face, mask))
    return face @ mask.T


def _figures(cosines, resamples, seed):
    """A row of the table, with intervals by resampling photos; a photo and its copy do not count as different."""
    n = len(cosines)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
    drawn = drawn[(drawn > 0).sum(1) > 1]  # a resample with a single distinct photo has no different pairs
    moments = zip(*_moments(cosines, np.vstack([np.ones(n), drawn])), strict=True)
    rule, *again = [GaussianRule.of(*values) for values in moments]
    figures = {
        "same mean": Figure(rule.same_mean, n=n, detail=True),
        "same σ": Figure(rule.same_std, n=n, detail=True),
        "different mean": Figure(rule.different_mean, n=n * n - n, detail=True),
        "different σ": Figure(rule.different_std, n=n * n - n, detail=True),
    }
    for name, key, better in (("difference in σ", "difference", "high"), ("error", "error", "low")):
        values = [getattr(other, key) for other in again]
        ends = percentile_interval(values, "nearest") if values else None
        figures[name] = Figure(getattr(rule, key), ends, n, better=better)
    return figures


def _moments(cosines, weights):
    """Mean and σ of same and of different cosines, for each row of weights of photos (R×N)."""
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    middle, out = np.diag(cosines).mean(), []  # subtracted before squaring, against cancellation
    for count, total in (
        (weights.sum(1), lambda c: weights @ np.diag(c)),
        (pairs, lambda c: ((weights @ c) * weights).sum(1) - (weights**2) @ np.diag(c)),
    ):
        mean = total(cosines) / count
        variance = (total((cosines - middle) ** 2) - count * (mean - middle) ** 2) / (count - 1)
        out += [mean, np.sqrt(np.maximum(variance, 0))]
    return out


def _warnings(kept, vectors, encoders, approaches):
    out = []
    if vectors.failures:
        out.append(f"{len(vectors.failures)} photos are left out of all rows: see the failures.")
    if len(kept) < FEW:
        out.append(f"only {len(kept)} photos were measured: the figures are unreliable.")
    out += not_for_faces(encoders)
    if "projection" in approaches:
        out.append("as in the paper, the bias is estimated on the photos that are measured.")
    return out


def _curve(encoder, cosines):
    lines = {}
    for name, matrix in cosines.items():
        if name.startswith(f"{encoder}: "):
            other = matrix[~np.eye(len(matrix), dtype=bool)]
            for kind, values in (("same", np.diag(matrix)), ("different", other)):
                quantiles = np.linspace(0, 1, 41)
                points = zip(np.quantile(values, quantiles), quantiles, strict=True)
                lines[f"{name.removeprefix(f'{encoder}: ')}, {kind}"] = [[float(x), float(y)] for x, y in points]
    return Curve(f"{encoder}: share of comparisons up to each cosine", "cosine", "share", lines)


def _galleries(views, names, cosines, strip):
    """Photos by their cosine with themselves masked, in the last row."""
    title, matrix = list(cosines.items())[-1]
    gallery = BestAndWorst(f"photos by cosine with themselves, {title}", "high")
    gallery.add_ends(names, np.diag(matrix), lambda number: views.pictures(names[number], strip))
    return gallery.galleries()
