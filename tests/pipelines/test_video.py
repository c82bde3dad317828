import resource
import threading

import av
import numpy as np
import pytest
from films import EachFrame, film, unchanged, written
from forked import run_code

from maskhub import ConfigError, VideoError
from maskhub.cli import main
from maskhub.errors import WriteError
from maskhub.pipelines.film_reading import UprightFrames, film_facts
from maskhub.pipelines.live import FrameTranslator
from maskhub.pipelines.translator import RuleMasker
from maskhub.pipelines.video import Film
from maskhub.provenance import Provenance, read_provenance


def frames_of(path):
    """Times in seconds and upright pixels."""
    with av.open(str(path)) as container:
        read = [(frame.time, frame) for frame in container.decode(video=0)]
        start = read[0][0]
        pixels = [UprightFrames()(frame) for _, frame in read]
        return [time - start for time, _ in read], pixels


def sound_of(path):
    """Name of the audio codec, and the bytes of its packets."""
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        return sound.codec_context.name, b"".join(bytes(packet) for packet in container.demux(sound))


def done(work):
    assert list(work) == list(range(1, work.report.frames + 1))
    return work.report


@pytest.fixture(scope="module")
def clip(astronaut, tmp_path_factory):
    """Twelve frames of a face at 25 frames per second, with sound."""
    return written(tmp_path_factory.mktemp("film") / "clip.mp4", film(astronaut, 12), sound="aac")


def test_a_film_keeps_its_times_size_colours_and_sound(clip, tmp_path):
    report = done(Film(clip, tmp_path / "out.mp4", unchanged))
    assert (report.frames, report.sound, report.damaged) == (12, "copied", 0)
    (times, before), (new_times, after) = frames_of(clip), frames_of(tmp_path / "out.mp4")
    assert new_times == pytest.approx(times, abs=1e-4)
    assert np.abs(np.subtract(after, before, dtype=float)).mean() < 2.5
    assert abs(np.subtract(after, before, dtype=float).mean()) < 0.4
    assert sound_of(tmp_path / "out.mp4") == sound_of(clip)
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert made.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert made.streams.video[0].codec_context.name == "h264"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_uneven_times_stay(astronaut, tmp_path):
    times = [0, 40, 100, 110, 300, 340, 900, 1000]
    source = written(tmp_path / "phone.mkv", film(astronaut, len(times)), times, sound="libopus")
    seen = []
    noting = EachFrame(lambda frame, seconds: seen.append(round(1000 * seconds)) or frame)
    done(Film(source, tmp_path / "out.mp4", noting))
    assert seen == times
    assert frames_of(tmp_path / "out.mp4")[0] == pytest.approx([time / 1000 for time in times], abs=1e-3)


def test_a_container_that_cannot_hold_the_sound_gets_it_re_encoded(clip, tmp_path):
    report = done(Film(clip, tmp_path / "out.webm", unchanged))
    assert report.sound == "re-encoded"
    with av.open(str(tmp_path / "out.webm")) as made:
        sound = sum(frame.samples for frame in made.decode(audio=0))
    assert sound_of(tmp_path / "out.webm")[0] == "opus"
    assert sound / 48000 == pytest.approx(12 / 25, abs=0.05)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_film_recorded_lying_is_turned_upright(astronaut, tmp_path, degrees):
    upright = list(film(astronaut, 4, noise=0))
    lying = [np.rot90(frame, -degrees // 90) for frame in upright]
    source = written(tmp_path / "phone.mp4", lying, display={"degrees": degrees})
    seen = []
    work = Film(source, tmp_path / "out.mp4", EachFrame(lambda frame, seconds: seen.append(frame) or frame))
    assert (work.facts.width, work.facts.height) == (320, 240)
    done(work)
    assert np.abs(np.subtract(seen[0], upright[0], dtype=float)).mean() < 4
    with av.open(str(tmp_path / "out.mp4")) as made:
        frame = next(made.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (320, 240, 0)


def test_odd_sides_grow_by_one_pixel(astronaut, tmp_path):
    frames = [frame[:121, :161] for frame in film(astronaut, 3)]
    source = written(tmp_path / "odd.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    report = done(Film(source, tmp_path / "out.mp4", unchanged))
    assert (report.width, report.height) == (162, 122)
    assert np.abs(np.subtract(frames_of(tmp_path / "out.mp4")[1][0][:121, :161], frames[0], dtype=float)).mean() < 4


def test_every_frame_with_a_face_is_masked_and_says_so(clip, tmp_path):
    tag = Provenance("mask", "rule")
    report = done(Film(clip, tmp_path / "out.mp4", FrameTranslator(RuleMasker("surgical", "blue")), tag))
    assert report.with_faces == 12
    assert read_provenance(tmp_path / "out.mp4") == tag
    (_, before), (_, after) = frames_of(clip), frames_of(tmp_path / "out.mp4")
    changed = [(np.abs(np.subtract(b, a, dtype=float)).mean(2) > 40).mean() for a, b in zip(before, after, strict=True)]
    assert min(changed) > 0.015 and max(changed) < 0.2
    translator = FrameTranslator(RuleMasker("surgical", "blue"))
    done(Film(clip, tmp_path / "frame-by-frame.mp4", EachFrame(translator), tag))
    assert (tmp_path / "frame-by-frame.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()


def test_a_face_that_is_found_late_is_masked_from_the_first_frame(clip, tmp_path):
    translator = FrameTranslator(RuleMasker("surgical", "blue"))
    search, frames = translator.tracker._search, []
    translator.tracker._search = lambda *args: frames.append(args) or (search(*args) if len(frames) > 6 else None)
    report = done(Film(clip, tmp_path / "out.mp4", translator))
    assert len(frames) > 6 and report.with_faces == 12
    (_, before), (_, after) = frames_of(clip), frames_of(tmp_path / "out.mp4")
    changed = [(np.abs(np.subtract(b, a, dtype=float)).mean(2) > 40).mean() for a, b in zip(before, after, strict=True)]
    assert min(changed) > 0.015 and max(changed) < 1.3 * min(changed)


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".webm"])
def test_every_container_holds_the_tag(clip, tmp_path, suffix):
    tag = Provenance("unmask", "user/model")
    done(Film(clip, tmp_path / f"out{suffix}", unchanged, tag))
    assert read_provenance(tmp_path / f"out{suffix}") == tag


def test_nothing_of_the_source_is_told(astronaut, tmp_path):
    source = tmp_path / "place.mp4"
    written(tmp_path / "bare.mp4", film(astronaut, 2))
    with av.open(str(tmp_path / "bare.mp4")) as reader, av.open(str(source), "w") as writer:
        writer.metadata.update({"title": "My street", "location": "+48.1-011.5/", "comment": "secret"})
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                writer.mux(packet)
    done(Film(source, tmp_path / "out.mp4", unchanged))
    data = (tmp_path / "out.mp4").read_bytes()
    assert b"My street" in source.read_bytes() and b"My street" not in data
    assert b"+48.1" not in data and b"secret" not in data


@pytest.fixture
def bad_films(clip, tmp_path):
    """Name → (film that can't be translated, error message)."""
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "empty.mp4").touch()
    data = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    written(tmp_path / "song.mp4", [], [], sound="aac", seconds=0.2)
    return {
        "text.mp4": "can't be read as a film",
        "empty.mp4": "can't be read as a film",
        "cut.mp4": "can't be read as a film",
        "song.mp4": "no video in .*: it only has sound",
        "none.mp4": "there is no film",
    }


def test_a_bad_film_is_one_clear_line(bad_films, tmp_path, capsys):
    for name, words in bad_films.items():
        with pytest.raises(VideoError, match=words):
            film_facts(tmp_path / name)
        with pytest.raises(SystemExit) as stop:
            main(["mask", str(tmp_path / name), str(tmp_path / "out.mp4")])
        said = capsys.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and len(said) == 1 and said[0].startswith("maskhub: ")
    assert not list(tmp_path.glob("*out*"))


def test_a_film_damaged_in_the_middle_is_done_as_far_as_it_can_be_read(clip, tmp_path):
    data = bytearray(clip.read_bytes())
    middle = data.find(b"mdat") + 2000
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    (tmp_path / "hurt.mp4").write_bytes(data)
    report = done(Film(tmp_path / "hurt.mp4", tmp_path / "out.mp4", unchanged))
    assert 0 < report.frames <= 12
    assert len(frames_of(tmp_path / "out.mp4")[0]) == report.frames


def test_whoever_stops_half_way_leaves_nothing_and_no_old_film_is_lost(clip, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    threads = threading.active_count()

    def stops(frame, seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Film(clip, target, EachFrame(stops)))
    steps = iter(Film(clip, target, unchanged))
    next(steps)
    assert len(list(tmp_path.iterdir())) == 2
    steps.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"] and target.read_bytes() == b"old"
    assert threading.active_count() == threads


def test_what_cannot_be_written_is_said_at_once(clip, tmp_path):
    with pytest.raises(ConfigError, match="suffix must be one of"):
        Film(clip, tmp_path / "out.gif", unchanged)
    with pytest.raises(ConfigError, match="input and output are the same file"):
        Film(clip, clip, unchanged)
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="could not be"):
        list(Film(clip, tmp_path / "file" / "out.mp4", unchanged))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_full_disk_leaves_no_film_that_is_cut_short(suffix, clip, tmp_path):
    """A file size limit simulates a full disk: writes beyond it are partial, then fail."""
    target = tmp_path / f"out.{suffix}"
    done(Film(clip, target, unchanged))
    size, before = target.stat().st_size, target.read_bytes()
    code = """
import resource, sys
from films import unchanged
from maskhub.errors import WriteError
from maskhub.pipelines.video import Film
said = []
for room in map(int, sys.argv[3:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        list(Film(sys.argv[1], sys.argv[2], unchanged))
    except WriteError as error:
        said.append(f"refused {error}")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(*said, sep="\\n")
"""
    rooms = [0, 100, size // 2, size - 1000, size - 1]
    ended, said = run_code(code, clip, target, *rooms)
    assert ended == 0 and said.count("refused") == len(rooms), said
    assert target.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == [target.name]


def test_memory_stays_flat(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    source = written(tmp_path / "long.mp4", [np.roll(noise, 8 * number, 1) for number in range(60)])
    high = []
    for _ in Film(source, tmp_path / "out.mkv", unchanged):
        high.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    # forty frames of RGB are 37 MB
    assert high[-1] - high[20] < 15_000


def test_the_command_line_masks_and_unmasks_films(clip, tmp_path, tiny_pipeline, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["mask", str(clip), str(tmp_path / "a" / "rule.mp4"), "--style", "cloth"])
    assert stop.value.code == 0
    assert "12 of 12 frames with a face, sound copied" in capsys.readouterr().out
    assert read_provenance(tmp_path / "a" / "rule.mp4").model == "rule"
    tiny_pipeline.save_pretrained(tmp_path / "tiny")
    with pytest.raises(SystemExit) as stop:
        main(["unmask", str(clip), str(tmp_path / "bare.mp4"), "--model", str(tmp_path / "tiny"), "--no-provenance"])
    assert stop.value.code == 0
    assert read_provenance(tmp_path / "bare.mp4") is None
    said = capsys.readouterr().out
    assert "in 12 frames a face was left as it is (no mask worn)\nno frame was changed\n" in said
    for wrong in (["--boxes", "coco"], ["--workers", "2"], ["--own-boxes", "labels"], ["--scores", "none"]):
        with pytest.raises(SystemExit) as stop:
            main(["mask", str(clip), str(tmp_path / "c.mp4"), *wrong])
        assert stop.value.code == 2 and f"{wrong[0]} can't be used with a film: leave" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["mask", str(clip), str(tmp_path)])
    assert stop.value.code == 2 and "is a folder: give a file name" in capsys.readouterr().err
