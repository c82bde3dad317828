"""How near a made picture comes to the true one, beside baselines that cost nothing.

    pairs = WornPictures(PictureSet("photos", held_out=True), "unmask")
    found = measure_pairs(pairs, pipeline.unmask, lpips=Lpips(path), encoder=encoder("mobilefacenet"))
    write_report("pairs.json", "pairs", **found)

Every figure is the mean over the pairs of the whole picture, of the region's *inside* (weighted by the region, LPIPS by
its spatial map) and of its *outside* (where the region is 0). ``identity`` is the cosine between the faces' embeddings,
``non_mask_change`` the mean change of the input outside the region, in 8-bit units. ``frechet`` is no mean: it is the
distance of the made pictures as a set from the true ones.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from maskhub.data.masked import Wearing, mask_faces
from maskhub.errors import ConfigError, MaskHubError, SourceError
from maskhub.evaluation.baselines import COPY, INPAINTINGS, MEAN_FACE, MeanFace, inpaint
from maskhub.evaluation.frechet import FeatureStatistics, frechet_distance, frechet_interval
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import mean_figure
from maskhub.evaluation.report import BestAndWorst
from maskhub.evaluation.sets import PictureSet
from maskhub.evaluation.similarity import change, psnr, ssim
from maskhub.faces.detect import detect
from maskhub.faces.photo import open_photo, split_alpha

__all__ = ["MADE", "MatchedPictures", "Pair", "WornPictures", "measure_pairs"]

MADE, TRUTH = "made", "truth"
DIRECTIONS = ("mask", "unmask")
PLAIN = {"psnr": psnr, "ssim": ssim}
KEPT_FAILED = 20


@dataclass(frozen=True)
class Pair:
    """One picture in its two states.

    Attributes:
        name: its file's.
        input: uint8 RGB, H×W×3, what is translated.
        truth: the same, what it should become.
        region: float32 H×W in [0, 1], 1 where a mask covers the face; None where it is not known.
        columns: the source's.
        made: what became of it, where that is at hand already.
    """

    name: str
    input: np.ndarray
    truth: np.ndarray
    region: np.ndarray | None
    columns: dict
    made: np.ndarray | None = None


class WornPictures:
    """Pairs of unmasked photos and the same photos with a mask put on by rule, the same ones each time.

    Args:
        pictures: :class:`~maskhub.evaluation.sets.PictureSet` of unmasked photos.
        direction: ``"unmask"`` takes the masked ones for inputs, ``"mask"`` for truths.
        seed: of the masks.
    """

    def __init__(self, pictures, direction="unmask", seed=0):
        self.pictures, self.direction = pictures, _direction(direction)
        self.wearing, self.failures = Wearing(seed=seed), []

    def __iter__(self):
        failures = []
        for picture in self.pictures:
            try:
                worn = mask_faces(picture.pixels, self.wearing, picture.name, largest=True)
            except MaskHubError as error:
                failures.append((picture.name, str(error)))
                continue
            ends = (worn.image, picture.pixels) if self.direction == "unmask" else (picture.pixels, worn.image)
            yield Pair(picture.name, *ends, worn.region, picture.columns)
        self.failures = [*self.pictures.failures, *failures]

    def describe(self):
        """Settings of a report."""
        return {"photos": self.pictures.spec, "masks": f"by rule, seed {self.wearing.seed}"}


class MatchedPictures:
    """Pairs from folders whose files have the same names, whatever their suffixes.

    Args:
        inputs: :class:`~maskhub.evaluation.sets.PictureSet` of the inputs; its order and columns count.
        truths, regions, made: folders; ``regions`` of 8-bit pictures, 255 where covered; the last two may be None.

    Raises:
        SourceError: no such folder, or none of its names is an input's.
    """

    def __init__(self, inputs, truths, regions=None, made=None):
        self.inputs, self.failures = inputs, []
        self.folders = {"truth": truths, "region": regions, MADE: made}
        self._paths = {}
        for what, folder in self.folders.items():
            if folder is not None:
                rows = PictureSet(folder)
                self._paths[what] = {_stem(row.name): row.open() for row in rows._rows}

    def __iter__(self):
        failures, count = [], 0
        for picture in self.inputs:
            key = _stem(picture.name)
            missing = [what for what, paths in self._paths.items() if key not in paths]
            if missing:
                failures.append(
                    (picture.name, f"there is no {missing[0]} picture of this name in {self.folders[missing[0]]}.")
                )
                continue
            try:
                found = {what: split_alpha(open_photo(paths[key]))[0] for what, paths in self._paths.items()}
                region = found.pop("region", None)
                arrays = {what: np.asarray(image) for what, image in found.items()}
                for what, array in [*arrays.items(), *([("region", np.asarray(region))] if region else [])]:
                    _same_size(what, array, picture.pixels)
            except MaskHubError as error:
                failures.append((picture.name, str(error)))
                continue
            count += 1
            cover = None if region is None else np.asarray(region.convert("L"), np.float32) / 255
            yield Pair(picture.name, picture.pixels, arrays["truth"], cover, picture.columns, arrays.get(MADE))
        self.failures = [*self.inputs.failures, *failures]
        if not count:
            first = f" (the first: {self.failures[0][0]}: {self.failures[0][1]})" if self.failures else "."
            raise SourceError(f"no picture of {self.inputs.spec} has its pair in {self.folders['truth']}{first}")

    def describe(self):
        """Settings of a report."""
        return {"photos": self.inputs.spec} | {
            {"truth": "truths", "region": "regions", MADE: "generated"}[what]: str(folder)
            for what, folder in self.folders.items()
            if folder is not None
        }


def measure_pairs(
    pairs, translate=None, *, lpips=None, encoder=None, baselines=True, groups=(), measures=("psnr", "ssim"),
    network=None,
):  # fmt: skip
    """Measure what was made of the inputs of pairs, and the baselines, over the same pairs.

    Args:
        pairs: :class:`WornPictures` or :class:`MatchedPictures`; gone through twice where the mean face is wanted.
        translate: ``PIL.Image`` → ``PIL.Image`` of the same size, where the pairs do not hold what was made.
        lpips: :class:`~maskhub.evaluation.similarity.Lpips`, or None to leave it out.
        encoder: of :func:`~maskhub.evaluation.encoders.encoder`, or None to leave the identity out. Never one that the
            network was trained against.
        baselines: measure them too. Those that fill the region belong to unmasking: where pairs go from unmasked to
            masked, only the copy of the input is there.
        groups: columns by whose values the made pictures' figures are given apart.
        measures: of ``psnr`` and ``ssim``, which need no weights.
        network: :class:`~maskhub.evaluation.features.FeatureExtractor` of the Fréchet distance, or None: without it.

    Returns:
        the keyword arguments of :func:`~maskhub.evaluation.report.write_report`.

    Raises:
        ConfigError: nothing could be measured, or a column that there is not.
    """
    fills = baselines and getattr(pairs, "direction", "unmask") == "unmask"
    mean = _mean_face(pairs) if fills else None
    score = next((name for name in ("lpips", "psnr", "ssim") if name in {*measures, "lpips" * bool(lpips)}), "identity")
    gallery = BestAndWorst(
        f"made pictures by {score.upper()}: input, made, truth", "low" if score == "lpips" else "high"
    )
    rows, columns, failures, failed, sizes = defaultdict(list), [], [], {}, set()
    without_region, features = 0, _Features(network)
    for pair in pairs:
        try:
            made = (
                pair.made
                if pair.made is not None
                else np.asarray(translate(Image.fromarray(pair.input)).convert("RGB"))
            )
            _same_size("made picture", made, pair.input)
        except MaskHubError as error:
            failures.append((pair.name, str(error)))
            if len(failed) < KEPT_FAILED:
                failed[pair.name] = _thumbnail(pair.input)
            continue
        face = next(iter(detect(pair.truth)), None)
        methods = {MADE: made} | (_baselines(pair, face, mean, fills) if baselines else {})
        measure = _PairMeasures(pair, face, lpips, encoder, measures)
        for name, picture in methods.items():
            rows[name].append(measure(picture) if picture is not None else {})
            features.add(name, picture)
        features.add(TRUTH, pair.truth)
        columns.append(pair.columns)
        sizes.add(pair.input.shape[1::-1])
        without_region += pair.region is None
        gallery.add(pair.name, rows[MADE][-1].get(score), [pair.input, made, pair.truth])
    n = len(columns)
    failures += pairs.failures
    if not n:
        first = f": {failures[0][0]}: {failures[0][1]}" if failures else "."
        raise ConfigError(f"no pair could be measured{first}")
    check_columns(columns, groups)
    warnings = []
    if failures:
        warnings.append(f"{len(failures)} pairs could not be measured and are in no figure; they are listed.")
    if without_region:
        warnings.append(
            f"{without_region} of {n} pairs have no region: figures of inside and outside are without them."
        )
    if len(sizes) > 1:
        warnings.append(f"the pictures are of {len(sizes)} sizes; each was measured as it is.")
    if n < 30:
        warnings.append(f"only {n} pairs were measured: the figures say little.")
    figures = {name: _figures(found) | features.figures(name) for name, found in rows.items()}
    return {
        "settings": pairs.describe()
        | {
            "n": n,
            "resolution": " ".join(sorted("{}×{}".format(*size) for size in sizes)[:4]),
            "lpips": "VGG16, v0.1; inside and outside: weighted mean of the spatial map" if lpips else None,
            "identity": getattr(encoder, "name", None),
            "frechet": getattr(network, "name", None),
            "baselines": [name for name in rows if name != MADE],
            "interval": "95 %, percentiles of 1000 resamples of the pairs",
        },
        "figures": figures,
        "groups": by_group(columns, groups, lambda numbers: _figures([rows[MADE][i] for i in numbers]), warnings),
        "warnings": warnings,
        "curves": [_curve(rows, score)],
        "galleries": [gallery],
        "failures": failures,
        "pictures": failed,
    }


class _PairMeasures:
    """The figures of any picture against one pair's truth; what they share is worked out once."""

    def __init__(self, pair, face, lpips, encoder, measures):
        self.measures, self.pair, self.face, self.lpips, self.encoder = measures, pair, face, lpips, encoder
        self.parts = {"": None}
        if pair.region is not None:
            self.parts |= {"_inside": pair.region, "_outside": (pair.region == 0).astype(np.float32)}
        self.truth_look = lpips.look(pair.truth) if lpips else None
        self.truth_vector = encoder.embed(pair.truth, face) if encoder and face else None

    def __call__(self, picture):
        truth, out = self.pair.truth, {}
        for part, weights in self.parts.items():
            out |= {name + part: PLAIN[name](picture, truth, weights) for name in PLAIN if name in self.measures}
        if self.lpips:
            found = self.lpips(self.lpips.look(picture), self.truth_look, list(self.parts.values()))
            out |= {"lpips" + part: value for part, value in zip(self.parts, found, strict=True)}
        if self.truth_vector is not None:
            # the truth's own points: a made face stands where the true one does, and may not be found
            out["identity"] = float(self.encoder.embed(picture, self.face) @ self.truth_vector)
        if "_outside" in self.parts:
            out["non_mask_change"] = change(picture, self.pair.input, self.parts["_outside"])
        return out


class _Features:
    """What a feature network sees of every method's pictures."""

    def __init__(self, network):
        self.network, self.statistics = network, {}

    def add(self, name, picture):
        if self.network is None or picture is None:
            return
        if name not in self.statistics:
            self.statistics[name] = FeatureStatistics(self.network.dimensions)
        self.statistics[name].update(self.network(np.ascontiguousarray(picture.transpose(2, 0, 1))[None]))

    def figures(self, name):
        """The distance of a method's pictures from the truths, where there are at least two of both."""
        ours, truth = self.statistics.get(name), self.statistics.get(TRUTH)
        if ours is None or min(ours.n, truth.n) < 2:
            return {}
        value = frechet_distance(ours, truth)
        ends = frechet_interval(value, ours.sample, truth.sample, (ours.n, truth.n))
        return {"frechet": {"value": value, "interval": list(ends), "n": ours.n, "network": self.network.name}}


def _baselines(pair, face, mean, fills):
    out = {COPY: pair.input}
    if fills:
        known = pair.region is not None
        out[MEAN_FACE] = mean.fill(pair.input, pair.region, face, left_out=pair.truth) if known and face else None
        out |= {name: inpaint(pair.input, pair.region, kind) if known else None for name, kind in INPAINTINGS.items()}
    return out


def _mean_face(pairs):
    mean = MeanFace()
    for pair in pairs:
        for face in detect(pair.truth)[:1]:
            mean.add(pair.truth, face)
    return mean


def _figures(found):
    """The mean of each figure over the pairs that have it, figures grouped by kind."""
    order = ["psnr", "ssim", "lpips", "identity", "non_mask_change"]
    keys = sorted(
        {key for row in found for key in row},
        key=lambda key: ([key.startswith(kind) for kind in order].index(True), key),
    )
    values = {key: [row[key] for row in found if not math.isnan(row.get(key, math.nan))] for key in keys}
    return {key: mean_figure(kept) for key, kept in values.items() if kept}


def _curve(rows, score):
    lines = {}
    for name, found in rows.items():
        values = sorted(row[score] for row in found if score in row)
        picked = np.unique(np.linspace(0, len(values) - 1, min(len(values), 60)).round().astype(int)) if values else []
        lines[name] = [[values[i], (i + 1) / len(values)] for i in picked]
    return {"title": f"Share of pairs up to each {score.upper()}", "x": score.upper(), "y": "share", "lines": lines}


def _same_size(what, array, like):
    if array.shape[:2] != like.shape[:2]:
        raise ConfigError(
            f"the {what} is {array.shape[1]}×{array.shape[0]}, the input {like.shape[1]}×{like.shape[0]}."
        )


def _direction(direction):
    if direction not in DIRECTIONS:
        raise ConfigError(f"the direction is {direction!r}; it must be 'mask' or 'unmask'.")
    return direction


def _stem(name):
    return str(Path(name).with_suffix(""))


def _thumbnail(pixels):
    image = Image.fromarray(pixels)
    image.thumbnail((128, 128))
    return image
