"""Similarity of two sets of pictures: Fréchet and kernel distance, in total and by group, with warnings."""

from collections import Counter, defaultdict
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from maskhub.errors import ConfigError
from maskhub.evaluation.features import VGG_FILES, feature_network
from maskhub.evaluation.frechet import (
    ENOUGH,
    KEPT,
    FeatureStatistics,
    frechet_distance,
    frechet_interval,
    frechet_of_features,
    kernel_interval,
)
from maskhub.evaluation.gallery import BestAndWorst
from maskhub.evaluation.options import Model, OptionalSource, PhotoOptions, Source, Way
from maskhub.evaluation.report import Curve, Figure, Report
from maskhub.evaluation.sets import translator
from maskhub.options import Positive
from maskhub.pipelines.load import best_device, load_pipeline

__all__ = ["Options", "measure", "measure_quality"]

SPLIT = "split"
"""A column that every picture has: ``held-out`` or ``trained on``, by the hash rule."""
NEIGHBOURS = 5
MOST_GROUPS = 60
CURVE = (64, 128, 256, 512, 1024, 2048, 4096)
NAMES = {"frechet": "FID", "kernel": "KID"}
ABOUT = (
    "Distance between the sets of generated and real pictures. Lower is better; only compare figures of the same "
    "network and the same number of pictures."
)


class Options(PhotoOptions):
    """Measure the Fréchet and kernel distance between real and generated pictures.

    The generated pictures are --generated, or the results of a pipeline on --input. docs/evaluate.md explains the
    figures and their limits.
    """

    real: Source
    """A folder, or user/dataset[/config][:split][@revision][#column] on the Hub."""
    generated: OptionalSource = None
    """Source of the pictures to measure, in the same form."""
    input: OptionalSource = None
    """Source of photos that the pipeline translates instead."""
    model: Model = None
    """Pipeline folder or Hub id for --input; default: the bundled checkpoint."""
    direction: Way = "mask"
    """Direction in which the pipeline translates --input."""
    network: str = "efficientnet-lite0"
    """efficientnet-lite0, inception (for FID and KID), vgg16, vgg19, or a folder or Hub id of a FeatureNetwork."""
    weights_dir: Model = None
    """Folder or Hub repository with the weights of inception, vgg16 or vgg19; default: MASKHUB_WEIGHTS."""
    batch_size: Positive = 16
    """Pictures per batch."""
    resamples: Annotated[int, Field(ge=2)] = 20
    """Resamples for the interval of the Fréchet distance."""


def measure(options):
    """The :class:`~maskhub.evaluation.report.Report` of :class:`Options`."""
    if (options.generated is None) == (options.input is None):
        raise ConfigError("give either --generated, or --input for a pipeline to translate.")
    if options.generated is not None and options.model is not None:
        raise ConfigError("--model translates --input: leave out --generated.")
    if options.generated is not None:
        options.refuse("with --generated", "direction")
    if options.network not in ("inception", *VGG_FILES):
        options.refuse(f"with --network {options.network}", "weights_dir")
    real = options.pictures(options.real, "real")
    translate, settings = None, {"split": options.settings["split"]}
    if options.input is not None:
        translate = translator(load_pipeline(options.model, options.device), options.direction)
        settings |= {"model": options.model or "bundled", "direction": options.direction}
    generated = options.pictures(options.generated or options.input, "generated", translate)
    network = feature_network(options.network, options.weights_dir, best_device(options.device))
    report = measure_quality(
        real, generated, network, groups=options.groups, batch_size=options.batch_size, resamples=options.resamples
    )
    report.settings |= settings
    return report


def measure_quality(real, generated, network, *, groups=(), batch_size=16, kept=KEPT, resamples=20, seed=0):
    """Measure a generated set against a real one, both :class:`~maskhub.evaluation.sets.PictureSet`. ConfigError for a
    set of fewer than two pictures, or a column that one of the sets does not have.

    Args:
        network: :class:`~maskhub.evaluation.features.FeatureExtractor`.
        groups: columns of both sets for whose values figures are also given; ``split`` is added automatically if there
            are pictures of both parts.
        kept: features kept of each set for intervals, kernel distance and groups; only this affects memory.
        resamples, seed: of the interval of the Fréchet distance, and of all random numbers.
    """
    for name, pictures in (("real", real), ("generated", generated)):
        missing = [column for column in groups if column not in pictures.columns and column != SPLIT]
        if missing:
            raise ConfigError(
                f"the {name} set {pictures.spec} has no column {missing[0]!r}: figures by group need it in both sets "
                f"(it has {', '.join(pictures.columns) or 'none'})."
            )
    columns = tuple(dict.fromkeys([*groups, SPLIT]))
    first = _Side("real", real, network, columns, batch_size, kept, seed)
    gallery = BestAndWorst("generated pictures by their distance to the real ones", better="low")
    second = _Side("generated", generated, network, columns, batch_size, kept, seed, first.statistics.sample, gallery)
    warnings = [*first.warnings(), *second.warnings(), *_differences(first, second)]
    by_group = {}
    for column in columns:
        values, told = _group_figures(column, first, second, network, seed)
        if len(values) > 1 or (column in groups and values):
            by_group[column] = values
        warnings += told if column in groups else []
    return Report(
        "quality",
        {"": _figures(first, second, network, resamples, seed)},
        second.n,
        real.spec,
        ABOUT,
        _settings(first, second, network) | {"resamples": resamples, "kept": kept, "seed": seed},
        by_group,
        warnings=warnings,
        curves=[_curve(first.statistics.sample, second.statistics.sample, network, seed)],
        galleries=gallery.galleries(),
        failures=[*real.failures, *generated.failures],
    )


def _figures(first, second, network, resamples, seed):
    x, y, counts = first.statistics.sample, second.statistics.sample, (first.n, second.n)
    distance = frechet_distance(first.statistics, second.statistics)
    ends = frechet_interval(distance, x, y, counts, resamples, seed)
    kernel, kernel_ends = kernel_interval(x, y, seed=seed)
    titles = NAMES if network.published else {}
    return {
        name: Figure(value, interval, min(counts), better="low", title=titles.get(name, ""), network=network.name)
        for name, value, interval in (("frechet", distance, ends), ("kernel", kernel, kernel_ends))
    }


def _settings(first, second, network):
    settings = {"network": network.name, "dimensions": network.dimensions, "resize": network.resize}
    for side in (first, second):
        settings |= {side.kind: side.spec, f"n_{side.kind}": side.n, f"resolution_{side.kind}": side.resolution}
        settings[f"held_out_{side.kind}"] = side.held_out
    return settings | {
        "interval": "95 %; Fréchet: spread of resamples about the value, kernel: percentiles of resamples"
    }


class _Side:
    """Statistics collected in one pass over a set."""

    def __init__(self, kind, pictures, network, columns, batch_size, kept, seed, others=None, gallery=None):
        self.kind, self.spec = kind, pictures.spec
        self.statistics = FeatureStatistics(network.dimensions, kept, seed)
        self.groups = defaultdict(lambda: FeatureStatistics(network.dimensions, kept, seed, moments=False))
        self.sizes, self.kinds = Counter(), Counter()
        self.grey = self.held_out = 0
        batch = []

        def flush():
            if not batch:
                return
            stacked = np.stack([picture.pixels for picture in batch]).transpose(0, 3, 1, 2)
            features = network(np.ascontiguousarray(stacked))
            self.statistics.update(features)
            scores = _scores(features, others) if gallery is not None else None
            for number, picture in enumerate(batch):
                for column in columns:
                    value = self._value(picture, column)
                    if value not in (None, ""):
                        self.groups[column, str(value)].update(features[number : number + 1])
                if len(self.groups) > MOST_GROUPS:
                    raise ConfigError(
                        f"{', '.join(columns)} have more than {MOST_GROUPS} values: choose other columns."
                    )
                if scores is not None:
                    gallery.add(picture.name, float(scores[number]), picture.pixels)
            batch.clear()

        for picture in pictures:
            if batch and (len(batch) == batch_size or batch[0].pixels.shape != picture.pixels.shape):
                flush()
            batch.append(picture)
            self.sizes[picture.pixels.shape[1::-1]] += 1
            self.kinds[picture.name.rsplit(".", 1)[-1].lower()] += 1
            self.held_out += picture.held_out
            self.grey += bool((picture.pixels == picture.pixels[..., :1]).all())
        flush()
        self.n = self.statistics.n
        self.failures = list(pictures.failures)
        if self.n < 2:
            count = f"{self.n or 'no'} picture{'' if self.n == 1 else 's'}"
            raise ConfigError(
                f"the {kind} set {self.spec} has {count} that can be measured, and a distance between sets needs at "
                f"least 2 of each{pictures.failures.first()}"
            )

    def _value(self, picture, column):
        if column == SPLIT and SPLIT not in picture.columns:
            return "held-out" if picture.held_out else "trained on"
        return picture.columns.get(column)

    @property
    def resolution(self):
        """Width×height if all are equal, else the range."""
        if len(self.sizes) == 1:
            return "{}×{}".format(*next(iter(self.sizes)))
        smallest, largest = (pick(self.sizes, key=lambda size: size[0] * size[1]) for pick in (min, max))
        return "{}×{} to {}×{}".format(*smallest, *largest)

    def warnings(self):
        if self.n < ENOUGH:
            yield (
                f"the {self.kind} set has {self.n} pictures, fewer than {ENOUGH}: the Fréchet distance is too large by "
                "an amount that depends on that number. Compare only equal numbers; the kernel distance is unbiased."
            )
        if self.grey:
            yield f"{self.grey} of {self.n} {self.kind} pictures are greyscale; they were measured as RGB."
        if len(self.sizes) > 1:
            yield f"the {self.kind} pictures are of {len(self.sizes)} sizes, {self.resolution}; all were resized alike."
        if any(width != height for width, height in self.sizes):
            yield f"some {self.kind} pictures are not square, and were squeezed."
        if self.failures:
            yield f"{len(self.failures)} {self.kind} pictures could not be measured; they are listed."


def _differences(first, second):
    if first.n != second.n:
        yield f"the sets differ in size: {first.n} real and {second.n} generated pictures."
    if first.resolution != second.resolution:
        yield (
            f"the sets differ in resolution ({first.resolution} and {second.resolution}): the distance also measures "
            "sharpness."
        )
    if bool(first.kinds.keys() & {"jpg", "jpeg"}) != bool(second.kinds.keys() & {"jpg", "jpeg"}):
        yield "only one of the sets was saved as JPEG: the distance also measures compression."


def _group_figures(column, first, second, network, seed):
    """Figures of each value of a column, and warnings. Fréchet distances use the same number of pictures, so that they
    can be compared; kernel distances, which are unbiased, use all.
    """
    values, warnings, pairs = {}, [], {}
    names = sorted({value for side in (first, second) for key, value in side.groups if key == column})
    for value in names:
        sides = [side.groups.get((column, value)) for side in (first, second)]
        for side, found in zip((first, second), sides, strict=True):
            if found is None or found.n < 2:
                count = "no picture" if found is None else "a single picture"
                warnings.append(f"{column} {value}: {count} in the {side.kind} set, so there are no figures for it.")
                break
        else:
            pairs[value] = [found.sample for found in sides]
    if not pairs:
        return {}, [*warnings, f"no value of {column} has pictures in both sets."]
    least = min(len(sample) for pair in pairs.values() for sample in pair)
    rng = np.random.default_rng(seed)
    for value, pair in pairs.items():
        kernel, ends = kernel_interval(*pair, seed=seed)
        drawn = [sample[torch.from_numpy(rng.permutation(len(sample))[:least])] for sample in pair]
        values[value] = {
            "": {
                "kernel": Figure(kernel, ends, min(map(len, pair)), better="low", network=network.name),
                "frechet": Figure(frechet_of_features(*drawn), n=least, better="low", network=network.name),
            }
        }
    if least < ENOUGH:
        warnings.append(
            f"Fréchet distances by {column} use {least} pictures of each set: compare them only with each other."
        )
    return values, warnings


def _curve(x, y, network, seed):
    rng = np.random.default_rng(seed)
    most = min(len(x), len(y))
    order_x, order_y = (torch.from_numpy(rng.permutation(len(s))) for s in (x, y))
    points = [
        [n, frechet_of_features(x[order_x[:n]], y[order_y[:n]])] for n in sorted({*CURVE, most}) if 2 <= n <= most
    ]
    title = "Fréchet distance by the number of pictures: where it still falls, it is still biased"
    return Curve(title, "pictures of each set", f"Fréchet distance ({network.name})", {"distance": points})


def _scores(features, others):
    """Distance of each feature to the nearest kept real one, relative to a typical length."""
    distances = torch.cdist(features, others)
    nearest = distances.topk(min(NEIGHBOURS, len(others)), largest=False).values.mean(1)
    return nearest / others.norm(dim=1).mean().clamp(min=1e-12)
