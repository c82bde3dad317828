"""Encoders see the aligned face and give unit vectors; what is missing is one clear line."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maskhub.errors import CheckpointError, ConfigError, NoFaceError
from maskhub.evaluation import encoders
from maskhub.evaluation.embeddings import EmbeddingCache
from maskhub.evaluation.encoders import ARCFACE_POINTS, arcface_alignment, encoder
from maskhub.evaluation.trained_against import refuse_trained_against, trained_against
from maskhub.faces.detect import detect
from maskhub.faces.face import Face


@pytest.fixture(scope="module")
def photo(astronaut):
    return np.asarray(astronaut)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with seeded, untrained weights in the published files' shapes."""
    from safetensors.torch import save_file

    from maskhub.models.mobilefacenet import MobileFaceNet
    from maskhub.models.vgg import VGG

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_file(MobileFaceNet().state_dict(), folder / "mobilefacenet.safetensors")
    with torch.device("meta"):  # torch's own initial weights take longer than all else here
        vgg = VGG(19).state_dict()
    vgg = {name: torch.empty(tensor.shape, dtype=torch.half).uniform_(-0.02, 0.02) for name, tensor in vgg.items()}
    save_file(vgg, folder / "vgg19_normalized.safetensors")
    return folder


def test_arcface_alignment_undoes_a_similarity():
    angle, scale = np.radians(25), 2.5
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (ARCFACE_POINTS @ turn.T + (40, -7)).astype(np.float32)
    matrix = arcface_alignment(Face((0, 0, 1, 1), points, 1.0))
    assert cv2.transform(points[None].astype(np.float64), matrix)[0] == pytest.approx(ARCFACE_POINTS, abs=1e-4)
    # least squares: no other similarity brings points that don't fit any nearer
    rough = points + np.random.default_rng(0).normal(0, 3, points.shape).astype(np.float32)
    matrix = arcface_alignment(Face((0, 0, 1, 1), rough, 1.0))
    miss = lambda m: np.square(cv2.transform(rough[None].astype(np.float64), m)[0] - ARCFACE_POINTS).sum()  # noqa: E731
    for a, b, x, y in np.random.default_rng(1).normal(0, 1e-3, (20, 4)) * (1, 1, 50, 50):
        assert miss(matrix) <= miss(np.add(matrix, [[a, -b, x], [b, a, y]]))


def test_mobilefacenet_is_fed_bgr_on_its_own_scale(photo, weights):
    encode = encoder("mobilefacenet", str(weights))
    (face,) = detect(photo)
    crop = encode.crop(photo, face)
    assert crop.shape == (112, 112, 3)
    bgr = torch.from_numpy(crop[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    expected = encode.network((bgr - 127.5) / 128)[0].detach().numpy()
    vector = encode.embed(photo, face)
    assert vector.dtype == np.float32 and vector == pytest.approx(expected, abs=1e-5)
    assert encode.embed(photo) == pytest.approx(vector, abs=1e-6)


@pytest.mark.parametrize("name, dimensions, is_face_network", [("mobilefacenet", 512, True), ("vgg19", 512, False)])
def test_vectors_have_length_one_and_crops_follow_the_face(photo, weights, name, dimensions, is_face_network):
    encode = encoder(name, str(weights))
    assert encode.face_network is is_face_network and encode.dimensions == dimensions
    (face,) = detect(photo)
    turn = cv2.getRotationMatrix2D((255.5, 255.5), 12, 1.0)
    left, top, width, height = face.box
    x, y = turn @ (left + width / 2, top + height / 2, 1)
    points = cv2.transform(face.points[None].astype(np.float64), turn)[0].astype(np.float32)
    faces = [face, Face((x - width / 2, y - height / 2, width, height), points, 1.0)]
    photos = [photo, cv2.warpAffine(photo, turn, (512, 512), flags=cv2.INTER_CUBIC)]
    vectors = encode.embed_many(photos, faces)
    assert vectors.shape == (2, dimensions) and np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    crops = [encode.crop(*seen).astype(int) for seen in zip(photos, faces, strict=True)]
    assert np.abs(crops[0] - crops[1]).mean() < 8


def test_dlib_knows_a_face_again(photo):
    pytest.importorskip("dlib")
    pytest.importorskip("face_recognition_models")
    encode = encoder("dlib")
    smaller = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    turned = np.asarray(Image.fromarray(photo).rotate(35, Image.Resampling.BICUBIC))
    vectors = encode.embed_many([photo, smaller, turned])
    assert vectors.shape == (3, 128) and min(vectors[0] @ vectors[1], vectors[0] @ vectors[2]) > 0.97


def test_a_missing_dlib_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dlib", None)
    with pytest.raises(CheckpointError, match=r"dlib is missing.*pip install 'maskhub\[eval\]'"):
        encoders.dlib_and_models()


def test_missing_weights_unknown_names_and_no_face(monkeypatch, tmp_path, weights):
    monkeypatch.delenv("MASKHUB_WEIGHTS", raising=False)
    with pytest.raises(CheckpointError, match=r"mobilefacenet\.safetensors are not in"):
        encoder("mobilefacenet", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"vgg19_normalized\.safetensors are missing"):
        encoder("vgg19")
    with pytest.raises(ConfigError, match="no face encoder 'facenet': choose vgg19, mobilefacenet, dlib, inception"):
        encoder("facenet")
    with pytest.raises(NoFaceError, match="no face was found"):
        encoder("mobilefacenet", str(weights)).embed(np.full((64, 64, 3), 127, np.uint8))


def test_vectors_are_kept_by_photo_face_and_weights(photo, weights, tmp_path):
    class Counting(encoders.Encoder):
        name, dimensions = "counting", 3

        def __init__(self):
            self.runs = 0

        def crop(self, pixels, face):
            return pixels[:8, :8]

        def encode(self, crops):
            self.runs += len(crops)
            return np.stack([crop.mean((0, 1)) for crop in crops])

    encode, faces = Counting(), detect(photo)
    for _ in range(2):
        cache = EmbeddingCache(tmp_path / "vectors.sqlite")
        found = cache.embed_many(encode, [photo, photo[::-1]], faces * 2)
        cache.close()
    assert encode.runs == 2 and found == pytest.approx(encode.embed_many([photo, photo[::-1]], faces * 2))
    encode.weights = weights / "mobilefacenet.safetensors"
    EmbeddingCache(tmp_path / "vectors.sqlite").embed_many(encode, [photo], faces)
    assert encode.runs == 5
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="encoded again each time"):
        EmbeddingCache(tmp_path / "file" / "vectors.sqlite").embed_many(encode, [photo], faces)


@pytest.mark.parametrize(
    "card, config, found",
    [
        ("Loss: L1 + 0.1 × MobileFaceNet cosine", {}, {"mobilefacenet"}),
        ("| `lambda_identity_network` | `dlib` |", {}, {"dlib"}),
        ("---\ntrained_against: [vgg19, other]\n---\n# model", {}, {"vgg19"}),
        ("# model", {"trained_against": "mobilefacenet"}, {"mobilefacenet"}),
        ("## Measured\n| identity by mobilefacenet | 0.5 |\n## Limits\nnone", {}, set()),
        ("Verified with dlib. Loss: L1, LPIPS of vgg16.", {}, {"dlib"}),
        ("The perceptual loss looks at VGG16.", {}, set()),
    ],
)
def test_encoders_that_a_model_was_trained_against(tmp_path, card, config, found):
    import json

    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    (tmp_path / "unmasker").mkdir()
    (tmp_path / "unmasker" / "config.json").write_text(json.dumps(config))
    names = ["vgg19", "mobilefacenet", "dlib"]
    assert trained_against(tmp_path, names) == found
    if found:
        with pytest.raises(ConfigError, match=f"trained against {found.pop()}, as its card says.*--encoders"):
            refuse_trained_against(tmp_path, names)


def test_the_bundled_model_names_an_encoder_that_measures_it():
    with pytest.raises(ConfigError, match=r"trained against mobilefacenet.* as in --encoder dlib\.$"):
        refuse_trained_against(None, ["mobilefacenet"], "--encoder")
