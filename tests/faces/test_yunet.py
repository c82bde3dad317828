"""YuNet gives the same detections in onnxruntime as the published file does in OpenCV."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from maskhub.faces.yunet import WEIGHTS, YuNet

PUBLISHED = Path(__file__).parents[2] / "web" / "face_detection_yunet_2023mar.onnx"


@pytest.mark.parametrize("size", [(512, 512), (333, 250), (176, 176), (640, 480), (40, 24)])
@pytest.mark.parametrize("threshold", [0.7, 0.02])
def test_the_same_rows_as_opencv(astronaut, size, threshold):
    image, margin = np.asarray(astronaut.resize(size)), (size[0] // 8, size[1] // 5)
    padded = np.pad(image[..., ::-1], [(margin[1],) * 2, (margin[0],) * 2, (0, 0)], "edge")
    theirs = cv2.FaceDetectorYN.create(str(PUBLISHED), "", padded.shape[1::-1], threshold, 0.3, 500)
    (_, wanted), found = theirs.detect(padded), YuNet(WEIGHTS, threshold).detect(image, margin)
    assert bool(len(found)) == (wanted is not None)
    if wanted is not None:
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        assert np.abs(found - wanted).max() < 0.01


def test_nothing_in_nothing():
    assert YuNet(WEIGHTS, 0.7).detect(np.asarray(Image.new("RGB", (64, 64)))).shape == (0, 15)
