"""Cut aligned face crops, and paste them back without changing any pixel outside the soft region.

All crops that maskhub trains on and translates are aligned this way: the eyes level and at 32 % of the height, the side
1.4 × the face's width, centred between the middle of the eyes and the middle of the face box (which keeps both frontal
faces and profiles inside).
"""

import functools

import cv2
import numpy as np

__all__ = ["alignment", "crop", "paste", "shrunk", "warped", "window"]

EYE_HEIGHT = 0.32
SIDE = 1.4
BEYOND = 0.01
"""How far the photo must extend beyond a crop's edge, as a share of the crop's side, for that edge to be blended."""


def alignment(face, resolution, wider=1.0):
    """The similarity transform (float64 2×3) from a photo's pixels to those of a face's aligned crop of ``resolution``
    pixels.

    ``wider`` is the factor by which the crop spans more of the photo than usual; the eyes stay in their usual place.
    """
    eyes = face.points[:2].astype(np.float64)
    across = np.array([np.cos(face.angle), np.sin(face.angle)])
    down = np.array([-across[1], across[0]])
    eye_middle = eyes.mean(0)
    middle, face_width = _middle_and_width(face, across)
    side = wider * SIDE * face_width
    offset = ((middle - eye_middle) @ across) / 2
    corner = eye_middle + (offset - side / 2) * across - EYE_HEIGHT * side * down
    linear = np.stack([across, down]) * (resolution / side)
    return np.column_stack([linear, -linear @ corner])


def _middle_and_width(face, across):
    """The middle of a face and its width along the unit vector ``across``."""
    if face.sides is not None:
        return face.sides.astype(np.float64).mean(0), float((face.sides[1] - face.sides[0]) @ across)
    left, top, width, height = face.box
    # for a head lying on its side, the face's width is the box's height
    lying = abs(across[1]) > 0.9
    face_width = width * abs(across[0]) + height * abs(across[1]) if lying else width
    return np.array([left + width / 2, top + height / 2]), face_width


def crop(image, matrix, resolution):
    """Cut the aligned crop, uint8 RGB resolution×resolution×3, out of a photo; beyond the photo's edges its border
    pixels are repeated. ``matrix`` is :func:`alignment` for the same resolution."""
    # warpAffine only interpolates: much larger faces are warped at a whole multiple, then averaged down
    shrink = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    multiple = int(np.clip(np.ceil(shrink - 0.25), 1, 16))
    scaled = _pixel_scaled(matrix, multiple)
    side = resolution * multiple
    out = warped(image, scaled, side)
    if multiple > 1:
        out = cv2.resize(out, (resolution, resolution), interpolation=cv2.INTER_AREA)
    return out


def warped(image, matrix, side):
    """A square of a photo, uint8 RGB side×side×3, or of a region, side×side, interpolated linearly; beyond the photo's
    edges its border pixels are repeated. ``matrix`` (2×3) maps the photo's pixels to the square's."""
    # OpenCV takes three times as long for pixels beyond the edges: repeat these in the part that is used
    corners = np.array([[[-1, -1], [side, -1], [side, side], [-1, side]]], np.float64)
    corners = cv2.transform(corners, cv2.invertAffineTransform(matrix))[0]
    low, high = np.floor(corners.min(0)).astype(int).tolist(), np.ceil(corners.max(0)).astype(int).tolist()
    ends = image.shape[1::-1]
    first = [min(max(start, 0), end - 1) for start, end in zip(low, ends, strict=True)]
    last = [max(min(stop, end - 1), start) for stop, end, start in zip(high, ends, first, strict=True)]
    part = image[first[1] : last[1] + 1, first[0] : last[0] + 1]
    beyond = [max(size, 0) for size in (first[1] - low[1], high[1] - last[1], first[0] - low[0], high[0] - last[0])]
    if any(beyond):
        part = cv2.copyMakeBorder(part, *beyond, cv2.BORDER_REPLICATE)
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ (first[0] - beyond[2], first[1] - beyond[0])
    # it warps four channels, to the same values, in less than half the time of three
    faster = image.ndim == 3 and part.shape[0] * part.shape[1] <= 2 * side * side
    part = cv2.cvtColor(part, cv2.COLOR_RGB2RGBA) if faster else part
    out = cv2.warpAffine(part, moved, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(out, cv2.COLOR_RGBA2RGB) if faster else out


def shrunk(image, factor):
    """A picture averaged down by a whole factor; the rest of its last rows and columns is dropped. At any other factor
    OpenCV takes ten times as long."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    whole = image[: height * factor, : width * factor]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA) if factor > 1 else whole


def paste(photo, changed, region, matrix):
    """Blend a changed crop (uint8 S×S×3) back into its photo through a soft ``region`` (float32 S×S in [0, 1]).

    Returns the new uint8 photo and its float32 H×W region. Where that is 0 the photo is unchanged; ``photo`` is not
    modified.
    """
    height, width = photo.shape[:2]
    # warpAffine only interpolates: a crop finer than the photo is averaged down first
    grow = 1 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if grow < 0.9:
        side = max(2, round(changed.shape[0] * grow))
        matrix = _pixel_scaled(matrix, side / changed.shape[0])
        changed = cv2.resize(changed, (side, side), interpolation=cv2.INTER_AREA)
        region = cv2.resize(region, (side, side), interpolation=cv2.INTER_AREA)
    side = changed.shape[0]
    inverse = cv2.invertAffineTransform(matrix)
    corners = cv2.transform(np.array([[[0, 0], [side, 0], [side, side], [0, side]]], np.float64), inverse)[0]
    x0, y0 = np.clip(np.floor(corners.min(0)).astype(int) - 1, 0, (width, height))
    x1, y1 = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, (width, height))
    out, whole = photo.copy(), np.zeros((height, width), np.float32)
    if x1 <= x0 or y1 <= y0:
        return out, whole
    local = inverse.copy()
    local[:, 2] -= (x0, y0)
    size = int(x1 - x0), int(y1 - y0)
    weight = cv2.warpAffine(region, local, size, flags=cv2.INTER_LINEAR, borderValue=0.0).clip(0, 1)
    whole[y0:y1, x0:x1] = weight
    left, top, wide, high = cv2.boundingRect((weight > 0).view(np.uint8))  # pixels around it keep their values
    if not wide:
        return out, whole
    inside = slice(top, top + high), slice(left, left + wide)
    local[:, 2] -= (left, top)
    back = cv2.warpAffine(changed, local, (wide, high), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    part, mixed = photo[y0:y1, x0:x1][inside], back.astype(np.float32)
    mixed -= part
    mixed *= cv2.merge([weight[inside]] * 3)  # numpy broadcasts slowly over a last axis of 3
    mixed += part
    out[y0:y1, x0:x1][inside] = np.rint(mixed, out=mixed)
    return out, whole


def window(matrix, resolution, photo, border=0.06):
    """The opacity of each of a crop's pixels in the photo, float32 resolution×resolution, so that the crop's edges do
    not show.

    It falls smoothly to exactly 0 over a share ``border`` of the side towards the crop's edges, but only where the
    photo continues beyond them: at the photo's edges there is nothing to blend with.
    """
    at = cv2.transform(_edges(resolution), cv2.invertAffineTransform(matrix))
    height, width = photo.shape[:2]
    visible = ((at >= 0) & (at <= (width - 1, height - 1))).all(2)
    return _ramp(*(edge.tobytes() for edge in visible), border)


@functools.lru_cache(maxsize=8)
def _edges(side):
    """Points just outside a crop's top, bottom, left and right edge, float64 4×(side + 2)×2."""
    along, out = np.arange(-1.0, side + 1), BEYOND * side
    near, far = np.full_like(along, -out), np.full_like(along, side - 1 + out)
    return np.stack([np.stack(line, 1) for line in ((along, near), (along, far), (near, along), (far, along))])


@functools.lru_cache(maxsize=8)  # most crops lie inside their photos
def _ramp(top, bottom, left, right, border):
    """The opacity by distance from those pixels just outside the crop that are in the photo; for each side a byte per
    pixel, 1 if it is. Read-only."""
    top, bottom, left, right = (np.frombuffer(side, bool) for side in (top, bottom, left, right))
    hidden = np.ones((len(top), len(top)), np.uint8)
    hidden[0], hidden[-1] = ~top, ~bottom
    hidden[:, 0] &= ~left
    hidden[:, -1] &= ~right
    distance = cv2.distanceTransform(hidden, cv2.DIST_L2, 5)[1:-1, 1:-1]
    ramp = ((distance - 1) / (border * (len(top) - 2))).clip(0, 1)
    opacity = ramp * ramp * (3 - 2 * ramp)
    opacity.flags.writeable = False
    return opacity


def _pixel_scaled(matrix, multiple):
    """The matrix for a grid ``multiple`` times as fine, with the pixel centres kept aligned."""
    scaled = matrix * multiple
    scaled[:, 2] += (multiple - 1) / 2
    return scaled
