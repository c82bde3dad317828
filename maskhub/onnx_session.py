"""Open ONNX files in onnxruntime, and limit the threads of one operation."""

import os
import sys
from contextlib import contextmanager

__all__ = ["limited_threads", "open_session"]

# otherwise onnxruntime, when it is imported, opens a database in ~/.cache, and reports to Microsoft what it is used for
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def open_session(model, threads=None, weights=(), narrow=False):
    """An ``onnxruntime.InferenceSession`` of a file (path or bytes) on the CPU, with as many threads as OpenCV by
    default.

    ``weights`` are pairs of name and ``OrtValue`` for the file's external weights. Keep them as long as the session.
    ``narrow`` says that the file's 8-bit weights are so small that nothing overflows on processors without VNNI. Other
    files are computed without overflow too, but the convolutions take 1.4 times as long there.
    """
    import cv2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cv2.getNumThreads()
    options.log_severity_level = 4  # errors are raised: they need not also be printed
    # threads that wait by spinning would take the cores from other work
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # AVX2 without VNNI adds products of 8 bits in 16, where they overflow; signed weights become unsigned there
    if not narrow:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if weights:
        options.add_external_initializers(*map(list, zip(*weights, strict=True)))
    model = model if isinstance(model, bytes) else str(model)
    # by default it would print some errors to stdout, and try the same once more
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=False)


@contextmanager
def limited_threads(number):
    """In this block OpenCV, torch (if it is imported) and the sessions that are opened compute one operation in this
    many threads: 1 where several pictures are worked on at a time, which is faster than several threads for each."""
    import cv2

    libraries = [(cv2.setNumThreads, cv2.getNumThreads())]
    if torch := sys.modules.get("torch"):
        libraries.append((torch.set_num_threads, torch.get_num_threads()))
    try:
        for limit, _ in libraries:
            limit(number)
        yield
    finally:
        for limit, before in libraries:
            limit(before)
