"""What the tests of the measures share: folders of small pictures, the weights of ../shared where they are."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture(scope="session")
def weights():
    if not WEIGHTS.is_dir():
        pytest.skip("needs ../shared/weights")
    return WEIGHTS


@pytest.fixture
def heads(astronaut, tmp_path):
    """A folder of four 128-pixel heads, each turned and lit another way, with ``metadata.csv``."""
    folder = tmp_path / "heads"
    folder.mkdir()
    head = astronaut.crop((120, 0, 330, 210)).resize((128, 128), Image.Resampling.LANCZOS)
    for number in range(4):
        head.rotate(3 * number).point(lambda v, n=number: min(255, v + 8 * n)).save(folder / f"{number}.png")
    lines = ["file_name,group", "0.png,a", "1.png,a", "2.png,b", "3.png,b"]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def clouds(folder, n, seed=0, side=48, columns=None):
    """A folder of ``n`` soft random pictures."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        noise = cv2.resize(
            rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), (side, side), interpolation=cv2.INTER_CUBIC
        )
        Image.fromarray(noise).save(folder / f"{seed}_{number:03d}.png")
    if columns:
        rows = [f"{seed}_{number:03d}.png,{columns[number]}" for number in range(n)]
        (folder / "metadata.csv").write_text("\n".join(["file_name,kind", *rows]) + "\n")
    return folder
