"""What the re-imaging networks can do on pixel faces: the figures of docs/reimaging.md, and its pictures.

    python benchmarks/bench_reimaging.py                        # the networks in the package
    python benchmarks/bench_reimaging.py PIPELINE --sheet sheet.png

* generated faces: the share in which the classifiers find the guaranteed tone; the distance to the nearest training
  face, compared with that between training faces; how many repeat a training face (within 2 levels per channel);
* the classifier on the 75 test faces, uncovered and covered;
* re-imaging of the 75 covered test faces of the thesis's sets, or of --covered: the tone that the classifier finds in
  the result and in the replaced pixels; the mean error under the covering for each way of matching the tone; pixels
  changed outside.
"""

import argparse
import json
from collections import Counter

import numpy as np
import torch
from PIL import Image

from maskhub import ReimagingPipeline
from maskhub.data.labelled import LabelledPhotos
from maskhub.data.pixel_faces import SETS, SKIN, pixel_faces
from maskhub.pipelines.reimaging import THESIS, load_classifier

COUNT = 256


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", nargs="?", help="folder or Hub id; the networks in the package if not given")
    parser.add_argument("--sheet", help="PNG of the four steps to write")
    parser.add_argument("--faces", help="PNG of pixel faces to write")
    parser.add_argument("--covered", default="builtin:pixel-faces/covered/uniform:test", help="faces to re-image")
    parser.add_argument("--candidates", type=int, default=512)
    options = parser.parse_args()
    pipe = ReimagingPipeline.from_pretrained(options.pipeline) if options.pipeline else ReimagingPipeline.bundled()
    figures = {"generated": generated(pipe), "classifier": classified(pipe), "re-imaging": reimaged(pipe, options)}
    print(json.dumps(figures, indent=1))
    if options.faces:
        face_sheet().save(options.faces)
    if options.sheet:
        step_sheet(pipe, options).save(options.sheet)


def generated(pipe):
    """Tone of each generator's faces, and which of its 125 training faces they are near to."""
    figures, thesis = {}, load_classifier(THESIS)
    for name, generator in pipe.generators.items():
        tone = pipe.models[name]["tone"]
        with torch.inference_mode():
            faces = generator(torch.randn(COUNT, generator.config.latent, generator=torch.Generator().manual_seed(1)))
        train = LabelledPhotos.open(f"builtin:pixel-faces/{tone}/uniform:all").tensor()
        near = nearest(faces, train)
        figures[name] = {
            "tone right": tone_right(pipe.classifier, faces, tone),
            "tone right by the thesis's classifier": tone_right(thesis, faces, tone),
            "distance to the nearest training face, median": float(np.median(near)),
            "distance of a training face to its nearest other, median": float(np.median(nearest_other(train))),
            "copies": float((near < 2).mean()),
            "different nearest training faces": len(set(nearest_place(faces, train))),
        }
    return figures


def tone_right(classifier, faces, tone):
    found = Counter(max(odds, key=odds.get) for odds in classifier.distribution(faces))
    return found[tone] / len(faces)


def nearest_other(faces):
    """Root mean square distance of each face from the nearest other one of the same set, in 8-bit levels."""
    distances = torch.cdist(faces.flatten(1), faces.flatten(1)).fill_diagonal_(torch.inf).min(1).values
    return (distances / faces[0].numel() ** 0.5 * 127.5).numpy()


def nearest(faces, others):
    """Root mean square distance of each face from the nearest of others, in 8-bit levels."""
    distances = torch.cdist(faces.flatten(1), others.flatten(1)).min(1).values
    return (distances / faces[0].numel() ** 0.5 * 127.5).numpy()


def nearest_place(faces, others):
    return torch.cdist(faces.flatten(1), others.flatten(1)).argmin(1).tolist()


def classified(pipe):
    figures = {}
    for kind, spec in {"bare": "builtin:pixel-faces:test", "covered": "builtin:pixel-faces/covered:test"}.items():
        photos = LabelledPhotos.open(spec)
        odds = pipe.classifier.distribution(photos.tensor())
        right = [max(odd, key=odd.get) == known["tone"] for odd, known in zip(odds, photos.columns, strict=True)]
        figures[kind] = {"faces": len(photos), "accuracy": float(np.mean(right))}
    return figures


def reimaged(pipe, options):
    faces = pixel_faces(options.covered)
    figures = {}
    for how in ("none", "shift", "poisson", "clone", "palette"):
        output = pipe([face.image for face in faces], tone=how, candidates=options.candidates)
        results = [np.asarray(result) for result in output.result]
        true = [face.uncovered().pixels for face in faces]
        skins = [
            face.region & (bare == SKIN[face.attributes.tone][2]).all(2) for face, bare in zip(faces, true, strict=True)
        ]
        errors = [np.abs(r.astype(int) - t)[f.region].mean() for r, t, f in zip(results, true, faces, strict=True)]
        on_skin = [
            np.abs(np.median(r[s], axis=0) - t[s].mean(0)).mean() for r, t, s in zip(results, true, skins, strict=True)
        ]
        figures[how] = {
            "mean error under the covering": float(np.mean(errors)),
            "error of the skin's tone": float(np.mean(on_skin)),
            "tone right by the replaced pixels": float(
                np.mean(
                    [nearest_tone(r[s]) == f.attributes.tone for r, s, f in zip(results, skins, faces, strict=True)]
                )
            ),
        }
    images = torch.stack([torch.tensor(r).permute(2, 0, 1).float() / 127.5 - 1 for r in results])
    odds = pipe.classifier.distribution(images)
    figures["tone right by the classifier"] = float(
        np.mean([max(odd, key=odd.get) == face.attributes.tone for odd, face in zip(odds, faces, strict=True)])
    )
    figures["model right"] = float(
        np.mean([pipe.models[m].get("tone") == f.attributes.tone for m, f in zip(output.models, faces, strict=True)])
    )
    figures["pixels changed outside the covering"] = int(
        sum((r != f.pixels).any(2)[~f.region].sum() for r, f in zip(results, faces, strict=True))
    )
    figures["covering found to the pixel"] = float(
        np.mean([(found == face.region).all() for found, face in zip(output.regions, faces, strict=True)])
    )
    return figures


def nearest_tone(pixels):
    """The set whose base colour is nearest to the middle colour of some pixels."""
    middle = np.median(pixels, axis=0)
    return min(SETS, key=lambda tone: np.linalg.norm(middle - SKIN[tone][2]))


def sheet(rows, zoom=4):
    """Rows of uint8 32×32×3 pictures, magnified, on white."""
    out = np.full((33 * len(rows) + 1, 33 * max(map(len, rows)) + 1, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            out[33 * y + 1 : 33 * y + 33, 33 * x + 1 : 33 * x + 33] = picture
    return Image.fromarray(out).resize((out.shape[1] * zoom, out.shape[0] * zoom), Image.Resampling.NEAREST)


def face_sheet():
    """Three rows of bare faces, three of the same covered."""
    rows = []
    for spec in ("builtin:pixel-faces", "builtin:pixel-faces/covered"):
        for number, tone in enumerate(SETS):
            faces = [face for face in pixel_faces(spec) if face.attributes.tone == tone]
            rows.append([face.pixels for face in faces[3 * number :: 8][:12]])
    return sheet(rows)


def step_sheet(pipe, options):
    """Covered, raw, smoothed, clipping, result, truth; three faces of each set, two sets of columns."""
    rows = []
    for tone in SETS:
        faces = [f for f in pixel_faces(options.covered) if f.attributes.tone == tone][1::4][:6]
        output = pipe([face.image for face in faces], candidates=options.candidates)
        steps = []
        for number, face in enumerate(faces):
            clipping = Image.new("RGBA", (32, 32), "white")
            clipping.alpha_composite(output.clipping[number])
            four = [output.raw[number], output.smoothed[number], clipping.convert("RGB"), output.result[number]]
            steps.append([face.pixels, *map(np.asarray, four), face.uncovered().pixels])
        rows += [one + other for one, other in zip(steps[::2], steps[1::2], strict=True)]
    return sheet(rows)


if __name__ == "__main__":
    main()
