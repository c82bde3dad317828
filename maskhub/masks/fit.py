"""Fit a mask to a face: a sheet of fabric draped over its landmarks, and the sheet's unwrapping in the photo.

The sheet has two coordinates. ``u`` runs around the head: -1 before the person's right ear, 0 on the nose, 1 before
the left ear. ``v`` runs down it: 0 at the height of the eyes, 1 on the jaw line, above 1 under the chin. The same
(u, v) is the same place on every face, so a mask drawn in (u, v) fits all of them. The head's axes: x to the picture's
right on a level frontal face, y down, z away from the camera. The unit is the face's width from ear to ear.
"""

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from maskhub.faces.landmarks import MEAN_FACE

__all__ = ["FINE_STEP", "Head", "Sheet", "Unwrapped", "drape", "sheet_of", "unwrap", "within"]

AXIS_Z = 0.1
"""Depth of the vertical axis around which ``u`` turns."""
U_DEGREES = 80.0
TOP_Y = -0.10
"""Height of v = 0."""
JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
U = np.linspace(-1.1, 1.1, 23)
V = np.concatenate([np.linspace(-0.1, 1.0, 12), [1.1, 1.2, 1.3, 1.4]])
STEP_RADIANS = np.radians(0.1 * U_DEGREES)
AXIS = np.array([0, 0, AXIS_Z])
_INNER = slice(2, 12), slice(2, -2)
"""The nodes that tension moves."""
FINE = 3
"""Fine steps per step of the control net."""
FINE_STEP = 0.1 / FINE


@dataclass(frozen=True)
class Head:
    """A head's position in the photo.

    Attributes:
        origin: 3 float64, the midpoint between the ears in the photo's pixels.
        width: the face's width from ear to ear in pixels.
        rotation: 3×3, from the head's axes to the photo's.
        points: N×3 float64, the landmarks in the head's axes, in widths.
    """

    origin: np.ndarray
    width: float
    rotation: np.ndarray
    points: np.ndarray

    @classmethod
    def of(cls, landmarks):
        """The head that some :class:`~maskhub.faces.landmarks.Landmarks` belong to."""
        points = landmarks.points[:468].astype(np.float64)
        origin = (points[234] + points[454]) / 2
        width = max(float(np.linalg.norm(points[454] - points[234])), 1e-3)
        return cls(origin, width, landmarks.rotation, (points - origin) @ landmarks.rotation / width)

    def to_photo(self, points):
        """Convert points in the head's axes, …×3, to the photo's pixels."""
        return points * self.width @ self.rotation.T + self.origin


@dataclass(frozen=True)
class Sheet:
    """The draped fabric on a fine grid of (v, u).

    Attributes:
        xyz: rows×columns×3 float32 in the photo's pixels.
        normals: rows×columns×3 float32 of length 1, outward; z is negative towards the camera.
        head_points: rows×columns×3 float32 in the head's axes.
    """

    xyz: np.ndarray
    normals: np.ndarray
    head_points: np.ndarray

    def at(self, u, v, points=None):
        """Sample the sheet (or another grid of its shape) at arrays of (u, v), bilinearly: …×3."""
        grid = self.xyz if points is None else points
        x, y = _grid_x(np.asarray(u, np.float32)), _grid_y(np.asarray(v, np.float32))
        if x.ndim != 2:  # OpenCV takes pictures of coordinates, of less than 32,768 a side
            x, y = x.reshape(-1, 1), y.reshape(-1, 1)
        flat = cv2.remap(grid, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return flat.reshape(*np.shape(u), 3)


@dataclass(frozen=True)
class Unwrapped:
    """The sheet sampled at the photo's pixels, within one rectangle.

    Attributes:
        left, top: the rectangle's corner in the photo.
        u, v: float32 h×w, the sheet's coordinates at each pixel's centre.
        normals: float32 h×w×3.
        cover: float32 h×w in [0, 1], the share of each pixel that the sheet covers; its edge is the silhouette.
    """

    left: int
    top: int
    u: np.ndarray
    v: np.ndarray
    normals: np.ndarray
    cover: np.ndarray


def drape(head, tension=10, gap=0.012, bulge=None):
    """Lay the :class:`Sheet` over a :class:`Head`.

    Args:
        tension: how taut the fabric is, as relaxation steps: 0 (follows the skin) to about 20.
        gap: the fabric's distance from the skin in face widths.
        bulge: function of (u, v) grids that returns how much further the fabric stands out, in face widths; or None.
    """
    net = (_net_weights() @ head.points).reshape(12, len(U), 3)
    # there are no landmarks under the chin: the fabric turns back towards the neck
    net = np.concatenate([net, net[-1] + _below()])
    out = _outward()
    reach = np.einsum("ijk,jk->ij", net - AXIS, out)
    # the fabric only moves outward, so the rest of each node's place stays as it is
    still = net - reach[..., None] * out
    reach += gap
    skin = reach[_INNER].copy()
    pulls = {far: np.einsum("ijk,jk->ij", sum(_neighbours(still, far)) * 0.25 - AXIS, out[2:-2]) for far in (1, 2)}
    for step in range(tension):
        # distant neighbours first: they spread the tension in few steps
        far = 2 if step < tension // 2 else 1
        above, below, before, after = _neighbours(reach, far)
        pulled = (above + below) * 0.25 + (before + after) * (0.25 * np.cos(far * STEP_RADIANS)) + pulls[far]
        reach[_INNER] = np.maximum(skin, pulled)
    if bulge is not None:
        reach = reach + bulge(*_nodes())
    net = still + reach[..., None] * out
    points = _fine_basis(len(V)) @ net.transpose(2, 0, 1) @ _fine_basis(len(U)).T
    return sheet_of(cv2.merge(list(points)), head)


def sheet_of(points, head):
    """The :class:`Sheet` of points in the head's axes, rows×columns×3."""
    xyz = cv2.transform(points, np.column_stack([head.rotation * head.width, head.origin])).astype(np.float32)
    ax, ay, az = cv2.split(cv2.Sobel(xyz, cv2.CV_32F, 0, 1, ksize=1))
    bx, by, bz = cv2.split(cv2.Sobel(xyz, cv2.CV_32F, 1, 0, ksize=1))
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    scale = 1 / (np.sqrt(x * x + y * y + z * z) + np.float32(1e-9))
    return Sheet(xyz, cv2.merge([x * scale, y * scale, z * scale]), points.astype(np.float32))


def _neighbours(field, far):
    """The four neighbours, ``far`` nodes away, of each inner node of a field on the control net."""
    rows, columns = field.shape[:2]
    last = rows - 4
    across, down = slice(2, columns - 2), slice(2, last)
    return (
        field[2 - far : last - far, across],
        field[2 + far : last + far, across],
        field[down, 2 - far : columns - 2 - far],
        field[down, 2 + far : columns - 2 + far],
    )


def unwrap(sheet, u_range, v_range, size):
    """The :class:`Unwrapped` part of a sheet: the (u, v) that each pixel of a photo of this size (width, height) shows;
    None if no part lies within the photo.

    The sheet's points are sorted into coarse cells, those nearest to the camera last. Newton's method then refines the
    coordinates at full resolution.
    """
    rows = slice(max(int(_grid_y(v_range[0])), 0), int(np.ceil(_grid_y(v_range[1]))) + 1)
    columns = slice(max(int(_grid_x(u_range[0])), 0), int(np.ceil(_grid_x(u_range[1]))) + 1)
    x, y, z = (cv2.extractChannel(sheet.xyz, axis) for axis in range(3))
    facing = sheet.normals[rows, columns, 2] < 0.02
    if not facing.any():
        return None
    left, top = max(math.floor(x[rows, columns].min()) - 2, 0), max(math.floor(y[rows, columns].min()) - 2, 0)
    width = min(math.ceil(x[rows, columns].max()) + 3, size[0]) - left
    height = min(math.ceil(y[rows, columns].max()) + 3, size[1]) - top
    if width < 2 or height < 2:
        return None
    x -= np.float32(left)
    y -= np.float32(top)

    coarse = max(width, height) / 44
    grid_size = int(np.ceil(width / coarse)), int(np.ceil(height / coarse))
    row, column = np.nonzero(facing)
    near_last = np.argsort(-z[rows, columns][facing])
    row, column = row[near_last] + rows.start, column[near_last] + columns.start
    cell_x, cell_y = (x[row, column] / coarse).astype(np.int32), (y[row, column] / coarse).astype(np.int32)
    inside = (cell_x >= 0) & (cell_x < grid_size[0]) & (cell_y >= 0) & (cell_y < grid_size[1])
    if not inside.any():
        return None
    found = np.full((grid_size[1], grid_size[0]), -1, np.int32)
    found[cell_y[inside], cell_x[inside]] = (row * x.shape[1] + column)[inside]
    empty = (found < 0).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    by_label = np.zeros(labels.max() + 1, np.int32)
    by_label[labels[empty == 0]] = found[empty == 0]
    start = by_label[labels]
    grid = (start % x.shape[1]).astype(np.float32), (start // x.shape[1]).astype(np.float32)

    # OpenCV samples four channels faster than two or three
    places, inverse = cv2.merge([x, y, z, z]), _inverse_jacobian(x, y)
    for _ in range(2):
        grid = _newton(*grid, places, inverse, coarse)
    grid = (cv2.blur(plane, (3, 3), borderType=cv2.BORDER_REPLICATE) for plane in grid)
    grid = (cv2.resize(plane, None, fx=coarse, fy=coarse)[:height, :width] for plane in grid)
    gx, gy = _newton(*grid, places, inverse, 1.0)
    normals = cv2.cvtColor(sheet.normals, cv2.COLOR_RGB2RGBA)
    normals = _sampled(normals, gx, gy)[..., :3]
    u = gx * np.float32(FINE_STEP) - np.float32(1.1)
    v = gy * np.float32(FINE_STEP) - np.float32(0.1)
    frontal = sheet.normals[rows, columns, 2] < -0.3
    return Unwrapped(left, top, u, v, normals, _cover(places[rows, columns, :2], frontal, width, height))


def _grid_x(u):
    return (u + 1.1) / FINE_STEP


def _grid_y(v):
    return (v + 0.1) / FINE_STEP


def _sampled(grid, gx, gy):
    return cv2.remap(grid, gx, gy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _newton(gx, gy, places, inverse, spacing):
    """Move grid coordinates (x and y of the fine sheet) so that the sheet's points fall on the pixel centres."""
    height, width = gx.shape
    offset = np.float32(spacing / 2 - 0.5)
    at, slopes = _sampled(places, gx, gy), _sampled(inverse, gx, gy)
    dx = np.arange(width, dtype=np.float32) * np.float32(spacing) + offset - at[..., 0]
    dy = np.arange(height, dtype=np.float32)[:, None] * np.float32(spacing) + offset - at[..., 1]
    moved = []
    for axis, plane, last in ((0, gx, places.shape[1] - 1), (1, gy, places.shape[0] - 1)):
        step = slopes[..., 2 * axis] * dx
        step += slopes[..., 2 * axis + 1] * dy
        step = within(step, -3, 3, step)
        step += plane
        moved.append(within(step, 0, last, step))
    return moved


def within(plane, low, high, out=None):
    """``np.clip`` of an array to two numbers, without its ten microseconds of overhead."""
    out = np.maximum(plane, low, out=out)
    return np.minimum(out, high, out=out)


def _inverse_jacobian(x, y):
    """Grid steps per pixel step, rows×columns×4; kept small where the sheet is seen edge-on."""
    xu, xv = cv2.Sobel(x, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(x, cv2.CV_32F, 0, 1, scale=1 / 8)
    yu, yv = cv2.Sobel(y, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(y, cv2.CV_32F, 0, 1, scale=1 / 8)
    det = xu * yv - xv * yu
    size = np.abs(det).ravel()
    floor = 0.05 * np.partition(size, size.size // 2)[size.size // 2] + 1e-9
    scale = det / (det * det + floor * floor)
    return cv2.merge([yv * scale, -xv * scale, -yu * scale, xu * scale])


def _cover(local, frontal, width, height):
    """The share of each pixel inside the sheet's outline: its columns drawn as overlapping strips, wide ones where
    the sheet faces the camera and so can't fold over itself."""
    cover = np.zeros((height, width), np.uint8)
    points = np.rint(local * 16).astype(np.int32)
    last = local.shape[1] - 1
    whole = frontal.all(0)
    j = 0
    while j < last:
        end = j + 4
        while end < last and whole[j : end + 1].all():
            end += 1
        end = min(end, last)
        strip = np.concatenate([points[:, j], points[-1, j + 1 : end], points[::-1, end], points[0, end - 1 : j : -1]])
        cv2.fillPoly(cover, [strip], 255, cv2.LINE_AA, 4)
        j = max(j + 3, end - 1)
    return cover.astype(np.float32) / 255


@functools.cache
def _net_weights():
    """(12·columns)×468: the control net as a smoothing thin-plate spline of the landmarks, built on the mean face."""
    mean = np.load(MEAN_FACE)[:468].astype(np.float64)
    theta = np.degrees(np.arctan2(mean[:, 0], AXIS_Z - mean[:, 2]))
    jaw = np.array(JAW)
    order = np.argsort(-theta[jaw])
    jaw_y = np.interp(-np.abs(theta), -np.abs(theta[jaw])[order[::-1]], mean[jaw, 1][order[::-1]])
    u, v = theta / U_DEGREES, (mean[:, 1] - TOP_Y) / np.maximum(jaw_y - TOP_Y, 0.15)
    use = (v > -0.5) & (v < 1.08) & (np.abs(u) < 1.15)
    sites = np.stack([u[use] * 1.2, v[use]], 1)
    net_u, net_v = np.meshgrid(U, V[:12])
    wanted = np.stack([net_u.ravel() * 1.2, net_v.ravel()], 1)

    def spline(a, b):
        square = ((a[:, None] - b[None]) ** 2).sum(-1)
        return 0.5 * square * np.log(square + 1e-12)

    n = len(sites)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = spline(sites, sites) + 2e-3 * np.eye(n)
    system[:n, n:] = np.column_stack([np.ones(n), sites])
    system[n:, :n] = system[:n, n:].T
    rows = np.column_stack([spline(wanted, sites), np.ones(len(wanted)), wanted])
    weights = np.zeros((len(wanted), 468))
    weights[:, use] = np.linalg.solve(system.T, rows.T).T[:, :n]
    return weights


@functools.cache
def _outward():
    """The direction away from the head's axis in each column of the control net: columns×3."""
    theta = np.radians(U * U_DEGREES)
    return np.stack([np.sin(theta), np.zeros_like(theta), -np.cos(theta)], -1)


@functools.cache
def _below():
    """Where the four rows under the chin lie, relative to the row on the jaw line: 4×columns×3."""
    step = np.array([0.0, 0.030, 0.075]) - np.outer(np.sin(np.radians(U * U_DEGREES)), [0.03, 0, 0])
    return np.arange(1, 5)[:, None, None] * step


@functools.cache
def _nodes():
    """The u and v of the control net's nodes, rows×columns each."""
    return np.meshgrid(U, V)


@functools.cache
def _fine_basis(count):
    """Uniform cubic B-splines of ``count`` nodes, mirrored at both ends, with FINE steps per node."""
    t = np.arange((count - 1) * FINE + 1) / FINE
    basis = np.zeros((len(t), count + 2))
    for row, place in enumerate(t):
        i = min(int(place), count - 2)
        f = place - i
        basis[row, i : i + 4] = [(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3]
    basis /= 6
    full = basis[:, 1:-1].copy()
    full[:, 0] += 2 * basis[:, 0]
    full[:, 1] -= basis[:, 0]
    full[:, -1] += 2 * basis[:, -1]
    full[:, -2] -= basis[:, -1]
    return full
