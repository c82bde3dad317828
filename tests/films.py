"""Films that tests draw: the example's head under a camera that stands or pans, grainy as from a sensor."""

import cv2
import numpy as np

__all__ = ["EachFrame", "camera_file", "film", "unchanged", "written"]


class EachFrame:
    """Translates each frame alone, by a function of its pixels and its time in seconds."""

    def __init__(self, function):
        self.function = function

    def follow(self, frame, seconds):
        return [], seconds

    def translate(self, frame, tracks, seconds):
        return self.function(frame, seconds)


unchanged = EachFrame(lambda frame, seconds: frame)


def film(photo, count, across=0, noise=2.0, size=(320, 240), seed=0):
    """Frames, uint8 H×W×3: the camera moves ``across`` whole pixels a frame; ``noise`` is the σ of its sensor."""
    width, height = size
    scene = cv2.resize(np.asarray(photo), None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    scene = cv2.copyMakeBorder(scene, 0, 0, 0, 200, cv2.BORDER_REFLECT)
    rng = np.random.default_rng(seed)
    for number in range(count):
        left = 40 + across * number
        frame = scene[:height, left : left + width]
        yield np.clip(np.rint(frame + rng.normal(0, noise, frame.shape)), 0, 255).astype(np.uint8)


def written(
    path,
    frames,
    times=None,
    *,
    rate=25,
    sound=None,
    layout="mono",
    sound_rate=48000,
    codec="libx264",
    kind=None,
    display=None,
    seconds=None,
    shift=0.0,
    pix_fmt="yuv420p",
):
    """Write a film with PyAV.

    Args:
        path: the file, whose suffix names the container where ``kind`` doesn't; or an object to write to.
        frames: uint8 H×W×3 each.
        times: milliseconds of each; by ``rate`` if not given.
        sound: codec of a tone as long as the film, or None.
        layout, sound_rate: of that tone.
        display: its display matrix: arguments of PyAV's ``set_display_rotation``, or ``matrix``, nine integers.
        shift: seconds that the clock begins at.
    """
    from fractions import Fraction

    import av

    frames = list(frames)
    times = [round(1000 * number / rate) for number in range(len(frames))] if times is None else times
    with av.open(path if hasattr(path, "write") else f"file:{path}", "w", format=kind) as out:
        if frames:
            stream = out.add_stream(codec, rate=rate)
            stream.height, stream.width, _ = frames[0].shape
            stream.pix_fmt = pix_fmt
            unit = Fraction(1, rate) if codec.startswith("mpeg") else Fraction(1, 1000)  # MPEG knows no finer ones
            stream.codec_context.time_base = stream.time_base = unit
            if codec == "libx264":
                stream.options = {"crf": "10", "preset": "ultrafast"}
            if display and "matrix" in display:
                stream.set_display_matrix(display["matrix"])
            elif display:
                stream.set_display_rotation(**display)
        length = seconds if seconds is not None else (times[-1] + 1000 / rate) / 1000
        tone = out.add_stream(sound, rate=sound_rate, layout=layout) if sound else None
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round((time / 1000 + shift) / unit), unit
            out.mux(stream.encode(frame))
        if frames:
            out.mux(stream.encode(None))
        if tone:
            samples = np.arange(int(sound_rate * length))
            wave = (np.sin(samples * (2 * np.pi * 440 / sound_rate)) * 0.3).astype(np.float32)
            for start in range(0, len(wave), 1024):
                part = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.time_base = sound_rate, Fraction(1, sound_rate)
                part.pts = start + round(shift * sound_rate)
                out.mux(tone.encode(part))
            out.mux(tone.encode(None))
    return path


def camera_file(path, frames):
    """Frames of one size as the raw film (YUV4MPEG2) that Chromium takes for a camera."""
    frames = list(frames)
    height, width, _ = frames[0].shape
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F15:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path
