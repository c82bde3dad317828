"""YuNet gives the same detections in onnxruntime and OpenCV."""

import cv2
import numpy as np
import pytest
from PIL import Image

from maskhub.faces.detect import WEIGHTS
from maskhub.faces.yunet import YuNet, make_yunet

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("size", [(512, 512), (333, 250), (176, 176), (640, 480), (40, 24)])
@pytest.mark.parametrize("threshold", [0.7, 0.02])
def test_the_same_rows_as_opencv(astronaut, size, threshold):
    image = np.ascontiguousarray(np.asarray(astronaut.resize(size))[..., ::-1])
    theirs = cv2.FaceDetectorYN.create(str(WEIGHTS), "", size, threshold, 0.3, 500)
    ours = make_yunet(WEIGHTS, threshold)
    assert isinstance(ours, YuNet)
    (_, wanted), (_, found) = theirs.detect(image), ours.detect(image)
    assert (found is None) == (wanted is None)
    if wanted is not None:
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        assert np.abs(found - wanted).max() < 0.01


def test_nothing_in_nothing():
    assert make_yunet(WEIGHTS, 0.7).detect(np.asarray(Image.new("RGB", (64, 64))))[1] is None


def test_without_onnxruntime_it_is_opencv(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert isinstance(make_yunet(WEIGHTS, 0.7), cv2.FaceDetectorYN)
