"""Bundle a DCGAN that was trained on photos: half precision, figures and a card.

    python benchmarks/bundle_dcgan.py RUN/pipeline maskhub/weights/reimaging-64 --real HELD_OUT --train TRAINING

``HELD_OUT`` is a folder of aligned faces that the generator has not seen, ``TRAINING`` the one it was trained on.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from maskhub import ReimagingPipeline
from maskhub.cards import ModelCard, Section
from maskhub.data.labelled import LabelledPhotos
from maskhub.evaluation.card import card_results
from maskhub.evaluation.features import feature_network
from maskhub.evaluation.frechet import frechet_interval, frechet_of_features
from maskhub.evaluation.intervals import share_figure
from maskhub.evaluation.report import Figure, Report
from maskhub.faces.detect import detect
from maskhub.files import write_file
from maskhub.tensors import to_pixels

CLEAR = 0.9
"""Score of the face detector from which a face is clearly one."""
DETECTED_AT = 128
"""Side to which faces are enlarged for the detector."""
FRONT = {
    "library_name": "maskhub",
    "tags": ["maskhub", "gan", "re-imaging", "dcgan"],
    "license": "other",
    "license_name": "research-only",
    "trained_on": ["4,957 unmasked photos (CelebA, portraits, press photos, generated people)"],
}
USAGE = """from maskhub import ReimagingPipeline

pipe = ReimagingPipeline.bundled("{name}")
output = pipe("face.png", covering="learned", refine_steps=40, smooth_colours=0, tone="poisson")
output.result[0].save("re-imaged.png")"""
ABOUT = """A DCGAN generator that makes faces of {side} pixels from {latent} random numbers, with {parameters:,}
parameters in half precision. `face.png` is a square that one face fills, aligned as by `maskhub.faces.align.crop`.

**The faces are rough**: some look right, many are distorted. To take a mask off a photo, `FaceMaskPipeline` (the
*Photo* tab of the app) is much better. This is the method of the re-imaging paper, which needs no photos of masks to
train."""
TRAINING = """`train_reimaging.py --recipe paper-3-dcgan` in `train_scripts/gpu/methods.sh`, on an NVIDIA H200 shared
with other runs: {steps:,} steps of 64 faces in {minutes} minutes. Width {width}, upsampling by resizing, real label
0.9, moving average 0.999.

| photos | |
|---|---|
| CelebA | 1,534 |
| flickr_portraits, portraits_rxkt, portraits_comp6721 | 1,716 |
| press_pakpol, congress, actors_karan | 940 |
| players, utkface | 267 |
| generated people | 500 |

Aligned crops. The tenth of each set whose file name has a SHA-1 divisible by 10 was held out. FairFace was left out
because it is soft."""
MEASURED = """The Fréchet distance compares {n} generated faces with {n} held-out photos of the same sets, scaled to
{side} pixels, on features of efficientnet-lite0. For the same number of *training* photos it is {floor:.1f}.
Distances at another size or number can't be compared with these. A face counts as clear if the detector
YuNet scores it at {clear} or more, as it does {real:.0%} of the held-out photos; it finds a face in
{found:.0%} of the generated pictures."""
LIMITS = """- What appears under a covering is invented: it is nobody's face, and never evidence of what someone looks
  like.
- Many faces are distorted: eyes of different sizes, broken glasses, smeared hair. Dark skin is worst, with
  stubble and seams that don't belong there.
- It knows upright faces from the front, aligned like its training faces. Children and profiles are rare among them.
- A face of {side} pixels looks soft in a larger photo."""
LICENCE = "CelebA is for non-commercial research, and so are these weights. Most of the other sets state no licence."


@dataclass
class Options:
    """Bundle a generator of faces."""

    pipeline: tyro.conf.Positional[Path]
    """What train_reimaging.py wrote."""
    output: tyro.conf.Positional[Path]
    """Folder for the bundled pipeline."""
    real: Path
    """Held-out faces."""
    train: Path
    """Training faces."""
    steps: int
    """Steps of the run."""
    minutes: float
    """Duration of the run."""


def main(options):
    pipe = ReimagingPipeline.from_pretrained(str(options.pipeline))
    generator = next(iter(pipe.generators.values()))
    side = generator.config.resolution
    held = LabelledPhotos.open(str(options.real), side).images
    made = generated(generator, len(held))
    real, found = scores(held), scores(made)
    network = feature_network("efficientnet-lite0", None, "cpu")
    train = LabelledPhotos.open(str(options.train), side, limit=len(held)).images
    features = [features_of(network, faces) for faces in (held, made, train)]
    distance, floor = (frechet_of_features(features[0], other) for other in features[1:])
    interval = frechet_interval(distance, features[0], features[1], (len(held), len(made)))
    n = len(held)
    figures = {
        "frechet": Figure(distance, interval, n, better="low", network=network.name),
        "clear faces (yunet)": share_figure((found >= CLEAR).sum(), n, better="high"),
    }
    report = Report("generator", {"": figures}, n, "held-out", settings={"split": "held-out"})
    text = {
        "name": options.output.name, "steps": options.steps, "minutes": options.minutes, "n": n, "floor": floor,
        "clear": CLEAR, "real": (real >= CLEAR).mean(), "found": (found > 0).mean(), **described(generator),
    }  # fmt: skip
    card = card_of(text, card_results(report))
    pipe.to(torch.float16).save_pretrained(options.output, variant="fp16")
    write_file(options.output / "README.md", card.render())
    print(card.render())


def described(generator):
    config, parameters = generator.config, sum(parameter.numel() for parameter in generator.parameters())
    return {"side": config.resolution, "latent": config.latent, "width": config.width, "parameters": parameters}


def card_of(text, figures):
    """The card; ``text`` fills in the texts above."""
    texts = {"Training": TRAINING, "What the figures are": MEASURED, "Limits": LIMITS, "Licence": LICENCE}
    card = ModelCard(
        "{name}: partial re-imaging of photos at {side} pixels".format(**text),
        FRONT,
        USAGE.format(**text),
        ABOUT.format(**text),
        [Section(title, words.format(**text)) for title, words in texts.items()],
    )
    card.set_figures(figures)
    return card


def generated(generator, count):
    """``count`` faces, uint8 N×R×R×3."""
    noise = torch.randn(count, generator.config.latent, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return np.concatenate([to_pixels(generator(part)) for part in noise.split(64)])


def features_of(network, faces):
    return torch.cat([network(faces[start : start + 16].transpose(0, 3, 1, 2)) for start in range(0, len(faces), 16)])


def scores(faces):
    """The detector's score of the best face in each picture, 0 without one."""
    larger = (np.asarray(Image.fromarray(face).resize((DETECTED_AT,) * 2, Image.Resampling.BICUBIC)) for face in faces)
    return np.array([max((found.score for found in detect(face)), default=0.0) for face in larger])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
