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

import contextlib
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.stream import Disposition
from av.video.reformatter import Interpolation

from maskhub.errors import ConfigError, VideoError, first_line

__all__ = ["VIDEO_SUFFIXES", "WRITTEN", "Facts", "Film", "FilmReport", "is_video", "look"]

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
MOST_PIXELS = 8192 * 4320
"""Of a frame."""
EXACT = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)
"""Of colours turned to RGB and back; FFmpeg's quicker way makes every frame darker by 1 of 255."""
LIMITED, SPACES = 1, (1, 5, 6)
"""FFmpeg's numbers for colours from 16 to 235, and for BT.709 and the two kinds of BT.601."""


def is_video(path):
    """Whether a path is named as a film."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Facts:
    """What a film's file says of itself.

    Attributes:
        width, height: of the upright frame, in pixels.
        seconds: its length, 0 where unknown.
        frames: about how many, 0 where unknown.
        sound: whether there is any.
        rotation: degrees, counter-clockwise, by which its frames are turned to stand upright.
    """

    width: int
    height: int
    seconds: float
    frames: int
    sound: bool
    rotation: float = 0.0


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


def look(source):
    """The :class:`Facts` of a film.

    Raises:
        VideoError: it can't be read, or has no moving pictures.
    """
    with _opened(source) as container:
        stream = _pictures(container, source)
        length = container.duration / av.time_base if container.duration else 0.0
        if stream.duration:
            length = float(stream.duration * stream.time_base)
        frames = stream.frames or round(length * float(stream.average_rate or 0))
        rotation = _rotation(container, stream, source)
        sides = (stream.height, stream.width) if round(rotation / 90) % 2 else (stream.width, stream.height)
        return Facts(*sides, length, frames, bool(container.streams.audio), rotation)


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
        self.facts = look(source)
        self.total, self.report = self.facts.frames, FilmReport()

    def __iter__(self):
        aside = self.target.with_name(f".{self.target.name}.{os.getpid()}.partial")
        kind = WRITTEN[self.target.suffix.lower()][0]
        # the index in front, so that a browser can begin to play while it loads
        options = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with _opened(self.source) as reader, av.open(str(aside), "w", format=kind, options=options) as writer:
                if self.tag is not None:
                    writer.metadata.update(self.tag.video_metadata())
                yield from self._translate(reader, writer)
            if not self.report.frames:
                raise VideoError(f"{self.source} is damaged: not one frame of it can be read.")
            os.replace(aside, self.target)
        except av.FFmpegError as error:
            raise VideoError(f"{self.target} could not be made: {first_line(error.strerror or error)}.") from error
        except OSError as error:
            raise VideoError(f"{self.target} could not be written: {error.strerror or error}.") from error
        finally:
            with contextlib.suppress(OSError):
                aside.unlink()

    def _translate(self, reader, writer):
        stream = _pictures(reader, self.source)
        stream.thread_type = "AUTO"
        sounds = {sound.index: _Sound(sound, writer, self.target) for sound in reader.streams.audio}
        if sounds:
            self.report.sound = "copied" if all(sound.copied for sound in sounds.values()) else "encoded anew"
        pictures = _Pictures(stream, self.facts, writer, self.target)
        self.report.width, self.report.height = pictures.size
        for packet in _packets(reader, [stream, *reader.streams.audio], self.source):
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
            sound.end()

    def _decoded(self, packet):
        try:
            return packet.decode()
        except av.FFmpegError:
            self.report.damaged += 1
            return []


def upright(frame):
    """A decoded frame as uint8 RGB, H×W×3, turned as its display matrix says."""
    pixels = frame.to_ndarray(format="rgb24", interpolation=EXACT)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


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
            context.sample_aspect_ratio = 1 / ratio if round(facts.rotation / 90) % 2 else ratio
        # colours as in the source, and said so; what it leaves unsaid is left so
        context.color_range = LIMITED
        self.space = int(before.colorspace) if int(before.colorspace) in SPACES else None
        if self.space:
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


class _Sound:
    """One stream of sound on its way from film to film."""

    def __init__(self, source, writer, target):
        self.writer, name = writer, source.codec_context.name if source.codec_context else ""
        self.copied = name in writer.supported_codecs
        if self.copied:
            self.stream = writer.add_stream_from_template(source)
        else:
            codec = WRITTEN[target.suffix.lower()][2]
            rate = 48000 if codec == "libopus" else source.codec_context.sample_rate
            self.stream = writer.add_stream(codec, rate=rate, layout=source.codec_context.layout.name)
            self.resampler = av.AudioResampler(self.stream.codec_context.format, self.stream.layout, rate)

    def take(self, packet):
        """Write a packet; returns how many were damaged."""
        if self.copied:
            if packet.dts is not None and packet.size:  # else it is the mark at the end
                packet.stream = self.stream
                self.writer.mux(packet)
            return 0
        try:
            frames = packet.decode()
        except av.FFmpegError:
            return 1
        for frame in frames:
            for part in self.resampler.resample(frame):
                self.writer.mux(self.stream.encode(part))
        return 0

    def end(self):
        if not self.copied:
            for part in self.resampler.resample(None):
                self.writer.mux(self.stream.encode(part))
            self.writer.mux(self.stream.encode(None))


@contextlib.contextmanager
def _opened(source):
    source = Path(source)
    if not source.is_file():
        raise VideoError(f"there is no film {source}.")
    try:
        container = av.open(str(source), metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise VideoError(f"{source} can't be read as a film: it is damaged, cut short or something else.") from error
    with container:
        yield container


def _pictures(container, source):
    """The first stream of moving pictures; a record's cover is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            if not 0 < stream.width * stream.height <= MOST_PIXELS:
                raise VideoError(f"{source} is {stream.width}×{stream.height}: of no use, or too large.")
            return stream
    what = "only sound" if container.streams.audio else "nothing that moves"
    raise VideoError(f"there are no moving pictures in {source}: {what}.")


def _packets(reader, streams, source):
    try:
        yield from reader.demux(streams)
    except av.FFmpegError as error:
        raise VideoError(f"{source} is damaged or cut short ({first_line(error.strerror or error)}).") from error


def _rotation(container, stream, source):
    """Degrees by which the first frame that can be read is turned."""
    for packet in _packets(container, [stream], source):
        with contextlib.suppress(av.FFmpegError):
            for frame in packet.decode():
                return frame.rotation
    raise VideoError(f"{source} is damaged: not one frame of it can be read.")
