"""Similarity of generated pictures to the true ones, compared with trivial baselines.

Every figure is a mean over the pairs, for the whole picture, the *inside* of the region (weighted by the region; for
LPIPS of its spatial map) and the *outside* (where the region is 0). ``identity`` is the cosine between the faces'
embeddings, ``non_mask_change`` the mean change of the input outside the region, in 8-bit units. ``frechet`` is not a
mean, but the distance between the sets of generated and true pictures. ``lpips_ratio_inside`` is ``lpips_inside``
divided by that of the best baseline, the one with the lowest mean.
"""

import math
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from maskhub.errors import ConfigError, MaskHubError, NoFaceError
from maskhub.evaluation.baselines import COPY, INPAINTINGS, MEAN_FACE, MeanFace, inpaint
from maskhub.evaluation.encoders import encoder as find_encoder
from maskhub.evaluation.features import feature_network
from maskhub.evaluation.frechet import FeatureStatistics, frechet_distance, frechet_interval
from maskhub.evaluation.gallery import BestAndWorst, Failures
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import mean_figure, ratio_figure
from maskhub.evaluation.options import Folder, Model, Names, OptionalSource, PhotoOptions, Way
from maskhub.evaluation.paired import MADE, MatchedPictures, WornPictures, same_size
from maskhub.evaluation.peers import DIFFUSERS, open_peer, unmasked_by
from maskhub.evaluation.report import Curve, Figure, Report
from maskhub.evaluation.sets import translator
from maskhub.evaluation.similarity import LPIPS_FILE, Lpips, change, psnr, ssim
from maskhub.evaluation.trained_against import refuse_trained_against
from maskhub.faces.detect import detect
from maskhub.models.weights import find_weights
from maskhub.options import Count, Positive
from maskhub.pipelines.load import best_device, load_pipeline

__all__ = ["Options", "measure", "measure_pairs"]

TRUTH = "truth"
PLAIN = {"psnr": psnr, "ssim": ssim}
KINDS = {
    "psnr": {"unit": "dB", "better": "high"},
    "ssim": {"better": "high"},
    "lpips": {"better": "low"},
    "identity": {"better": "high"},
    "non_mask_change": {"unit": "of 255", "better": "low"},
    "seconds": {"unit": "s a photo", "better": "low"},
}
MEASURES = ("psnr", "ssim", "lpips", "identity", "frechet")
ABOUT = (
    "How close generated pictures are to the true ones. PSNR, SSIM and identity: higher is better; LPIPS, Fréchet "
    "distance and non-mask change: lower."
)
FEW = 30


class Options(PhotoOptions):
    """Compare generated pictures with the true ones by PSNR, SSIM, LPIPS and identity, with baselines.

    Give either --photos of unmasked faces, which get rule-based masks, or --input and --truth, folders with the same
    file names. A pipeline makes the generated pictures, unless they are in --generated.
    """

    photos: OptionalSource = None
    """A folder, or user/dataset[/config][:split][@revision][#column] on the Hub, of unmasked faces."""
    input: OptionalSource = None
    """Source of the inputs, in the same form."""
    truth: Folder = None
    """Folder of the true pictures."""
    regions: Folder = None
    """Folder of 8-bit pictures, 255 where a mask covers the face, for the figures of inside and outside."""
    generated: Folder = None
    """Folder of the generated pictures; by default a pipeline makes them from --input."""
    model: Model = None
    """Pipeline folder, Hub id or name (`maskhub models list`); default: the bundled checkpoint."""
    direction: Way = "unmask"
    """Direction of the pipeline; with --photos it also sets whether masked or unmasked photos are the inputs."""
    measures: Names = ("psnr", "ssim", "lpips", "identity")
    """Any of psnr, ssim, lpips, identity and frechet. All but the first two need weights."""
    encoder: str = "mobilefacenet"
    """Face encoder of the identity; never one that the network was trained against."""
    network: str = "efficientnet-lite0"
    """Feature network of frechet, as in `maskhub evaluate quality`."""
    weights_dir: Model = None
    """Folder or Hub repository with vgg16_lpips.safetensors and the encoder's weights; default: MASKHUB_WEIGHTS."""
    baselines: bool = True
    """Also measure the copied input, the mean face and OpenCV's inpaintings."""
    peer: Names = ()
    """Other inpainting networks to measure on the same pairs, with speed and size: ONNX files of the form of LaMa or
    MI-GAN, and diffusers:ID for inpainting pipelines of diffusers. The mask detector's region is their hole."""
    peer_steps: Positive | None = None
    """Denoising steps of diffusers peers; default: the pipeline's own number."""
    seed: Count = 0
    """Seed of the masks on --photos."""


def measure(options):
    """The :class:`~maskhub.evaluation.report.Report` of :class:`Options`."""
    wanted, device = options.measures, best_device(options.device)
    if not {*wanted} <= {*MEASURES} or not wanted:
        raise ConfigError(f"the measures are {','.join(wanted)!r}; they must be from {', '.join(MEASURES)}.")
    if (options.photos is None) == (options.input is None) or (options.input is None) != (options.truth is None):
        raise ConfigError("give either --photos, or --input with --truth.")
    if options.photos is not None and (options.regions or options.generated):
        raise ConfigError("--regions and --generated can't be used with --photos: they belong to --input.")
    if options.peer and options.direction != "unmask":
        raise ConfigError("--peer fills the hole where a mask was, so it needs --direction unmask.")
    if options.photos is None:
        options.refuse("without --photos", "seed")
    if options.generated is not None:
        options.refuse("with --generated", "model")
    for measure, name in {"identity": "encoder", "frechet": "network"}.items():
        if measure not in wanted:
            options.refuse(f"without {measure} in --measures", name)
    if {*wanted} <= {*PLAIN}:
        options.refuse(f"with --measures {','.join(wanted)}", "weights_dir")
    if not any(spec.startswith(DIFFUSERS) for spec in options.peer):
        options.refuse(f"without --peer {DIFFUSERS}ID", "peer_steps")
    peers = [open_peer(spec, device, options.peer_steps) for spec in options.peer]
    places = options.weights_dir
    tools = {
        "lpips": Lpips(find_weights(LPIPS_FILE, places), device) if "lpips" in wanted else None,
        "encoder": find_encoder(options.encoder, places) if "identity" in wanted else None,
        "network": feature_network(options.network, places, device) if "frechet" in wanted else None,
    }
    pictures = options.pictures(options.photos or options.input, "pairs")
    if options.photos is not None:
        pairs = WornPictures(pictures, options.direction, options.seed)
    else:
        pairs = MatchedPictures(pictures, options.truth, options.regions, options.generated, options.direction)
    translate, megabytes, settings = None, None, {"direction": options.direction, "split": options.settings["split"]}
    if options.generated is None:
        if tools["encoder"] is not None:
            refuse_trained_against(options.model, [options.encoder], "--encoder")
        pipeline = load_pipeline(options.model, options.device)
        translate = translator(pipeline, options.direction)
        network = getattr(pipeline, pairs.direction.role, None)
        megabytes = network and sum(p.numel() * p.element_size() for p in network.parameters()) / 1e6
        settings["model"] = options.model or "bundled"
    report = measure_pairs(
        pairs, translate, **tools, baselines=options.baselines, groups=options.groups, measures=wanted, peers=peers,
        megabytes=megabytes,
    )  # fmt: skip
    report.settings |= settings
    return report


def measure_pairs(
    pairs, translate=None, *, lpips=None, encoder=None, network=None, baselines=True, groups=(),
    measures=("psnr", "ssim"), peers=(), megabytes=None,
):  # fmt: skip
    """Measure generated pictures and baselines on the same pairs, of :class:`~maskhub.evaluation.paired.WornPictures`
    or :class:`~maskhub.evaluation.paired.MatchedPictures`; they are read twice if the mean face is measured.
    ConfigError if nothing could be measured, or for an unknown column.

    Args:
        translate: ``PIL.Image`` → ``PIL.Image`` of the same size, if the pairs have no generated pictures.
        lpips, network: :class:`~maskhub.evaluation.similarity.Lpips`;
            :class:`~maskhub.evaluation.features.FeatureExtractor` of the Fréchet distance; either may be None.
        encoder: of :func:`~maskhub.evaluation.encoders.encoder`, or None to leave the identity out. Never one that the
            network was trained against.
        baselines: also measure baselines; from unmasked to masked, only the copied input.
        groups: columns for whose values the figures of generated pictures are also given.
        measures: ``psnr`` and ``ssim``, which need no weights.
        peers: of :func:`~maskhub.evaluation.peers.open_peer`; with any, speed and size are measured too.
        megabytes: size of the weights behind ``translate``.
    """
    fills = baselines and pairs.direction == "unmask"
    mean = _mean_face(pairs) if fills else None
    score = next((name for name in ("lpips", "psnr", "ssim") if name in {*measures, "lpips" * bool(lpips)}), "identity")
    found = _Found(score, _Features(network))
    for pair in pairs:
        seconds = {}
        try:
            made = _made(pair, translate, seconds)
        except MaskHubError as error:
            found.failures.add(pair.name, error, pair.input)
            continue
        face = next(iter(detect(pair.truth)), None)
        methods = {MADE: made} | (_baselines(pair, face, mean, fills) if baselines else {})
        methods |= {peer.name: _timed(seconds, peer.name, _filled, peer, pair.input) for peer in peers}
        found.add(pair, methods, _PairMeasures(pair, face, lpips, encoder, measures), seconds if peers else {})
    found.failures += pairs.failures
    if not found.pairs:
        raise ConfigError(f"no pair could be measured{found.failures.first()}")
    columns = [pair.columns for pair in found.pairs]
    check_columns(columns, groups)
    warnings, described, sizes = found.warnings(), pairs.describe(), _sizes(peers, megabytes)
    return Report(
        "pairs",
        {name: found.figures(name) | found.features.figures(name) | sizes.get(name, {}) for name in found.rows},
        len(found.pairs),
        described["photos"],
        ABOUT,
        described | _settings(found, lpips, encoder, network),
        by_group(columns, groups, lambda numbers: {"": found.figures(MADE, numbers)}, warnings),
        [name for name in found.rows if name != MADE],
        warnings,
        [_curve(found.rows, score)],
        found.gallery.galleries(),
        found.failures,
        [{"photo": pair.name, **values} for pair, values in zip(found.pairs, found.rows[MADE], strict=True)],
    )


def _made(pair, translate, seconds):
    """The picture to be measured; its time goes to ``seconds`` if it is made here."""
    made = pair.made if pair.made is not None else _timed(seconds, MADE, _translated, translate, pair.input)
    same_size("made picture", made, pair.input)
    return made


@dataclass
class _Found:
    """The results so far: for each method a dict of values per pair."""

    score: str
    features: object
    rows: dict = field(default_factory=lambda: defaultdict(list))
    pairs: list = field(default_factory=list)
    failures: Failures = field(default_factory=Failures)

    def __post_init__(self):
        title = f"made pictures by {self.score.upper()}: input, made, truth"
        self.gallery = BestAndWorst(title, "low" if self.score == "lpips" else "high")
        self.sizes, self.without_region = set(), 0

    def add(self, pair, methods, values_of, seconds):
        for name, picture in methods.items():
            values = values_of(picture) if picture is not None else {}
            if name in seconds and self.pairs:  # the first one warms everything up
                values["seconds"] = seconds[name]
            self.rows[name].append(values)
            self.features.add(name, picture)
        self.features.add(TRUTH, pair.truth)
        self.sizes.add(pair.input.shape[1::-1])
        self.without_region += pair.region is None
        self.gallery.add(pair.name, self.rows[MADE][-1].get(self.score), [pair.input, methods[MADE], pair.truth])
        self.pairs.append(replace(pair, input=None, truth=None, region=None, made=None))

    def figures(self, name, numbers=None):
        """The figures of a method, of all pairs or some of them."""
        rows = {key: [row[i] for i in numbers] if numbers else row for key, row in self.rows.items()}
        return _figures(rows[name]) | (_ratio(rows) if name == MADE else {})

    def warnings(self):
        n, out = len(self.pairs), []
        if self.failures:
            out.append(f"{len(self.failures)} pairs could not be measured and are left out; they are listed.")
        if self.without_region:
            out.append(f"{self.without_region} of {n} pairs have no region, so they have no inside or outside.")
        if len(self.sizes) > 1:
            out.append(f"the pictures are of {len(self.sizes)} sizes; each was measured as it is.")
        for name, rows in self.rows.items():
            if missing := sum(not values for values in rows):
                out.append(f"{name}: {missing} of {n} pairs are left out of this row.")
        if n < FEW:
            out.append(f"only {n} pairs were measured: the figures are unreliable.")
        return out


class _PairMeasures:
    """The figures of pictures against the truth of one pair, whose features are computed once."""

    def __init__(self, pair, face, lpips, encoder, measures):
        self.measures, self.pair, self.face, self.lpips, self.encoder = measures, pair, face, lpips, encoder
        self.parts = {"": None}
        if pair.region is not None:
            self.parts |= {"_inside": pair.region, "_outside": (pair.region == 0).astype(np.float32)}
        self.truth_layers = lpips.layers(pair.truth) if lpips else None
        self.truth_vector = encoder.embed(pair.truth, face) if encoder and face else None

    def __call__(self, picture):
        truth, out = self.pair.truth, {}
        for part, weights in self.parts.items():
            out |= {name + part: PLAIN[name](picture, truth, weights) for name in PLAIN if name in self.measures}
        if self.lpips:
            found = self.lpips(self.lpips.layers(picture), self.truth_layers, list(self.parts.values()))
            out |= {"lpips" + part: value for part, value in zip(self.parts, found, strict=True)}
        if self.truth_vector is not None:
            # the points of the true face: a generated face has the same place, but may not be detected
            out["identity"] = float(self.encoder.embed(picture, self.face) @ self.truth_vector)
        if "_outside" in self.parts:
            out["non_mask_change"] = change(picture, self.pair.input, self.parts["_outside"])
        return out


class _Features:
    """Feature statistics of the pictures of all methods."""

    def __init__(self, network):
        self.network, self.statistics = network, {}

    def add(self, name, picture):
        if self.network is None or picture is None:
            return
        if name not in self.statistics:
            self.statistics[name] = FeatureStatistics(self.network.dimensions)
        self.statistics[name].update(self.network(np.ascontiguousarray(picture.transpose(2, 0, 1))[None]))

    def figures(self, name):
        """The distance of a method's pictures from the truths, if there are at least two of both."""
        ours, truth = self.statistics.get(name), self.statistics.get(TRUTH)
        if ours is None or min(ours.n, truth.n) < 2:
            return {}
        value = frechet_distance(ours, truth)
        ends = frechet_interval(value, ours.sample, truth.sample, (ours.n, truth.n))
        return {"frechet": Figure(value, ends, ours.n, better="low", network=self.network.name)}


def _translated(translate, pixels):
    return np.asarray(translate(Image.fromarray(pixels)).convert("RGB"))


def _filled(peer, pixels):
    try:
        return unmasked_by(peer, pixels)
    except NoFaceError:
        return None


def _timed(seconds, name, work, *given):
    start = time.perf_counter()
    out = work(*given)
    seconds[name] = time.perf_counter() - start
    return out


def _sizes(peers, megabytes):
    sizes = {MADE: megabytes} | {peer.name: peer.megabytes for peer in peers} if peers else {}
    return {
        name: {"megabytes": Figure(size, unit="MB of weights", better="low")}
        for name, size in sizes.items()
        if size is not None
    }


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
    """The mean of each figure over the pairs that have it, figures sorted by kind."""
    out = {}
    for kind, details in KINDS.items():
        for key in sorted({key for row in found for key in row if key.startswith(kind)}):
            values = [row[key] for row in found if not math.isnan(row.get(key, math.nan))]
            out |= {key: mean_figure(values, **details)} if values else {}
    return out


def _ratio(rows):
    """The figure ``lpips_ratio_inside`` on the pairs that all baselines have."""
    pairs = zip(*(rows.get(name, ()) for name in (MADE, MEAN_FACE, *INPAINTINGS)), strict=False)
    values = [[row.get("lpips_inside", math.nan) for row in pair] for pair in pairs]
    values = np.array([row for row in values if not np.isnan(row).any()]).T
    return {"lpips_ratio_inside": ratio_figure(values[0], values[1:], better="low")} if values.size else {}


def _settings(found, lpips, encoder, network):
    return {
        "resolution": " ".join(sorted("{}×{}".format(*size) for size in found.sizes)[:4]),
        "lpips": "VGG16, v0.1; inside and outside: weighted mean of the spatial map" if lpips else None,
        "identity": getattr(encoder, "name", None),
        "frechet": getattr(network, "name", None),
        "interval": "95 %, percentiles of 1000 resamples of the pairs",
    }


def _curve(rows, score):
    lines = {}
    for name, found in rows.items():
        values = sorted(row[score] for row in found if score in row)
        picked = np.unique(np.linspace(0, len(values) - 1, min(len(values), 60)).round().astype(int)) if values else []
        lines[name] = [[values[i], (i + 1) / len(values)] for i in picked]
    return Curve(f"Share of pairs up to each {score.upper()}", score.upper(), "share", lines)
