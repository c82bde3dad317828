"""Decoys for the mask detector, drawn on aligned crops: hands, hair, scarves, blobs, smeared mouths.

    image, cover = occlude(image, rng)      # something in front of the face, masked or not
    image = decoy(image, region, rng)       # an unmasked lower face that is dark, bearded, tinted or smeared

The mask detector measures generators, so it must not be trained on results of any generator: it would learn their
fingerprint instead of masks. Rule-based smears and blurs imitate their artefacts.
"""

import cv2
import numpy as np

__all__ = ["decoy", "occlude"]


def occlude(image, rng):
    """Put a hand, strands of hair, a scarf below the chin or coloured blobs in front of a face, a uint8 RGB S×S×3 crop.

    Returns the new image, and the alpha of the occlusion, float32 S×S in [0, 1].
    """
    side = image.shape[0]
    draw = (_hand, _hair, _scarf, _blobs)[rng.choice(4, p=(0.35, 0.2, 0.2, 0.25))]
    cover, colour = draw(image, side, rng)
    cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.4, 1.0) * side / 128)
    mixed = image + (colour - image) * cover[..., None]
    return np.rint(mixed).clip(0, 255).astype(np.uint8), cover


def decoy(image, region, rng):
    """Darken, tint, roughen (a beard) or smear the lower face of an unmasked uint8 RGB S×S×3 crop, with soft edges.

    ``region`` is float32 S×S, where a mask would be; if it is empty, the image is returned unchanged.
    """
    side = image.shape[0]
    if region.max() < 0.5:
        return image
    soft = cv2.GaussianBlur((region > 0.5).astype(np.float32), (0, 0), rng.uniform(0.025, 0.06) * side)
    soft = soft[..., None] * np.float32(rng.uniform(0.6, 1.0))
    picture = image.astype(np.float32)
    kind = rng.choice(4, p=(0.28, 0.27, 0.37, 0.08))
    if kind == 0:  # a shadow or a dirty tint: the face is still visible
        other = picture * rng.uniform(0.35, 0.9) * rng.uniform(0.88, 1.12, 3).astype(np.float32)
    elif kind == 1:  # a beard: dark, and rough
        rough = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), 0.7, sigmaY=1.3)
        hair = np.float32(rng.uniform(15, 110) * np.array([1, rng.uniform(0.75, 0.95), rng.uniform(0.5, 0.85)]))
        own = np.float32(rng.uniform(0.15, 0.5))
        other = picture * own + (hair + 60 * rough[..., None] * rng.uniform(0.3, 0.9)) * (1 - own)
        mouth = _ellipse(side, (0.5, rng.uniform(0.68, 0.74)), (0.13, 0.045))
        soft = soft * (1 - cv2.GaussianBlur(mouth, (0, 0), 0.012 * side)[..., None])
    elif kind == 2:  # smeared, as generators do
        sigma = rng.uniform(0.02, 0.08) * side
        other = cv2.GaussianBlur(picture, (0, 0), sigma, sigmaY=sigma * rng.uniform(0.5, 2))
        other += cv2.GaussianBlur(rng.normal(0, 1, picture.shape).astype(np.float32), (0, 0), 2) * rng.uniform(0, 25)
    else:  # skin instead of the mouth
        other = _skin(image)[None, None] * rng.uniform(0.8, 1.1) + (picture - cv2.GaussianBlur(picture, (0, 0), 3))
        light = cv2.GaussianBlur(picture, (0, 0), 0.15 * side).mean(2, keepdims=True)
        other = other * (light / max(float(light.mean()), 1.0))
    return np.rint(picture + (other - picture) * soft).clip(0, 255).astype(np.uint8)


def _skin(image):
    """The median colour under the eyes of an aligned crop."""
    side = image.shape[0]
    rows = slice(int(0.38 * side), int(0.5 * side))
    patches = [image[rows, int(a * side) : int((a + 0.12) * side)].reshape(-1, 3) for a in (0.28, 0.6)]
    return np.median(np.concatenate(patches), 0).astype(np.float32)


def _hand(image, side, rng):
    """A palm and fingers in the colour of the face, from an edge to somewhere on the face."""
    cover = np.zeros((side, side), np.float32)
    tip = rng.uniform((0.2, 0.3), (0.8, 0.85)) * side
    start = np.array([rng.choice([-0.1, 1.1]) if rng.random() < 0.6 else rng.uniform(0, 1), rng.uniform(0.7, 1.15)])
    along = tip - start * side
    along /= max(float(np.hypot(*along)), 1e-6)
    across = np.array([-along[1], along[0]])
    thick = rng.uniform(0.05, 0.08) * side
    shade = np.zeros((side, side), np.float32)
    for finger in range(int(rng.integers(1, 5))):
        end = tip + across * finger * thick * 1.05 - along * thick * rng.uniform(0, 1.2)
        base = end - along * rng.uniform(0.25, 0.4) * side + across * rng.normal(0, 0.3) * thick
        _line(cover, base, end, thick, 1.0)
        _line(shade, base + across * 0.35 * thick, end + across * 0.35 * thick, thick * 0.35, 0.25)
    palm = tip - along * 0.45 * side
    cv2.ellipse(cover, _point(palm), _point((0.17 * side, 0.14 * side)), float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    _line(cover, palm, palm - along * side, 0.18 * side, 1.0)
    shade = cv2.GaussianBlur(shade, (0, 0), 0.02 * side)
    colour = _skin(image) * rng.uniform(0.7, 1.15) * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    slope = np.linspace(rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.1), side, dtype=np.float32)[:, None]
    return cover, colour * ((1 - shade) * slope)[..., None]


def _hair(image, side, rng):
    """Strands of hair from the top, more over the cheeks than over the nose."""
    cover = np.zeros((side, side), np.float32)
    tone = np.float32(rng.uniform(10, 200) * np.array([1, rng.uniform(0.75, 0.95), rng.uniform(0.5, 0.85)]))
    colour = np.tile(tone, (side, side, 1))
    left = rng.random() < 0.5
    edge = rng.uniform(0.1, 0.35)
    for _ in range(int(rng.integers(8, 45))):
        x = rng.uniform(0, edge)
        sway = rng.normal(0, 0.06, 4) + np.linspace(0, rng.uniform(-0.05, 0.15), 4)
        xs, ys = np.interp(np.linspace(0, 3, 20), range(4), x + sway), np.linspace(-0.05, rng.uniform(0.5, 1.05), 20)
        line = np.rint(np.column_stack([xs if left else 1 - xs, ys]) * side * 8).astype(np.int32)
        width = int(rng.integers(1, 4))
        cv2.polylines(cover, [line], False, 1.0, width, cv2.LINE_AA, 3)
        cv2.polylines(colour, [line], False, (tone * rng.uniform(0.6, 1.4)).tolist(), width, cv2.LINE_AA, 3)
    return cover, colour


def _scarf(image, side, rng):
    """Cloth, a collar or a turtleneck that ends below the chin."""
    xs = np.linspace(0, 1, 24)
    dip = rng.uniform(0.0, 0.25)
    ys = rng.uniform(0.93, 0.98) - dip * (2 * np.abs(xs - rng.uniform(0.4, 0.6))) ** 3
    corners = np.rint(np.vstack([np.column_stack([xs, ys]), [[1, 1.1], [0, 1.1]]]) * side * 8).astype(np.int32)
    cover = cv2.fillPoly(np.zeros((side, side), np.float32), [corners], 1.0, cv2.LINE_AA, 3)
    return cover, _cloth(side, rng)


def _blobs(image, side, rng):
    """A few small plain or patterned shapes anywhere: a cup, a microphone, a sticker, a frame's edge."""
    cover, colour = np.zeros((side, side), np.float32), _cloth(side, rng)
    for _ in range(int(rng.integers(1, 4))):
        middle, size = rng.uniform(0.05, 0.95, 2) * side, rng.uniform(0.03, 0.13, 2) * side
        angle = float(rng.uniform(0, 180))
        if rng.random() < 0.5:
            cv2.ellipse(cover, _point(middle), _point(size), angle, 0, 360, 1.0, -1, cv2.LINE_AA)
        else:
            box = cv2.boxPoints((tuple(map(float, middle)), tuple(map(float, 2 * size)), angle))
            cv2.fillPoly(cover, [np.rint(box * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
    if rng.random() < 0.3:  # a bar from the edge
        _line(cover, rng.uniform((-0.1, 0.5), (1.1, 1.1)) * side, rng.uniform(0.2, 0.8, 2) * side, 0.04 * side, 1.0)
    return cover, colour


def _cloth(side, rng):
    """A colour with soft folds, and sometimes stripes."""
    colour = np.tile(rng.uniform(15, 245, 3).astype(np.float32), (side, side, 1))
    if rng.random() < 0.3:
        ys, xs = np.mgrid[:side, :side].astype(np.float32) / side
        angle, count = rng.uniform(0, np.pi), rng.uniform(6, 25)
        stripes = np.sin(2 * np.pi * count * (xs * np.cos(angle) + ys * np.sin(angle))) > 0
        colour[stripes] = rng.uniform(15, 245, 3)
    folds = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), 0.06 * side)
    folds *= rng.uniform(0, 0.25) / max(float(folds.std()), 1e-6)
    return colour * (1 + folds)[..., None]


def _ellipse(side, middle, radii):
    out = np.zeros((side, side), np.float32)
    return cv2.ellipse(out, _point(np.array(middle) * side), _point(np.array(radii) * side), 0, 0, 360, 1.0, -1)


def _line(canvas, start, end, thick, value):
    cv2.line(canvas, _point(start), _point(end), value, max(1, round(thick)), cv2.LINE_AA)


def _point(xy):
    return round(float(xy[0])), round(float(xy[1]))
