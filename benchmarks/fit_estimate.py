"""Fit and test the estimate of a result's quality (maskhub/pipelines/estimate.py).

    MASKHUB_WEIGHTS=../shared/weights python benchmarks/estimate_pairs.py ../shared/faces estimate
    python benchmarks/fit_estimate.py estimate/*-masked --write

Each folder is a source: masked photos that the unmasker was never trained on, and a ``pairs.csv`` with the columns
``photo`` and ``lpips_inside``. Every source in turn is estimated by a model fitted to the others, every tenth of the
faces by one fitted to the rest, and all of them by the stored model. ``--write`` stores the model of all of them, and
as its threshold the value that a fifth of the first estimates exceed.

A new mask detector measures some of the numbers differently. ``--rescale DETECTOR``, with the one before, keeps the
model and its threshold, but scales these numbers so that each has the mean and the spread that it had. A quarter of the
photos is enough for that.
"""

import argparse
import csv
import json
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr

from maskhub.data.curate import sharpness
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.masks.detector import detect_masks
from maskhub.models.mask_detector import MaskDetector
from maskhub.pipelines.estimate import FILE, REASONS, measure_face

RIDGE = 10.0
WORST, FLAGGED = 0.1, 0.2
"""Share of results that count as the worst, and share that is called poor."""
RESAMPLES = 2000
RESCALED = ("reach", "doubt")
"""The numbers that depend most on the mask detector's region."""


def read(folder, network=None):
    """A dict for each masked photo of a source on which a face is found, and the number of the others. ``network`` is
    the mask detector; default: the bundled one."""
    rows, lost = [], 0
    for line in csv.DictReader((folder / "pairs.csv").open(encoding="utf-8")):
        pixels = np.asarray(split_alpha(open_photo(folder / line["photo"]))[0])
        faces = detect(pixels)
        if not faces:
            lost += 1
            continue
        (crop,), (found,) = detect_masks([(pixels, faces[0])], network)
        row = {"source": folder.name, "error": float(line["lpips_inside"])}
        rows.append(row | measure_face(crop, faces[0].score, found) | others(pixels, faces[0], crop, found))
    return rows, lost


def others(pixels, face, crop, found):
    """Numbers to compare with: larger where a result should be worse. ``rules`` are those of the app before."""
    marks, middle = landmarks(pixels, face), np.s_[25:-25, 25:-25]
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurred = cv2.Laplacian(grey, cv2.CV_32F)[middle].var() < 0.025 * max(grey[middle].var(), 1.0)
    return {
        "rules": blurred or min(face.box[2:]) < 40 or marks.presence < 0.3 or abs(marks.yaw) > 35,
        "face detector's score": -face.score,
        "yaw of the landmarks": abs(marks.yaw),
        "presence of the landmarks": -marks.presence,
        "mask detector's presence": -found.presence,
        "blur": -sharpness(crop),
        "share covered": float(found.region.mean()),
    }


def fit(values, errors):
    """Ridge regression on standardised columns: means, weights for the plain values, and the intercept."""
    mean, deviation = values.mean(0), values.std(0)
    scaled = (values - mean) / deviation
    weights = np.linalg.solve(scaled.T @ scaled + RIDGE * np.eye(values.shape[1]), scaled.T @ (errors - errors.mean()))
    return mean, weights / deviation, errors.mean()


def crossed(values, errors, groups):
    """The estimate of each face by a model fitted to the other groups, such as sources."""
    out = np.empty(len(errors))
    for group in np.unique(groups):
        own = groups == group
        mean, weights, intercept = fit(values[~own], errors[~own])
        out[own] = intercept + (values[own] - mean) @ weights
    return out


def figures(guess, errors, sources, count):
    """Rank correlation with the errors, its mean within sources, and recall and precision of the worst tenth among the
    ``count`` faces of the highest guess."""
    kinds = [sources == source for source in np.unique(sources)]
    within = [spearmanr(guess[own], errors[own])[0] for own in kinds if np.ptp(guess[own]) > 0]
    worst = errors >= np.quantile(errors, 1 - WORST)
    hits = worst[np.argsort(-guess, kind="stable")[:count]].sum()
    return np.array([spearmanr(guess, errors)[0], np.mean(within), hits / worst.sum(), hits / count])


def table(guesses, errors, sources, count):
    """Print the figures of each way to guess, with 95 % intervals over resamples of the faces; those of the estimate
    minus the others' are from the same resamples."""
    rng, drawn = np.random.default_rng(0), {name: [] for name in guesses}
    for _ in range(RESAMPLES):
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(sources == one), (sources == one).sum()) for one in set(sources)]
        )
        for name, guess in guesses.items():
            drawn[name].append(figures(guess[chosen], errors[chosen], sources[chosen], count))
    print("| | rank correlation | within a source | of the worst tenth found | precision |\n|---|---|---|---|---|")
    for name, guess in guesses.items():
        low, high = np.quantile(drawn[name], (0.025, 0.975), axis=0)
        cells = zip(figures(guess, errors, sources, count), low, high, strict=True)
        print(f"| {name} | " + " | ".join(f"{value:.2f} ({a:.2f} to {b:.2f})" for value, a, b in cells) + " |")
        if name != "estimate":
            low, high = np.quantile(np.subtract(drawn["estimate"], drawn[name]), (0.025, 0.975), axis=0)
            print(
                "|   estimate better by | "
                + " | ".join(f"{a:+.2f} to {b:+.2f}" for a, b in zip(low, high, strict=True))
                + " |"
            )


def by_source(guesses, errors, sources):
    """Print of each source the rank correlation of guesses with the errors, and their mean absolute difference."""
    for source in np.unique(sources):
        own = sources == source
        cells = [
            f"{name}: rank correlation {spearmanr(guess[own], errors[own])[0]:.2f}, "
            f"off by {np.abs(guess[own] - errors[own]).mean():.3f} (mean {(guess[own] - errors[own]).mean():+.3f})"
            for name, guess in guesses.items()
        ]
        print(f"{source}, {own.sum()} faces; " + "; ".join(cells))


def rescaled(model, before, now):
    """The model for other measurements of the same faces, two lists of the dicts of :func:`read`."""
    terms = dict(model["terms"])
    for name in RESCALED:
        old, new = (np.array([row[name] for row in rows]) for rows in (before, now))
        ratio, term = old.std() / new.std(), terms[name]
        mean = new.mean() + (term["mean"] - old.mean()) / ratio
        terms[name] = {"mean": round(float(mean), 5), "weight": round(float(term["weight"] * ratio), 5)}
    return model | {"terms": terms}


def guessed(model, rows):
    """The model's estimate of each face."""
    terms = model["terms"].items()
    return model["intercept"] + sum(
        term["weight"] * (np.array([row[name] for row in rows]) - term["mean"]) for name, term in terms
    )


def rescale(folders, detector, write):
    """Rescale the stored model and print what it changes."""
    network = MaskDetector.from_pretrained(detector, variant="fp16").float().eval()
    before, now = ([row for folder in folders for row in read(folder, net)[0]] for net in (network, None))
    model = json.loads(FILE.read_text(encoding="utf-8"))
    new, errors = rescaled(model, before, now), np.array([row["error"] for row in now])
    for name, guess in (
        ("detector and model before", guessed(model, before)),
        ("new detector", guessed(model, now)),
        ("new detector, rescaled", guessed(new, now)),
    ):
        print(f"{name}: mean {guess.mean():.4f}, rank correlation {spearmanr(guess, errors)[0]:.3f}, "
              f"{(guess >= model['poor']).sum()} of {len(errors)} called poor")  # fmt: skip
    store(new, write)


def store(model, write):
    print(json.dumps(model, indent=1))
    if write:
        FILE.write_text(json.dumps(model, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="of masked photos, each with its pairs.csv")
    parser.add_argument("--write", action="store_true", help="store the model in the package")
    parser.add_argument("--rescale", metavar="DETECTOR", help="rescale the stored model, of this earlier detector")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.rescale:
        return rescale(args.folders, args.rescale, args.write)
    rows = []
    for folder in args.folders:
        found, lost = read(folder)
        rows += found
        print(
            f"{folder.name}: {len(found)} faces, LPIPS {np.mean([row['error'] for row in found]):.3f}; {lost} not found"
        )
    values = np.array([[row[name] for name in REASONS] for row in rows])
    errors, sources = np.array([row["error"] for row in rows]), np.array([row["source"] for row in rows])
    guess = crossed(values, errors, sources)
    poor, rules = float(np.quantile(guess, 1 - FLAGGED)), np.array([row["rules"] for row in rows])
    names = [name for name in rows[0] if name not in {"source", "error", *REASONS}]
    stored = guessed(json.loads(FILE.read_text(encoding="utf-8")), rows)
    tenths = np.random.default_rng(1).permutation(len(errors)) % 10
    guesses = {"estimate": guess, "by nine tenths": crossed(values, errors, tenths), "stored model": stored}
    guesses |= {name: np.array([float(row[name]) for row in rows]) for name in names}
    print(f"worst tenth: from {np.quantile(errors, 1 - WORST):.3f}; the rules warn of {rules.sum()} of {len(rows)}")
    table(guesses, errors, sources, int(rules.sum()))
    by_source({"estimate": guess, "stored model": stored}, errors, sources)
    for share in (0.1, 0.2):
        worst = errors >= np.quantile(errors, 1 - share)
        print(f"called poor (from {poor:.3f}): {(guess >= poor).sum()}; {worst[guess >= poor].mean():.0%} of them are, "
              f"and {worst[guess < poor].mean():.0%} of the others, among the worst {share:.0%}")  # fmt: skip
    mean, weights, intercept = fit(values, errors)
    terms = {
        name: {"mean": round(float(m), 5), "weight": round(float(w), 5)}
        for name, m, w in zip(REASONS, mean, weights, strict=True)
    }
    store({"intercept": round(float(intercept), 4), "poor": round(poor, 3), "terms": terms}, args.write)


if __name__ == "__main__":
    main()
