"""What maskhub computes stays as it is: bundled pipelines and a seeded training against saved results.

Processors round differently, hence the tolerances. After a change that is meant to change results, put its day into
``maskhub.data.journal.RESULTS_OF``, run ``python tests/test_reference.py`` and look at the pictures.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskhub import FaceMaskPipeline
from maskhub.data.journal import RESULTS_OF
from maskhub.data.masked import Wearing, mask_faces
from maskhub.data.portraits import portraits
from maskhub.training.cyclegan import CycleGAN, CycleGANOptions
from maskhub.training.trainer import Trainer

HERE = Path(__file__).parent / "reference"
EXAMPLE = Path(__file__).parents[1] / "space" / "examples" / "astronaut.jpg"
MEAN, MOST = 0.5, 8
"""Largest mean and single difference of the pictures, in 8-bit units."""
DRAWN = {"surgical": 0, "kn95": 25, "cloth": 50, "patterned": 75, "sunglasses": 100, "hand": 125}
"""Style → the portrait that gets it; every other one is turned, every third one small."""
TRAINING = {
    "unmasked": "builtin:pixel-faces", "masked": "builtin:pixel-faces/covered", "resolution": 32, "generator_width": 8,
    "blocks": 1, "discriminator_width": 8, "discriminator_layers": 1, "batch_size": 2, "max_steps": 4, "log_every": 1,
    "sample_every": 0, "workers": 0, "mixed_precision": "no", "learning_rate": 1e-3, "seed": 7,
}  # fmt: skip


def pictures():
    pipe = FaceMaskPipeline.bundled()
    masked = pipe.mask(EXAMPLE, seed=1)
    made = {"masked": masked, "unmasked": pipe.unmask(masked), "cycle": pipe.cycle(EXAMPLE, seed=1)}
    return {name: image.convert("RGB").crop((130, 20, 322, 212)) for name, image in made.items()}


def drawn():
    """Masks and coverings drawn by rule, side by side at 96 pixels: what `dataset build` writes."""
    shown = []
    for number, (style, place) in enumerate(DRAWN.items()):
        photo = portraits()[place].image.rotate(35 * (number % 2), fillcolor=(90, 100, 110))
        photo = photo if number % 3 else photo.resize((128, 128))
        made = mask_faces(np.asarray(photo), Wearing(style=style, seed=3, scores="none"), f"{number}.png").image
        shown.append(np.asarray(Image.fromarray(made).resize((96, 96), Image.Resampling.BOX)))
    return Image.fromarray(np.hstack(shown))


def differs(picture, name):
    """Whether a picture is another one than that saved under this name."""
    difference = np.abs(np.asarray(picture, np.int16) - np.asarray(Image.open(HERE / f"{name}.png")))
    mean, most = (0.05, 40) if name == "drawn" else (MEAN, MOST)  # SSE2 against AVX-512: 0.006 and 19, at a fine edge
    return difference.mean() >= mean or difference.max() > most


def losses(output):
    trainer = Trainer(CycleGAN, CycleGANOptions(output=str(output), **TRAINING))
    trainer.run()
    trainer.close()
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name[:2] in ("G_", "D_", "cy", "id")} for line in lines]


@pytest.fixture(scope="module")
def made():
    return pictures()


@pytest.mark.parametrize("name", ["masked", "unmasked", "cycle"])
def test_the_bundled_pipeline_makes_the_saved_pictures(made, name):
    assert not differs(made[name], name)


def test_masks_are_drawn_as_on_the_recorded_day():
    """Runs are continued if maskhub has the same ``RESULTS_OF``, so each change of the drawing needs another one."""
    assert not differs(drawn(), "drawn"), "raise RESULTS_OF, then run python tests/test_reference.py"
    assert (HERE / "results_of.txt").read_text().strip() == RESULTS_OF


def test_a_seeded_training_has_the_saved_losses(tmp_path):
    for now, saved in zip(losses(tmp_path), json.loads((HERE / "cyclegan.json").read_text()), strict=True):
        assert now == pytest.approx(saved, rel=0.03)  # AVX2 against AVX-512: 0.7 % after four steps of Adam


if __name__ == "__main__":
    import tempfile

    now = pictures() | {"drawn": drawn()}
    day = HERE / "results_of.txt"
    if any(differs(*item[::-1]) for item in now.items()) and day.read_text().strip() == RESULTS_OF:
        sys.exit("results have changed: put the day into maskhub.data.journal.RESULTS_OF first.")
    for name, image in now.items():
        image.save(HERE / f"{name}.png")
    day.write_text(RESULTS_OF + "\n")
    with tempfile.TemporaryDirectory() as folder:
        (HERE / "cyclegan.json").write_text(json.dumps(losses(Path(folder)), indent=1) + "\n")
