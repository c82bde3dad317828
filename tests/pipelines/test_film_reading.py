"""Hostile files are rejected, and ordinary ones read correctly: orientation, colours, times, names."""

import os

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc
from films import EachFrame, film, unchanged, written

from maskhub import VideoError, read_provenance
from maskhub.cli import main
from maskhub.film_file import open_film
from maskhub.pipelines.film_reading import UprightFrames, film_facts, packets
from maskhub.pipelines.video import Film
from maskhub.provenance import Provenance


def decoded(path):
    """All frames of a film, upright, and their times in seconds."""
    upright = UprightFrames()
    with open_film(path) as container:
        read = [(upright(frame), frame.time) for frame in container.decode(video=0)]
    return [pixels for pixels, _ in read], [time for _, time in read]


def mean_difference(one, other):
    return np.abs(np.subtract(one, other, dtype=float)).mean()


@pytest.fixture(scope="module")
def secret(astronaut, tmp_path_factory):
    """A film elsewhere on this machine, as MP4 and as a transport stream."""
    folder = tmp_path_factory.mktemp("secret")
    for name in ("secret.mp4", "secret.ts"):
        written(folder / name, film(astronaut, 3))
    return folder


# ---- files that refer to other files --------------------------------------------------------------------------------

PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{folder}/secret.ts\n#EXT-X-ENDLIST\n",
    "HLS by path": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{folder}/secret.ts\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{folder}/secret.mp4'\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
    'bandwidth="1"><BaseURL>file://{folder}/secret.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "ASX": '<asx version="3.0"><entry><ref href="file://{folder}/secret.mp4"/></entry></asx>',
    "SVG": '<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{folder}/secret.png"/></svg>',
    "subtitles": "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
}


@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ts", "avi", "mkv"])
@pytest.mark.parametrize("playlist", PLAYLISTS.values(), ids=PLAYLISTS)
def test_a_playlist_is_refused_whatever_its_name(playlist, suffix, secret, tmp_path):
    path = tmp_path / f"clip.{suffix}"
    path.write_text(playlist.replace("{folder}", str(secret)))
    with pytest.raises(VideoError, match="can't be read as a film"):
        film_facts(path)
    if suffix == "mp4":
        with pytest.raises(VideoError, match="can't be read as a film"):
            read_provenance(path)


def test_the_playlists_of_this_test_would_work(secret, tmp_path):
    """By default FFmpeg follows them; otherwise the test above would prove nothing."""
    for name, playlist, folder in (("a.m3u8", "HLS", secret), ("a.mp4", "concat", "")):
        (secret / name).write_text(PLAYLISTS[playlist].replace("{folder}/", f"{folder}/" if folder else ""))
        with av.open(str(secret / name)) as container:
            assert len(list(container.decode(video=0))) == 3
        with pytest.raises(VideoError):
            film_facts(secret / name)


@pytest.mark.parametrize("name", ["%03d.png", "001.png", "[0-9].png", "lavfi", "testsrc", "/dev/zero", "/dev/stdin"])
def test_patterns_pictures_and_devices_are_refused(name, tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(VideoError, match=r"can't be read as a film|there is no film"):
        film_facts(tmp_path / name)


def test_the_command_line_refuses_a_playlist_in_one_line(secret, tmp_path, capsys):
    (tmp_path / "clip.mp4").write_text(PLAYLISTS["HLS"].replace("{folder}", str(secret)))
    with pytest.raises(SystemExit) as stop:
        main(["mask", str(tmp_path / "clip.mp4"), str(tmp_path / "out.mp4")])
    said = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and len(said) == 1 and not (tmp_path / "out.mp4").exists()


CONTAINERS = {"mp4": None, "m4v": None, "mov": None, "mkv": None, "avi": None, "flv": None, "3gp": None, "ts": None,
              "mts": "mpegts", "mpg": None, "mpeg": None, "wmv": None, "webm": None}  # fmt: skip
CODECS = {"avi": "mpeg4", "mpg": "mpeg1video", "mpeg": "mpeg1video", "wmv": "mpeg4", "webm": "libvpx-vp9"}


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_ordinary_container_is_read(suffix, astronaut, tmp_path):
    path = tmp_path / f"clip.{suffix}"
    written(path, film(astronaut, 6), codec=CODECS.get(suffix, "libx264"), kind=CONTAINERS[suffix])
    facts = film_facts(path)
    assert (facts.width, facts.height) == (320, 240)
    assert len(decoded(path)[0]) == 6


# ---- names ----------------------------------------------------------------------------------------------------------

NAMES = ["12:30:05.mp4", "file:a.mp4", "http:a.mp4", "%d.mp4", "a b?c#d&e.mp4", "-i.mp4", "映" * 80 + ".mp4"]


@pytest.mark.parametrize("name", [*map(os.fsencode, NAMES), b"caf\xe9.mp4", b"\xff\xfe.mp4"])
def test_any_file_name_is_read_and_written(name, secret, tmp_path, monkeypatch, capsys):
    name = os.fsdecode(name)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes((secret / "secret.mp4").read_bytes())
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    assert film_facts(name).frames == 3
    target = tmp_path / "out" / name
    with pytest.raises(SystemExit) as stop:
        main(["mask", "--", name, str(target)] if name.startswith("-") else ["mask", name, str(target)])
    assert stop.value.code == 0, capsys.readouterr().err
    assert len(decoded(target)[0]) == 3
    assert read_provenance(target).direction == "mask"
    assert os.listdir(tmp_path / "out") == [name]


# ---- orientation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize(("hflip", "vflip"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_whole_display_matrix_is_applied(degrees, hflip, vflip, astronaut, tmp_path):
    stored = list(film(astronaut, 3, noise=0))
    source = written(tmp_path / "phone.mp4", stored, display={"degrees": degrees, "hflip": hflip, "vflip": vflip})
    # "a counter-clockwise rotation; hflip and vflip mirror after it"
    upright = np.rot90(stored[0], degrees // 90)
    upright = upright[:: -1 if vflip else 1, :: -1 if hflip else 1]
    assert mean_difference(decoded(source)[0][0], upright) < 4
    work = Film(source, tmp_path / "out.mp4", unchanged)
    assert (work.facts.width, work.facts.height) == upright.shape[1::-1]
    list(work)
    with av.open(str(tmp_path / "out.mp4")) as made:
        frame = next(made.decode(video=0))
        assert not frame.rotation and mean_difference(frame.to_ndarray(format="rgb24"), upright) < 6


@pytest.mark.parametrize("matrix", [[0] * 9, [-1] * 9, [46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30]])
def test_a_display_matrix_without_a_quarter_turn_does_no_harm(matrix, astronaut, tmp_path):
    source = written(tmp_path / "phone.mp4", film(astronaut, 2), display={"matrix": matrix})
    assert {film_facts(source).width, film_facts(source).height} == {320, 240}
    assert decoded(source)[0][0].shape in ((240, 320, 3), (320, 240, 3))


# ---- times ----------------------------------------------------------------------------------------------------------


def joined(folder, astronaut, counts, sound, suffix="ts", **options):
    """Several recordings concatenated in one file, each with its own clock."""
    parts = [
        written(folder / f"{n}.{suffix}", film(astronaut, n, size=(160, 120)), sound=sound, **options) for n in counts
    ]
    (folder / f"joined.{suffix}").write_bytes(b"".join(part.read_bytes() for part in parts))
    return folder / f"joined.{suffix}"


def times_of(path, kind):
    """The times of all packets in seconds, in presentation order."""
    with open_film(path) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return sorted(float(p.pts * p.time_base) for p in container.demux(stream) if p.pts is not None)


@pytest.mark.parametrize("counts", [(20, 12), (6, 18), (270, 12)], ids=str)
@pytest.mark.parametrize(
    ("sound", "suffix", "target"),
    [(None, "ts", "mp4"), ("aac", "ts", "mp4"), ("aac", "ts", "mkv"), ("aac", "ts", "webm"), ("mp2", "mpg", "mp4")],
)
def test_joined_recordings_go_on_where_the_clock_jumps(counts, sound, suffix, target, astronaut, tmp_path):
    if suffix == "mpg" or target == "webm":
        counts = (10, 8)
    source = joined(tmp_path, astronaut, counts, sound, suffix, codec=CODECS.get(suffix, "libx264"))
    work = Film(source, tmp_path / f"out.{target}", unchanged)
    list(work)
    steps = np.diff(times_of(tmp_path / f"out.{target}", "video"))
    assert abs(work.report.frames - sum(counts)) <= 1
    assert steps.min() > 0.03 and steps.max() < 0.13
    if sound:
        heard = times_of(tmp_path / f"out.{target}", "audio")
        assert np.diff(heard).min() > 0 and np.diff(heard).max() < 0.13
        assert heard[-1] == pytest.approx(times_of(tmp_path / f"out.{target}", "video")[-1], abs=0.15)


def test_a_clock_that_wraps_round(astronaut, tmp_path):
    """Transport streams count 90,000 a second in 33 bits, and may start anywhere."""
    source = written(tmp_path / "a.ts", film(astronaut, 50), sound="aac", shift=2**33 / 90000 - 1)
    list(Film(source, tmp_path / "out.mp4", unchanged))
    times = times_of(tmp_path / "out.mp4", "video")
    assert len(times) == 50 and times[0] < 0.2
    assert np.diff(times) == pytest.approx([0.04] * 49, abs=1e-3)


def test_a_screen_recording_may_stand_still(astronaut, tmp_path):
    source = written(tmp_path / "a.mkv", film(astronaut, 3), [0, 40, 60_000], sound=None)
    with open_film(source) as container:
        placed = [
            float(p.pts * p.time_base) for p in packets(container, [container.streams.video[0]], source) if p.size
        ]
    assert sorted(placed) == pytest.approx([0, 0.04, 60], abs=1e-3)


# ---- colours --------------------------------------------------------------------------------------------------------


def high_dynamic_range(pixels, transfer, white=203.0):
    """8-bit RGB as a frame of HDR: BT.2020, 10 bits, with diffuse white at 203 cd/m² (ITU-R BT.2408)."""
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # BT.2087
    light = (pixels / 255.0) ** 2.4 @ to_2020.T * white
    if transfer == ColorTrc.SMPTE2084:  # BT.2100, PQ
        power = (light / 10000) ** (2610 / 16384)
        signal = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    else:  # BT.2100, HLG on a display of 1,000 cd/m²
        shown = light / 1000
        scene = shown * np.maximum(shown @ [0.2627, 0.678, 0.0593], 1e-9)[..., None] ** (1 / 1.2 - 1)
        upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)
    luma = signal @ [0.2627, 0.678, 0.0593]
    chroma = [(signal[..., 2] - luma) / 1.8814, (signal[..., 0] - luma) / 1.4746]
    planes = [64 + 876 * luma, *(512 + 896 * cv2.resize(c, None, fx=0.5, fy=0.5) for c in chroma)]
    frame = av.VideoFrame(pixels.shape[1], pixels.shape[0], "yuv420p10le")
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        rows[:, : plane.width] = np.rint(values)
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_trc, frame.color_primaries, frame.color_range = 9, transfer, ColorPrimaries.BT2020, 1
    return frame


def coloured(path, frames, pix_fmt="yuv420p10le"):
    """Write frames with their colour tags."""
    frames = list(frames)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_trc = frames[0].colorspace, frames[0].color_trc
        context.color_primaries, context.color_range = frames[0].color_primaries, frames[0].color_range
        for number, frame in enumerate(frames):
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    "transfer", [ColorTrc.SMPTE2084, pytest.param(ColorTrc.ARIB_STD_B67, marks=pytest.mark.slow)], ids=["PQ", "HLG"]
)
def test_high_dynamic_range_is_mapped_to_ordinary_colours(transfer, astronaut, tmp_path):
    wanted = next(iter(film(astronaut, 1, noise=0)))
    source = coloured(tmp_path / "hdr.mkv", [high_dynamic_range(wanted, transfer)] * 2)
    seen = []
    work = Film(source, tmp_path / "out.mp4", EachFrame(lambda frame, seconds: seen.append(frame) or frame))
    list(work)
    assert work.facts.converted
    assert mean_difference(seen[0], wanted) < 4
    assert abs(np.subtract(seen[0], wanted, dtype=float).mean((0, 1))).max() < 3  # no tint, not grey
    with av.open(str(tmp_path / "out.mp4")) as made:
        frame = next(made.decode(video=0))
        assert (frame.colorspace, frame.color_trc, frame.color_primaries) == (1, 1, 1)
        assert mean_difference(UprightFrames()(frame), wanted) < 5


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("space", [Colorspace.ITU709, Colorspace.ITU601], ids=["BT.709", "BT.601"])
def test_ordinary_colours_keep_their_tags_and_values(full, space, astronaut, tmp_path):
    wanted = next(iter(film(astronaut, 1, noise=0)))
    numbers = {Colorspace.ITU709: (1, 1, 1), Colorspace.ITU601: (6, 6, 6)}[space]
    frame = av.VideoFrame.from_ndarray(wanted, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=space, dst_color_range=2 if full else 1
    )
    frame.colorspace, frame.color_trc, frame.color_primaries = numbers
    frame.color_range = 2 if full else 1
    source = coloured(tmp_path / "sdr.mkv", [frame] * 2, pix_fmt="yuv420p")
    assert mean_difference(decoded(source)[0][0], wanted) < 4
    list(Film(source, tmp_path / "out.mkv", unchanged))
    with av.open(str(tmp_path / "out.mkv")) as made:
        frame = next(made.decode(video=0))
        assert (frame.colorspace, frame.color_trc, frame.color_primaries) == numbers
        assert mean_difference(UprightFrames()(frame), wanted) < 4


@pytest.mark.slow
def test_a_wide_gamut_without_high_range_becomes_bt709(astronaut, tmp_path):
    wanted = next(iter(film(astronaut, 1, noise=0)))
    wide = av.VideoFrame.from_ndarray(wanted, format="rgb24")
    wide.colorspace, wide.color_trc, wide.color_primaries = 0, ColorTrc.BT709, ColorPrimaries.BT709
    wide = wide.reformat(
        format="yuv420p10le", dst_colorspace=Colorspace.BT2020, dst_color_trc=ColorTrc.BT2020_10,
        dst_color_primaries=ColorPrimaries.BT2020,
    )  # fmt: skip
    source = coloured(tmp_path / "wide.mkv", [wide] * 2)
    assert film_facts(source).converted
    assert mean_difference(decoded(source)[0][0], wanted) < 5


def test_a_tag_survives_any_name(secret, tmp_path):
    tag = Provenance("mask", "rule")
    list(Film(secret / "secret.mp4", tmp_path / "a:b.mov", unchanged, tag))
    assert read_provenance(tmp_path / "a:b.mov") == tag
