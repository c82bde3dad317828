"""A hand in front of the face: a mesh that is posed, drawn in the face's own skin colour, with a forearm and a sleeve.

The mesh is the generic hand of the WebXR input profiles (MIT, ``maskhub/weights/hand/README.md``).
"""

import functools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from safetensors import safe_open

from maskhub.masks.lighting import to_linear
from maskhub.masks.solid import Part, Surface, draw, grid, mixed, rasterized, tube, turned

__all__ = ["draw_hand", "gripping_hand"]

FILE = Path(__file__).parents[1] / "weights" / "hand" / "hand.safetensors"
METRE = 1 / 0.146
"""Face widths per metre."""
FINGERS = ("index-finger", "middle-finger", "ring-finger", "pinky-finger")
TEXELS = 512
SHEEN = 0.05
"""White that skin reflects besides its own colour, measured between the cheeks and the median of eight faces."""
PHALANXES = ("proximal", "intermediate", "distal")

POSES = {
    # bends in degrees of the fingers' three joints, of the thumb's, and how far the fingers spread; the turn of the
    # hand (in the picture, aside, up); where the middle of its knuckles lies on the face, in widths
    "mouth": ((22, 22, 14), (15, 15, 15), 0, (-62, 0, 8), (0.06, 0.33)),
    "cheek": ((18, 30, 20), (5, 10, 10), 3, (-18, 12, 6), (0.40, 0.34)),
    "chin": ((55, 75, 40), (20, 25, 30), 0, (-22, 10, 12), (0.16, 0.56)),
    "eyes": ((12, 16, 10), (10, 10, 10), 2, (-64, 0, 5), (0.02, -0.06)),
    "half": ((14, 18, 12), (8, 10, 10), 3, (-14, 6, 4), (0.20, 0.12)),
}
"""All are of a right hand that comes from the picture's right, its back to the camera."""


def draw_hand(head, lighting, colour, rng, size):
    """Draw a hand as :class:`~maskhub.masks.solid.Drawn`; ``colour`` is the sleeve's, 3 in [0, 1], or None for a bare
    arm."""
    name = tuple(POSES)[int(rng.random() * len(POSES))]
    bends, thumb, spread, turn, place = POSES[name]
    scale = METRE * rng.uniform(0.94, 1.08)
    loose = rng.uniform(0.6, 1.35)
    bends = [np.array(bends) * loose * (1 + 0.10 * rng.normal()) for _ in FINGERS]
    hand = Hand(bends, np.array(thumb) * loose, spread + rng.uniform(-1, 3))
    rotation = turned(turn[2] + 5 * rng.normal(), turn[1] + 6 * rng.normal(), turn[0] + 8 * rng.normal())
    mirror = rng.random() < 0.5
    place = np.array([*place, -0.45]) + np.array([0.03 * rng.normal(), 0.03 * rng.normal(), 0])
    parts = hand.parts(hand.knuckles, rotation, scale, place, mirror, lighting, colour, rng)
    return draw(parts, head, lighting, size)


def gripping_hand(lighting, colour, rng, place, rotation, mirror):
    """The :class:`~maskhub.masks.solid.Part` s of a fist around a rod, whose middle is at ``place`` (head's axes)."""
    bends = [np.array([62, 88, 42]) * (1 + 0.04 * rng.normal()) for _ in FINGERS]
    hand = Hand(bends, np.array([30, 35, 35]), 0)
    turn = rotation @ turned(y=200, z=-88)
    return hand.parts(hand.grip, turn, METRE * 0.95, np.asarray(place), mirror, lighting, colour, rng)


class Hand:
    """The hand with bent joints, in metres: x across (the thumb on the left), fingers towards -y, its back to -z.

    Args:
        bends: for each of the four fingers the bends of its three joints in degrees, towards the palm.
        thumb: the bends of the thumb's three joints.
        spread: degrees between neighbouring fingers beyond the resting pose.
    """

    def __init__(self, bends, thumb, spread):
        mesh = _mesh()
        self._mesh = mesh
        places, rotations = mesh["rest_place"].copy(), mesh["rest_rotation"].copy()
        for number, (finger, bend) in enumerate(zip(FINGERS, bends, strict=True)):
            chain = [f"{finger}-phalanx-{phalanx}" for phalanx in PHALANXES]
            self._bend(places, rotations, [*chain, f"{finger}-tip"], bend, (number - 1) * spread)
        chain = ["thumb-metacarpal", "thumb-phalanx-proximal", "thumb-phalanx-distal", "thumb-tip"]
        self._bend(places, rotations, chain, thumb, 0)
        change = np.einsum("nij,nkj->nik", rotations, mesh["rest_rotation"])
        moved = (
            np.einsum("nij,pj->pni", change, mesh["points"])
            - np.einsum("nij,nj->ni", change, mesh["rest_place"])
            + places
        )
        own = np.zeros((len(mesh["points"]), len(places)))
        np.add.at(own, (np.arange(len(own))[:, None], mesh["joints"]), mesh["weights"])  # a joint may come twice
        self.points = np.einsum("pn,pni->pi", own, moved)
        turned_normals = np.einsum("nij,pj->pni", change, mesh["normals"])
        self.normals = np.einsum("pn,pni->pi", own, turned_normals)
        at = dict(zip(mesh["names"], places, strict=True))
        self.wrist = at["wrist"]
        self.knuckles = np.mean([at[f"{finger}-phalanx-proximal"] for finger in FINGERS], 0)
        middle = [at[f"{finger}-phalanx-intermediate"] for finger in FINGERS[:3]]
        self.grip = (np.mean(middle, 0) + self.knuckles * 2) / 3 + [0, 0, 0.022]

    def _bend(self, places, rotations, chain, bends, aside):
        names = self._mesh["names"]
        for step, (joint, bend) in enumerate(zip(chain, bends, strict=False)):
            number = names.index(joint)
            own = rotations[number] @ turned(x=-bend) @ rotations[number].T
            if step == 0 and aside:
                own = rotations[number] @ turned(y=-aside) @ rotations[number].T @ own
            origin = places[number].copy()
            for other in (names.index(later) for later in chain[step:]):
                places[other] = own @ (places[other] - origin) + origin
                rotations[other] = own @ rotations[other]

    def parts(self, origin, rotation, scale, place, mirror, lighting, colour, rng):
        """The :class:`~maskhub.masks.solid.Part` s of the hand, its arm and its sleeve in the head's axes.

        Args:
            origin: the point of the hand, in metres, that is put at ``place``, in the head's axes.
            rotation, scale: of the hand; ``mirror``: make it a left hand, on the other side.
            lighting: of the face, whose skin colour the hand has.
            colour: the sleeve's, 3 in [0, 1], or None for a bare arm.
            rng: ``numpy.random.Generator``.
        """
        skin = to_linear(lighting.skin[None])[0] / np.maximum(lighting.exposure, 1e-3) * rng.uniform(0.93, 1.08)
        surface = Surface(self.points, self.normals, self._mesh["triangles"], self._mesh["uv"])
        rim = self._mesh["rim"]
        root = self.points[rim].mean(0)
        shoulder = (SHOULDER - place) @ rotation / scale + origin
        down = shoulder - root
        way = turned(z=9 * rng.normal()) @ [0.0, 1.0, 0.0] + 0.5 * down / np.linalg.norm(down)  # the wrist bends
        way /= np.linalg.norm(way)
        out = self.points[rim] - root
        out -= np.outer(out @ way, way)
        along = np.array([-0.010, -0.003, 0.012, 0.05, 0.12, 0.2])[:, None, None]
        wider = np.array([0.985, 1.012, 1.02, 1.10, 1.3, 1.45])[:, None, None]
        rings = root + (self.points[rim] - root) * wider + along * way
        normals = np.broadcast_to(out / np.linalg.norm(out, axis=1, keepdims=True), rings.shape)
        arm = grid(rings, normals, np.broadcast_to(along, (*rings.shape[:2], 1)))
        path, length = _arm_path(root, way, shoulder)
        radius = np.interp(length, [0, 0.05, 0.12, 0.2, 0.3], [0.028, 0.031, 0.037, 0.041, 0.046])
        upper = tube(path[10:], radius[10:], 0.8, 20)
        looks = [(surface, skin, _skin), (arm, skin, _bare), (upper, skin, _bare)]
        if colour is not None:
            first = int(rng.integers(1, 6))
            away = length[first:] - length[first]
            cuff = np.interp(away, [0, 0.001, 0.018, 0.022, 0.1], [0.004, 0.0085, 0.0085, 0.0065, 0.013])
            sleeve = tube(path[first:], radius[first:] + cuff, 0.85, 24)
            sleeve = replace(sleeve, places=np.column_stack([np.repeat(away, 25), sleeve.places]))
            looks.append((sleeve, to_linear(colour * 255), functools.partial(_sleeve, rng.uniform(0, 6, 2).tolist())))
        flip = np.array([-1.0 if mirror else 1.0, 1.0, 1.0])
        parts = []
        for one, albedo, finish in looks:
            one = replace(one, points=one.points - origin).moved(rotation, place, scale)
            one = replace(one, points=one.points * flip, normals=one.normals * flip)
            parts.append(Part(one, albedo, finish, gloss=4))
        return parts


SHOULDER = np.array([1.25, 1.75, 0.35])
"""In the head's axes, of a person who faces the camera."""


def _arm_path(root, way, shoulder):
    """Points from the wrist over the elbow to the shoulder, and their distances from the wrist."""
    forearm = root + np.linspace(0.012, 0.20, 14)[:, None] * way
    t = np.linspace(0, 1, 14)[1:, None]
    elbow = root + 0.27 * way
    bent = (1 - t) ** 2 * forearm[-1] + 2 * t * (1 - t) * elbow + t**2 * shoulder
    path = np.concatenate([forearm, bent])
    return path, np.append(0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1)))


def _skin(places, normals):
    at = np.clip((places * TEXELS).astype(int), 0, TEXELS - 1)
    texture = _texture()[at[:, 1], at[:, 0]]
    return texture[:, :3], 0.0, texture[:, 3]


@functools.cache
def _texture():
    """TEXELS×TEXELS×4: the skin's colour as a factor, and its shine, on the mesh's unwrapping."""
    mesh = _mesh()
    flat = np.column_stack([mesh["uv"] * TEXELS, 0 * mesh["uv"][:, :1]]).astype(np.float32)
    use = np.ones(len(mesh["triangles"]), bool)
    rows, columns, which, weights = rasterized(flat, mesh["triangles"], use, (TEXELS, TEXELS))
    rest = mixed(mesh["points"].astype(np.float32), mesh["triangles"][which], weights)
    texture = np.full((TEXELS, TEXELS, 4), (1, 1, 1, SHEEN), np.float32)
    texture[rows, columns] = np.column_stack(_details(rest))
    return texture


def _details(rest):
    """Nails, knuckles, and the unevenness of skin, by the place on the resting hand, P×3: a factor of the colour, P×3,
    and the shine, P."""
    factor = np.ones((len(rest), 3))
    x, y, z = (rest * 1000).T
    for step in (0.09, 0.17, 0.31):  # a few waves in different directions look like chance
        factor *= (1 + 0.014 * np.sin(step * (1.3 * x + 0.9 * y - z) + 5 * np.sin(step * (0.7 * y - x + z))))[:, None]
    shine = np.full(len(rest), SHEEN)
    mesh = _mesh()
    red, nail = np.array([0.0, -0.085, -0.075]), np.array([1.14, 1.0, 0.98])
    for joint, place, rotation in zip(mesh["names"], mesh["rest_place"], mesh["rest_rotation"], strict=True):
        local = (rest - place) @ rotation
        near = (np.abs(local) < 0.02).all(1)
        if not near.any():
            continue
        x, y, z = local[near].T
        back = y > 0.0035
        if joint.endswith("tip"):
            wide = 0.0072 if joint.startswith("thumb") else 0.0060
            away = np.sqrt((x / wide) ** 2 + ((z + 0.0005) / 0.0078) ** 2)
            inside = np.clip((1 - away) * 8, 0, 1) * back
            rim = np.clip(1 - np.abs(away - 1.03) * 7, 0, 1) * back
            free = np.clip((-0.0052 - z) * 900, 0, 1) * inside
            factor[near] *= 1 + 0.5 * red * np.clip(1 - np.hypot(x, z) / 0.014, 0, 1)[:, None]
            factor[near] *= 1 + (nail - 1) * inside[:, None] - 0.30 * rim[:, None] + 0.25 * free[:, None]
            shine[near] += 0.12 * inside
        elif "intermediate" in joint or joint.endswith("distal"):
            close = np.exp(-((z / 0.0065) ** 2)) * back
            lines = np.clip(np.cos(z * 2 * np.pi / 0.0042 + 1.5 * np.sin(x * 500)) - 0.45, 0, 1) * close
            factor[near] *= 1 + (red * close[:, None]) - 0.20 * lines[:, None]
        elif "proximal" in joint:
            factor[near] *= 1 + 0.8 * red * (np.exp(-((x**2 + z**2) / 0.008**2)) * back)[:, None]
    return factor, shine


def _bare(places, normals):
    return 1 + 0.02 * np.sin(places[:, 0] * 30), 0.0, SHEEN


def _sleeve(folds, places, normals):
    """A cuff with a seam, and folds across the sleeve; the first place is metres from the cuff."""
    away, _, turn = places.T
    wave = away * 130 + 1.6 * np.sin(turn * 4 * np.pi + folds[0]) + np.sin(turn * 2 * np.pi + folds[1])
    deep = np.clip((away - 0.02) * 25, 0, 1)
    bump = np.cos(wave)[:, None] * deep[:, None] * np.float32([0.0, 0.16, 0.0])
    return 1 - 0.05 * deep * (1 + np.sin(wave)) - 0.25 * np.exp(-(((away - 0.020) / 0.002) ** 2)), bump, 0.0


@functools.cache
def _mesh():
    with safe_open(FILE, "numpy") as file:
        mesh = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        names = file.metadata()["joints"].split(",")
    mesh = {key: value.astype(np.float64) if value.dtype == np.float32 else value for key, value in mesh.items()}
    points, triangles = mesh["points"], mesh["triangles"].astype(np.int64)
    end = np.flatnonzero(points[:, 1] > 0.062)
    around = end[cv2.convexHull(points[end][:, [0, 2]].astype(np.float32), returnPoints=False)[:, 0]]
    # the forearm goes on from here: leave out the mesh's own end, and turn its normals aside
    triangles = triangles[points[triangles, 1].min(1) < 0.064]
    mesh["normals"][points[:, 1] > 0.05, 1] = 0
    mesh["normals"] /= np.linalg.norm(mesh["normals"], axis=1, keepdims=True) + 1e-9
    return mesh | {"names": names, "triangles": triangles, "rim": np.append(around, around[0])}
