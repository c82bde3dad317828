"""Fit a mask to a face: a sheet of fabric draped over its landmarks, and the sheet's unwrapping in the photo.

The sheet has two coordinates. ``u`` runs around the head: -1 before the person's right ear, 0 on the nose, 1 before
the left ear. ``v`` runs down it: 0 at the height of the eyes, 1 on the jaw line, above 1 under the chin. The same
(u, v) is the same place on every face, so a mask drawn in (u, v) fits all of them. The head's axes: x to the picture's
right on a level frontal face, y down, z away from the camera. The unit is the face's width from ear to ear.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

__all__ = ["FINE_STEP", "Head", "Sheet", "Unwrapped", "drape", "sheet_of", "unwrap"]

MEAN_FACE = Path(__file__).parents[1] / "faces" / "weights" / "mean_face.npy"
AXIS_Z = 0.1
"""Depth of the vertical axis around which ``u`` turns."""
U_DEGREES = 80.0
TOP_Y = -0.10
"""Height of v = 0."""
JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
U = np.linspace(-1.1, 1.1, 23)
V = np.concatenate([np.linspace(-0.1, 1.0, 12), [1.1, 1.2, 1.3, 1.4]])
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
    step = np.array([0.0, 0.030, 0.075]) - np.outer(np.sin(np.radians(U * U_DEGREES)), [0.03, 0, 0])
    below = net[-1] + np.arange(1, 5)[:, None, None] * step
    net = np.concatenate([net, below])
    out = _outward()
    axis = np.array([0, 0, AXIS_Z])
    skin = ((net - axis) * out).sum(-1) + gap
    reach = skin.copy()
    inner, inner_out = (slice(2, 12), slice(2, -2)), out[2:12, 2:-2]
    inner_skin, plain = skin[inner], ((net - axis) * out).sum(-1)
    count = len(U)
    for step in range(tension):
        net += (reach - plain)[..., None] * out
        plain = reach.copy()
        # distant neighbours first: they spread the tension in few steps
        far = 2 if step < tension // 2 else 1
        mean = net[2 - far : 12 - far, 2:-2] + net[2 + far : 12 + far, 2:-2]
        mean += net[2:12, 2 - far : count - 2 - far] + net[2:12, 2 + far : count - 2 + far]
        pulled = np.einsum("ijk,ijk->ij", mean * 0.25 - axis, inner_out)
        reach[inner] = np.maximum(inner_skin, pulled)
    if bulge is not None:
        reach = reach + bulge(*np.meshgrid(U, V))
    net += (reach - plain)[..., None] * out
    rows, columns = _fine_basis(len(V)), _fine_basis(len(U))
    points = np.tensordot(rows, net, 1)
    return sheet_of(np.matmul(columns, points), head)


def sheet_of(points, head):
    """The :class:`Sheet` of points in the head's axes, rows×columns×3."""
    xyz = head.to_photo(points).astype(np.float32)
    across = cv2.Sobel(xyz, cv2.CV_32F, 1, 0, ksize=1)
    down = cv2.Sobel(xyz, cv2.CV_32F, 0, 1, ksize=1)
    ax, ay, az = cv2.split(down)
    bx, by, bz = cv2.split(across)
    normals = cv2.merge([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    length = np.sqrt(np.einsum("ijk,ijk->ij", normals, normals))
    normals /= length[..., None] + 1e-9
    return Sheet(xyz, normals, points.astype(np.float32))


def unwrap(sheet, u_range, v_range, size):
    """The :class:`Unwrapped` part of a sheet: the (u, v) that each pixel of a photo of this size (width, height) shows;
    None if no part lies within the photo.

    The sheet's points are sorted into coarse cells, those nearest to the camera last. Newton's method then refines the
    coordinates at full resolution.
    """
    rows = slice(max(int(_grid_y(v_range[0])), 0), int(np.ceil(_grid_y(v_range[1]))) + 1)
    columns = slice(max(int(_grid_x(u_range[0])), 0), int(np.ceil(_grid_x(u_range[1]))) + 1)
    part, facing = sheet.xyz[rows, columns], sheet.normals[rows, columns, 2] < 0.02
    if not facing.any():
        return None
    x0, y0 = np.floor(part[..., :2].min((0, 1))).astype(int) - 2
    x1, y1 = np.ceil(part[..., :2].max((0, 1))).astype(int) + 3
    left, top = max(int(x0), 0), max(int(y0), 0)
    width, height = min(int(x1), size[0]) - left, min(int(y1), size[1]) - top
    if width < 2 or height < 2:
        return None
    local = sheet.xyz[..., :2] - np.float32([left, top])

    coarse = max(width, height) / 44
    grid_size = int(np.ceil(width / coarse)), int(np.ceil(height / coarse))
    near_last = np.argsort(-part[..., 2][facing])
    cells = (local[rows, columns][facing][near_last] / coarse).astype(np.int32)
    inside = ((cells >= 0) & (cells < grid_size)).all(1)
    row, column = np.nonzero(facing)
    found = np.full((grid_size[1], grid_size[0]), -1, np.int32)
    flat = (row + rows.start) * sheet.xyz.shape[1] + column + columns.start
    found[cells[inside, 1], cells[inside, 0]] = flat[near_last][inside]
    if not inside.any():
        return None
    empty = (found < 0).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    by_label = np.zeros(labels.max() + 1, np.int32)
    by_label[labels[empty == 0]] = found[empty == 0]
    start = by_label[labels]
    grid = np.stack([start % sheet.xyz.shape[1], start // sheet.xyz.shape[1]], -1).astype(np.float32)

    inverse = _inverse_jacobian(local)
    grid = _newton(grid, local, inverse, coarse, 2)
    grid = cv2.blur(grid, (3, 3), borderType=cv2.BORDER_REPLICATE)
    grid = _enlarged(grid, coarse, (width, height))
    grid = _newton(grid, local, inverse, 1.0, 1)
    gx, gy = np.ascontiguousarray(grid[..., 0]), np.ascontiguousarray(grid[..., 1])
    normals = cv2.remap(sheet.normals, gx, gy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    u = gx * np.float32(FINE_STEP) - np.float32(1.1)
    v = gy * np.float32(FINE_STEP) - np.float32(0.1)
    return Unwrapped(left, top, u, v, normals, _cover(local[rows, columns], width, height))


def _grid_x(u):
    return (u + 1.1) / FINE_STEP


def _grid_y(v):
    return (v + 0.1) / FINE_STEP


def _newton(grid, local, inverse, spacing, steps):
    """Move grid coordinates (x, y of the fine sheet) so that the sheet's points fall on the pixel centres."""
    height, width = grid.shape[:2]
    offset = np.float32(spacing / 2 - 0.5)
    xs = np.arange(width, dtype=np.float32) * np.float32(spacing) + offset
    ys = np.arange(height, dtype=np.float32)[:, None] * np.float32(spacing) + offset
    limit = np.float32([local.shape[1] - 1, local.shape[0] - 1])
    for _ in range(steps):
        # remap rounds its coordinates to 1/32: start each step from the position it samples
        gx, gy = cv2.split(np.rint(grid * np.float32(32)) * np.float32(1 / 32))
        at = cv2.remap(local, gx, gy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inv = cv2.remap(inverse, gx, gy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        dx, dy = xs - at[..., 0], ys - at[..., 1]
        gx += np.clip(inv[..., 0] * dx + inv[..., 1] * dy, -3, 3)
        gy += np.clip(inv[..., 2] * dx + inv[..., 3] * dy, -3, 3)
        grid = cv2.merge([np.clip(gx, 0, limit[0]), np.clip(gy, 0, limit[1])])
    return grid


def _inverse_jacobian(local):
    """Grid steps per pixel step, rows×columns×4; kept small where the sheet is seen edge-on."""
    x, y = cv2.split(local)
    xu, xv = cv2.Sobel(x, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(x, cv2.CV_32F, 0, 1, scale=1 / 8)
    yu, yv = cv2.Sobel(y, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(y, cv2.CV_32F, 0, 1, scale=1 / 8)
    det = xu * yv - xv * yu
    floor = 0.05 * np.median(np.abs(det)) + 1e-9
    scale = det / (det * det + floor * floor)
    return cv2.merge([yv * scale, -xv * scale, -yu * scale, xu * scale])


def _enlarged(grid, spacing, size):
    matrix = np.float64([[1 / spacing, 0, 0.5 / spacing - 0.5], [0, 1 / spacing, 0.5 / spacing - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(grid, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _cover(local, width, height):
    """The share of each pixel inside the sheet's outline: its columns drawn as overlapping strips."""
    cover = np.zeros((height, width), np.uint8)
    points = np.rint(local * 16).astype(np.int32)
    last = local.shape[1] - 1
    for j in range(0, last, 3):
        strip = np.concatenate([points[:, j], points[::-1, min(j + 4, last)]])
        cv2.fillPoly(cover, [strip], 255, cv2.LINE_AA, 4)
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
    """Each node's direction away from the head's axis: 16×columns×3."""
    theta = np.radians(U * U_DEGREES)
    out = np.stack([np.sin(theta), np.zeros_like(theta), -np.cos(theta)], -1)
    return np.broadcast_to(out, (len(V), *out.shape)).copy()


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
