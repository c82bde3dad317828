"""Open ONNX files in onnxruntime."""

__all__ = ["open_session"]


def open_session(model, threads=None, weights=()):
    """An ``onnxruntime.InferenceSession`` of a file (path or bytes) on the CPU, with as many threads as OpenCV by
    default.

    ``weights`` are pairs of name and ``OrtValue`` for the file's external weights. Keep them as long as the session.
    """
    import cv2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cv2.getNumThreads()
    options.log_severity_level = 3
    # threads that wait by spinning would take the cores from other work
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if weights:
        options.add_external_initializers(*map(list, zip(*weights, strict=True)))
    model = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
