"""Make the masked photos, with the unmasker's errors on them, that ``fit_estimate.py`` fits the estimate to.

    MASKHUB_WEIGHTS=../shared/weights python benchmarks/estimate_pairs.py ../shared/faces estimate
    python benchmarks/fit_estimate.py estimate/*-masked --write

Six sources of unmasked photos that the unmasker was never trained on, about 640 in all: those of ``held_out_report.py``
in larger numbers, without its further people over 60. Masks are drawn also on faces that the mask detector takes for
masked. A source whose ``pairs.csv`` exists is not made again, so a stopped run can be continued. Takes about half an
hour of one core.
"""

import argparse
import subprocess
from pathlib import Path

from held_out_report import BINS, PORTRAITS, evaluate, photos, write

from maskhub.data.folder import is_held_out

A_BIN, CELEBA, PORTRAIT, GENERATED, LFW, LONDON = 47, 160, 110, 80, 60, 40
"""Photos of FairFace in each range of yaw, and of the other sources."""


def chosen(faces):
    """The rows of each source's photos."""
    more = photos(faces / "more")
    test = [row for row in more if row["source"] == "fairface_val"]
    held = {name: [row for row in photos(faces / name) if held_out(row)] for name in ("celeba", "synthetic")}
    return {
        "fairface": [
            row for low, high in BINS for row in [row for row in test if low <= abs(float(row["yaw"])) < high][:A_BIN]
        ],
        "celeba": held["celeba"][:CELEBA],
        "portraits": [row for row in more if row["source"] in PORTRAITS and held_out(row)][:PORTRAIT],
        "generated": held["synthetic"][:GENERATED],
        "lfw": photos(faces / "lfw")[:LFW],
        "london": photos(faces / "publishable")[:LONDON],
    }


def held_out(row):
    return is_held_out(row["file_name"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="the folder with celeba, lfw, more and the others")
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    for name, rows in chosen(args.faces).items():
        bare, masked, regions = (args.output / f"{name}{suffix}" for suffix in ("", "-masked", "-regions"))
        if (masked / "pairs.csv").exists():
            continue
        write(bare, rows, [])
        # photos on which no mask can be drawn are listed and left out; the command then ends with an error
        subprocess.run(["maskhub", "mask", bare, masked, "--regions", regions, "--png", "--force"], check=False)
        evaluate(
            "pairs", "--input", masked, "--truth", bare, "--regions", regions, "--measures", "lpips",
            "--no-baselines", "--output", masked / "pairs.json",
        )  # fmt: skip


if __name__ == "__main__":
    main()
