"""Measure the bundled pipeline on photos and sources it was never trained on, all in one report.

    MASKHUB_WEIGHTS=../shared/weights python benchmarks/held_out_report.py ../shared/faces held-out

The second folder gets ``report.html``, the JSON report of every part, and copies of the photos. A part whose report
exists is not measured again, so a stopped run can be continued. Takes about an hour of one core.
"""

import argparse
import csv
import hashlib
import shutil
import subprocess
from pathlib import Path

from maskhub.data.folder import is_held_out

YAW = "yaw:15:30:45,yaw:30"
PEOPLE = "age,gender,group"
FAIRFACE = "FairFace, test"
PORTRAITS = {"flickr_portraits", "portraits_rxkt", "portraits_comp6721", "actors_karan"}
AGES = {"0-2": "0-9", "3-9": "0-9", "60-69": "60 and more", "more than 70": "60 and more"}
"""FairFace's names of the youngest and the oldest, who are few."""
BINS = (0, 15), (15, 30), (30, 45), (45, 90)
"""Ranges of yaw, in degrees."""
A_BIN, PORTRAIT, LFW, CELEBA, LONDON, GENERATED = 50, 60, 50, 50, 40, 30
"""Photos of FairFace in each range of yaw, and of the other sources."""
PARTS = {
    "drawn": f"pairs --photos {{0}}/never-trained-on --measures psnr,lpips,identity,frechet --encoder dlib "
    f"--groups source,{YAW},{PEOPLE}",
    "put-on": f"masks --photos {{0}}/fairface-test --direction mask --groups {YAW},{PEOPLE}",
    "taken-off": f"masks --photos {{0}}/really-masked --direction unmask --groups {YAW},set,mask_type",
    "found": f"detection --masked {{0}}/really-masked --bundled --groups {YAW}",
    "distance": "quality --real {0}/held-celeba --input {0}/really-masked --direction unmask",
}
"""Name → options of ``maskhub evaluate``; ``{0}`` is the output folder."""


def photos(folder):
    """The rows of a folder's ``metadata.csv`` in a fixed random order, each with its ``path``; of a folder without it,
    its JPEG files."""
    table = folder / "metadata.csv"
    if table.is_file():
        rows = list(csv.DictReader(table.open(encoding="utf-8")))
    else:
        rows = [{"file_name": path.name} for path in folder.glob("*.jpg")]
    rows = [row | {"path": folder / row["file_name"]} for row in rows]
    return sorted(rows, key=lambda row: hashlib.sha1(row["file_name"].encode()).hexdigest())


def write(folder, rows, columns):
    """Copy the photos of ``rows`` into a folder with these columns."""
    if (folder / "metadata.csv").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        shutil.copyfile(row["path"], folder / row["file_name"])
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["file_name", *columns], restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def chosen(faces):
    """The unmasked photos on which masks are drawn, each with its ``source``; and all of FairFace's."""
    more = photos(faces / "more")
    fairface = [
        row | {"source": FAIRFACE, "age": AGES.get(row["age"], row["age"])}
        for row in more
        if row["source"] == "fairface_val"
    ]
    held = {
        name: [row for row in photos(faces / name) if is_held_out(row["file_name"])] for name in ("celeba", "synthetic")
    }
    portraits = [row for row in more if row["source"] in PORTRAITS and is_held_out(row["file_name"])]
    out = [row for row in fairface if row["age"] == AGES["60-69"]]
    for low, high in BINS:
        turned = [row for row in fairface if low <= abs(float(row["yaw"])) < high]
        out += [row for row in turned[:A_BIN] if row not in out]
    others = {
        "sharp portraits, held out": portraits[:PORTRAIT],
        "LFW": photos(faces / "lfw")[:LFW],
        "CelebA, held out": held["celeba"][:CELEBA],
        "London faces": photos(faces / "publishable")[:LONDON],
        "generated people, held out": [{**row, "group": "", "gender": ""} for row in held["synthetic"][:GENERATED]],
    }
    return out + [row | {"source": name} for name, rows in others.items() for row in rows], fairface


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "faces", type=Path, help="the folder with celeba, lfw, masked, masked_more, more and the others"
    )
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    drawn, fairface = chosen(args.faces)
    people = ["source", "yaw", *PEOPLE.split(",")]
    write(args.output / "never-trained-on", drawn, people)
    write(args.output / "fairface-test", fairface, people)
    masked = [row | {"set": name} for name in ("masked", "masked_more") for row in photos(args.faces / name)]
    write(
        args.output / "really-masked",
        [row for row in masked if is_held_out(row["file_name"])],
        ["set", "yaw", "mask_type"],
    )
    write(
        args.output / "held-celeba", [row for row in photos(args.faces / "celeba") if is_held_out(row["file_name"])], []
    )
    reports = {name: args.output / f"{name}.json" for name in PARTS}
    for name, options in PARTS.items():
        if not reports[name].exists():
            evaluate(*(word.format(args.output) for word in options.split()), "--output", reports[name])
    evaluate("report", *reports.values(), "--output", args.output / "report.html")


def evaluate(*arguments):
    subprocess.run(["maskhub", "evaluate", *arguments], check=True)


if __name__ == "__main__":
    main()
