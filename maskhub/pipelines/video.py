"""Films from file to file: every frame translated, sound and times kept.

    work = Film("clip.mp4", "out.mp4", FrameTranslator(pipe, "unmask"), tag=pipe.provenance("unmask"))
    for done in work:                          # frames done so far, of about work.total
        ...
    work.report                                # what became of it

Frames are read, translated and written one by one, so a film of any length takes the memory of a few. Each keeps its
time, constant frame rate or not; a film that a phone recorded lying is turned upright; sound is copied as it is where
the new container can hold it, else encoded anew. Titles, places and all other tags of the source are left out, and so
are subtitles. The film is written aside and renamed at the end: whoever stops half-way leaves nothing.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc

from maskhub.errors import ConfigError, VideoError, first_line
from maskhub.files import written_file
from maskhub.film_file import film_url, open_film
from maskhub.pipelines.film_reading import EXACT, UprightFrames, film_facts, moving_pictures, packets
from maskhub.pipelines.film_sound import Sound

__all__ = ["VIDEO_SUFFIXES", "WRITTEN", "Film", "FilmReport", "is_video"]

WRITTEN = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".m4v": ("mp4", "libx264", "aac"),
    ".mov": ("mov", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".webm": ("webm", "libvpx-vp9", "libopus"),
}
"""Suffixes that can be written: container, codec of the pictures, and of sound that can't be copied."""
VIDEO_SUFFIXES = frozenset({*WRITTEN, ".3gp", ".avi", ".flv", ".mpeg", ".mpg", ".mts", ".ts", ".wmv"})
"""Suffixes that are taken for films; what can be read is up to FFmpeg."""
OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "18"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "6", "crf": "24", "b": "0", "row-mt": "1"},
}
LIMITED, BT709, SPACES = 1, 1, (1, 5, 6)
"""FFmpeg's numbers for colours from 16 to 235, for BT.709, and for it and the two kinds of BT.601."""


def is_video(path):
    """Whether a path is named as a film."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


@dataclass
class FilmReport:
    """What became of a film.

    Attributes:
        frames: written. with_faces: of these, how many show a face that was followed.
        damaged: packets that could not be read and were left out.
        sound: ``"none"``, ``"copied"`` or ``"encoded anew"``.
        width, height: of the written frames; even, so an odd side has grown by one pixel.
    """

    frames: int = 0
    with_faces: int = 0
    damaged: int = 0
    sound: str = "none"
    width: int = 0
    height: int = 0


class Film:
    """The translation of one film; iterate over it to do it.

    Args:
        source: the file to read.
        target: the file to write; one of :data:`WRITTEN`.
        translator: a :class:`~maskhub.pipelines.live.FrameTranslator`, or anything that is called with a frame (uint8
            RGB, H×W×3) and its time in seconds and answers with a frame as large.
        tag: a :class:`~maskhub.provenance.Provenance` for the container's metadata, or None.

    Attributes:
        total: about how many frames there are; 0 where unknown.
        report: :class:`FilmReport`, complete once the iteration has ended.

    Raises:
        VideoError: the source can't be read, now or half-way, or the target can't be written. ConfigError: a target of
            another kind, or the source itself.
    """

    def __init__(self, source, target, translator, tag=None):
        self.source, self.target, self.translator, self.tag = Path(source), Path(target), translator, tag
        if self.target.suffix.lower() not in WRITTEN:
            raise ConfigError(f"{target} can't be written: a film's suffix must be one of {', '.join(WRITTEN)}.")
        if self.target.exists() and self.target.resolve() == self.source.resolve():
            raise ConfigError("the output is the input: choose another name, so that no film is overwritten.")
        self.facts = film_facts(source)
        self.total, self.report = self.facts.frames, FilmReport()

    def __iter__(self):
        kind = WRITTEN[self.target.suffix.lower()][0]
        # the index in front, so that a browser can begin to play while it loads
        options = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
        with written_file(self.target) as temporary:
            try:
                with (
                    open_film(self.source) as reader,
                    av.open(film_url(temporary), "w", format=kind, options=options) as writer,
                ):
                    if self.tag is not None:
                        writer.metadata.update(self.tag.video_metadata())
                    yield from self._translate(reader, writer)
            except av.FFmpegError as error:
                if isinstance(error, OSError):  # no room, or the like
                    raise
                raise VideoError(f"{self.target} could not be made: {first_line(error)}.") from error
            if not self.report.frames:
                raise VideoError(f"{self.source} is damaged: not one of its frames can be read.")

    def _translate(self, reader, writer):
        stream = moving_pictures(reader, self.source)
        stream.thread_type = "AUTO"
        kind, _, codec = WRITTEN[self.target.suffix.lower()]
        sounds = {sound.index: Sound(sound, self.source, writer, kind, codec) for sound in reader.streams.audio}
        if sounds:
            self.report.sound = "copied" if all(sound.copied for sound in sounds.values()) else "encoded anew"
        upright, pictures = UprightFrames(), _Pictures(stream, self.facts, writer, self.target)
        self.report.width, self.report.height = pictures.size
        for packet in packets(reader, [stream, *reader.streams.audio], self.source):
            if packet.stream_index in sounds:
                self.report.damaged += sounds[packet.stream_index].take(packet)
                continue
            for frame in self._decoded(packet):
                made = self.translator(upright(frame), pictures.seconds(frame))
                self.report.with_faces += bool(getattr(self.translator, "tracks", ()))
                pictures.write(made, frame)
                self.report.frames += 1
                yield self.report.frames
        pictures.end()
        for sound in sounds.values():
            sound.finish()

    def _decoded(self, packet):
        try:
            return packet.decode()
        except av.FFmpegError:
            self.report.damaged += 1
            return []


class _Pictures:
    """The stream of pictures that is written."""

    def __init__(self, source, facts, writer, target):
        codec = WRITTEN[target.suffix.lower()][1]
        self.rate = source.average_rate or source.guessed_rate or Fraction(25)
        self.base = source.time_base or 1 / self.rate
        # half as many colours as pixels need even sides
        self.size = facts.width + facts.width % 2, facts.height + facts.height % 2
        self.writer, self.last = writer, None
        self.stream = writer.add_stream(codec, rate=self.rate, options=OPTIONS[codec])
        self.stream.width, self.stream.height = self.size
        self.stream.pix_fmt = "yuv420p"
        self.stream.time_base = self.base
        context, before = self.stream.codec_context, source.codec_context
        context.time_base = self.base
        ratio = source.sample_aspect_ratio
        if ratio and ratio != 1:
            context.sample_aspect_ratio = 1 / ratio if facts.sideways else ratio
        context.color_range = LIMITED
        self.space = int(before.colorspace) if int(before.colorspace) in SPACES else None
        if facts.converted:
            self.space = context.colorspace = BT709
            context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        elif self.space:  # as in the source, and said so; what it leaves unsaid is left so
            context.colorspace = self.space
            context.color_primaries, context.color_trc = before.color_primaries, before.color_trc

    def seconds(self, frame):
        """When a frame is shown."""
        return float(self._time(frame) * self.base)

    def _time(self, frame):
        """In units of the stream; a frame without a time, or with one that has gone by, comes next."""
        if self.last is None:
            return frame.pts or 0
        if frame.pts is None:
            return self.last + max(1, round(1 / (self.rate * self.base)))
        return max(frame.pts, self.last + 1)

    def write(self, pixels, frame):
        width, height = self.size
        if pixels.shape[0] - height not in (0, -1) or pixels.shape[1] - width not in (0, -1):
            pixels = cv2.resize(pixels, self.size, interpolation=cv2.INTER_AREA)  # it changes its size half-way
        below, right = height - pixels.shape[0], width - pixels.shape[1]
        if below or right:
            pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
        made = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        made = made.reformat(format="yuv420p", dst_colorspace=self.space, interpolation=EXACT)
        made.pts, made.time_base = self._time(frame), self.base
        self.last = made.pts
        self.writer.mux(self.stream.encode(made))

    def end(self):
        self.writer.mux(self.stream.encode(None))
