"""Nothing on the server but one's own uploads can be reached, and no job holds up the others for ever."""

import errno
import itertools
import os
import shutil
import threading
import time
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import httpx
import pytest
from app_process import PATIENCE, start_app, stop_app
from events import ASTRONAUT, CLIENT, endpoints, join, outcome, send, send_all, upload
from PIL import Image

from maskhub.errors import PhotoError, WriteError
from space import photos
from space.demo import launch
from space.gate import allowed_hosts, host_name
from space.guarded import NOT_UPLOADED, GuardedBlocks, own_file, own_files

FILE_COMPONENTS = ("image", "video", "file", "gallery", "imageslider", "downloadbutton", "audio", "imageeditor")


@pytest.fixture(scope="module")
def attacks(app, tmp_path_factory):
    """Name → path or address of something that is not the sender's upload."""
    secret = tmp_path_factory.mktemp("private") / "secret.jpg"
    shutil.copy(ASTRONAUT, secret)
    own = Path(upload(app.url, "own.jpg", ASTRONAUT.read_bytes()))
    folder = own.parents[1]
    os.symlink(secret, folder / "link.jpg")
    os.symlink(secret.parent, folder / "linked")
    os.mkfifo(folder / "fifo.jpg")
    found = {
        "absolute": str(secret),
        "relative": os.path.relpath(secret, Path(__file__).parents[2]),
        "climbing": f"{own.parent}/../../{os.path.relpath(secret, folder.parent)}",
        "link": str(folder / "link.jpg"),
        "linked folder": str(folder / "linked" / "secret.jpg"),
        "pipe": str(folder / "fifo.jpg"),
        "folder": str(folder),
        "missing": str(secret.with_name("missing.jpg")),
        "missing here": str(folder / "missing.jpg"),
        "device": "/dev/ptmx",
        "proc": "/proc/self/environ",
        "file address": secret.as_uri(),
        "http": "http://127.0.0.1:9/secret.jpg",
        "own http": f"{app.url}config",
        "null": "secret\0.jpg",
        "long": "x" * 5000,
        "home": "~/secret.jpg",
    }
    yield found
    for path in ("link.jpg", "linked", "fifo.jpg"):
        (folder / path).unlink()


def shapes(path):
    """One path in all shapes that a component may take it in."""
    plain, meta = {"path": path}, {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "a.jpg"}
    yield from (plain, meta, plain | {"url": path}, {"video": plain, "subtitles": None}, [plain], [meta, meta])
    yield from ({"image": meta, "caption": None}, [{"image": plain}], {"background": None, "layers": [plain]})
    yield {"background": meta, "layers": [], "composite": meta}
    yield {"text": "", "files": [meta]}


def refused(answer):
    assert answer["success"] is False, answer
    assert answer["output"]["error"] == NOT_UPLOADED, answer


def test_every_input_of_every_endpoint_refuses_what_was_not_uploaded(app, attacks):
    events, components = endpoints(app.url)
    kinds = itertools.cycle(itertools.product(attacks.values(), range(11)))
    tried, calls = set(), []
    for event in events:
        for place, id in enumerate(event["inputs"]):
            path, shape = next(kinds)
            data = [components[other]["props"].get("value") for other in event["inputs"]]
            data[place] = list(shapes(path))[shape]
            calls.append((event["id"], data))
            tried.add(components[id]["type"])
    for answer in send_all(app.url, calls):
        refused(answer)
    assert {"image", "video", "file"} < tried, tried


def test_every_component_that_takes_files_refuses_every_attack(app, attacks):
    events, components = endpoints(app.url)
    first = {}
    for event in events:
        for place, id in enumerate(event["inputs"]):
            if components[id]["type"] in FILE_COMPONENTS:
                first.setdefault(id, (event, place))
    assert len(first) >= 6, first
    calls = []
    metas = itertools.cycle([{}, {}, {"meta": {"_type": "gradio.FileData"}}])  # 3 and 17 attacks: all pairs in turn
    for (event, place), path in itertools.product(first.values(), attacks.values()):
        data = [components[other]["props"].get("value") for other in event["inputs"]]
        shape = {"path": path} | next(metas)
        data[place] = [shape] if components[event["inputs"][place]]["type"] == "file" else shape
        calls.append((event["id"], data))
    for answer in send_all(app.url, calls):
        refused(answer)


ENDPOINTS = ("mask", "unmask", "cycle", "wear")


@pytest.mark.parametrize("all_pairs", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_named_endpoints_refuse_them_by_each_way_in(app, attacks, all_pairs):
    """Each attack by both ways, at one endpoint in turn or at each."""
    calls, turn = f"{app.url}gradio_api/call", itertools.cycle(ENDPOINTS)
    for path, version in itertools.product(attacks.values(), ("", "v2/")):
        body = {"photo": {"path": path}} if version else {"data": [{"path": path}]}
        for name in ENDPOINTS if all_pairs else (next(turn),):
            event = CLIENT.post(f"{calls}/{version}{name}", json=body).json()["event_id"]
            answer = CLIENT.get(f"{calls}/{version}{name}/{event}").text
            assert answer.startswith("event: error") and NOT_UPLOADED in answer, answer
    for name in ENDPOINTS:  # past the queue
        answer = CLIENT.post(f"{app.url}gradio_api/run/{name}", json={"data": [{"path": attacks["absolute"]}]})
        assert answer.status_code == 404


def test_a_stream_of_frames_refuses_them_too(app, attacks):
    events, _ = endpoints(app.url)
    event = next(entry for entry in events if entry["connection"] == "stream")
    calls = [(event["id"], [{"path": path, "url": None}, "original", None]) for path in attacks.values()]
    for answer in send_all(app.url, calls):
        refused(answer)


NO_CLICKS = (5, "x", [], {}, {"index": None}, {"index": [9], "value": {}}, {"index": {"path": "x"}})


@pytest.mark.parametrize("all_pairs", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_a_page_never_says_of_a_click_is_refused_in_one_line(app, all_pairs):
    """Two of them to each handler of clicks, or all. The app fixture finds no traceback and no failed handler."""
    events, components = endpoints(app.url)
    chosen = [event for event in events if any(name == "select" for _, name in event["targets"])]
    assert len(chosen) >= 4  # all of them are tried
    turn = itertools.cycle(NO_CLICKS)
    for event in chosen:
        values = [components[other]["props"].get("value") for other in event["inputs"]]
        for data in NO_CLICKS if all_pairs else (next(turn), next(turn)):
            answer = send(app.url, event["id"], values, event_data=data)
            assert answer["success"] or "\n" not in answer["output"]["error"], answer


def test_a_dropdown_takes_neither_lists_nor_numbers(app):
    events, components = endpoints(app.url)
    odd, calls = itertools.cycle([["a"], [[]], {"a": 1}, 5]), []
    for event in events:
        for place, id in enumerate(event["inputs"]):
            props = components[id]["props"]
            if components[id]["type"] == "dropdown" and not props.get("multiselect"):
                values = [components[other]["props"].get("value") for other in event["inputs"]]
                values[place] = next(odd)
                if any(not isinstance(value, str) for _, value in props["choices"]):
                    values[place] = [values[place]]  # it has numbers
                calls.append((event["id"], values))
    assert calls
    for answer in send_all(app.url, calls):
        assert "must be" in answer["output"]["error"]


def test_a_choice_that_is_not_there_is_answered_in_one_line(app):
    """The jobs, datasets, models and attributes that a page shows may be gone, or newer than the session's last answer,
    with which gradio would compare them. The app fixture finds no failed handler."""
    events, components = endpoints(app.url)
    names = {"train-job", "train-dataset", "train-start", "train-choice", "model", "browse-dataset", "browse-model"}
    names |= {"reimage-source", "reimage-model", "train-attributes", "browse-attributes", "model-search", "wear-colour"}
    forged = itertools.cycle(["gone", "", "../../jobs", "a\0b", "x" * 300, "builtin:gone", "tone=gone", "a=b=c"])
    seen, calls = set(), []
    for event in events:
        inputs = [components[id]["props"] for id in event["inputs"]]
        chosen = [place for place, props in enumerate(inputs) if props.get("elem_id") in names]
        seen |= {inputs[place]["elem_id"] for place in chosen}
        for _ in range(2 if chosen else 0):
            value, values = next(forged), [props.get("value") for props in inputs]
            for place in chosen:
                values[place] = [value] if inputs[place].get("multiselect") else value
            calls.append((event["id"], values))
    assert seen == names
    for answer in send_all(app.url, calls):
        error = "" if answer["success"] else answer["output"]["error"]
        assert "\n" not in error and "list of choices" not in error, answer


def test_what_is_there_and_what_is_not_look_the_same(app, attacks):
    events, _ = endpoints(app.url)
    mask = next(entry["id"] for entry in events if entry["api_name"] == "mask")
    answers = [send(app.url, mask, [{"path": path}])["output"] for path in attacks.values()]
    assert all(answer == answers[0] for answer in answers)
    for path in attacks.values():
        answer = CLIENT.get(f"{app.url}gradio_api/file={quote(path)}")
        assert 400 <= answer.status_code < 500 and len(answer.content) < 6000, path


def test_the_walk_keeps_what_is_fine(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "a.jpg").write_bytes(b"x")
    there = str(tmp_path / "a.jpg")
    assert own_file(str(tmp_path / "x" / ".." / "a.jpg")) == there
    given = {"path": there, "url": "http://127.0.0.1/x", "size": 3}
    assert own_files([1, "text", None, {"deep": [given]}]) == [1, "text", None, {"deep": [given | {"url": None}]}]
    assert own_files({"path": None, "url": "data:image/png;base64,AA"})["url"] == "data:image/png;base64,AA"
    nested = []
    for _ in range(100):
        nested = [nested]
    with pytest.raises(gr.Error, match="nested too deeply"):
        own_files(nested)
    for path in (5, [], {}, True, 1.5, tmp_path, "", "."):
        with pytest.raises(PhotoError, match="not uploaded"):
            own_file(path)


# ---- the queue -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stuck():
    """An app with a job that never ends, one that does, and one that hangs between two steps; limit 1 s."""
    release = threading.Event()

    def steps():
        yield "one"
        release.wait(PATIENCE)
        yield "two"

    def full():
        raise WriteError("there is no room.")

    with GuardedBlocks(time_limits={"model": 1.0, None: 1.0}, analytics_enabled=False) as blocks:
        text = gr.Textbox()
        gr.Button().click(lambda: release.wait(PATIENCE), None, text, concurrency_id="model", api_name="hang")
        gr.Button().click(lambda: "fine", None, text, concurrency_id="model", api_name="work")
        gr.Button().click(lambda: 1 / 0, None, text, concurrency_id="model", api_name="fault")
        gr.Button().click(full, None, text, concurrency_id="model", api_name="full")
        gr.Button().click(steps, None, text, concurrency_id="model", api_name="steps")
    launch(blocks.queue(default_concurrency_limit=1))
    yield blocks.local_url
    release.set()
    blocks.close()


@pytest.mark.parametrize("kind", ["hang", "steps"])
def test_a_stuck_job_is_given_up_and_the_next_one_runs(stuck, kind):
    index = {entry["api_name"]: entry["id"] for entry in endpoints(stuck)[0]}
    begun = time.monotonic()
    sessions = [join(stuck, index[name], [])[1] for name in (kind, "work")]
    first, second = (outcome(stuck, session) for session in sessions)
    assert "longer than 1 seconds" in first["output"]["error"]
    assert second["success"] and second["output"]["data"] == ["fine"]
    assert time.monotonic() - begun < 60


def test_a_fault_is_one_line_for_the_visitor_and_one_in_the_log(stuck, capfd):
    index = {entry["api_name"]: entry["id"] for entry in endpoints(stuck)[0]}
    assert send(stuck, index["fault"], [])["output"]["error"] == "Something went wrong. The error has been logged."
    assert send(stuck, index["work"], [])["success"]
    printed = capfd.readouterr().err
    assert "maskhub: fault failed: ZeroDivisionError: division by zero (" in printed and "test_guarded.py:" in printed
    assert "Traceback" not in printed


def test_an_error_on_purpose_is_told_by_its_own_line(stuck):
    index = {entry["api_name"]: entry["id"] for entry in endpoints(stuck)[0]}
    assert send(stuck, index["full"], [])["output"]["error"] == "There is no room."


def test_a_result_without_room_is_one_line(monkeypatch, tmp_path):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match="no room for the result"):
        photos.save_png(Image.new("RGB", (8, 8)), "a.jpg")


def test_more_stuck_jobs_than_threads_leave_room(stuck):
    """Stuck jobs keep their threads; the pool of 40 must not run dry."""
    index = {entry["api_name"]: entry["id"] for entry in endpoints(stuck)[0]}
    blocks_model = [join(stuck, index["hang"], [])[1] for _ in range(3)]
    assert all("longer than" in outcome(stuck, session)["output"]["error"] for session in blocks_model)
    assert send(stuck, index["work"], [])["success"]


# ---- whose Host may be served ---------------------------------------------------------------------------------------


def test_a_local_app_answers_to_its_own_names_alone(app):
    port = httpx.URL(app.url).port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", f"[::1]:{port}"):
        assert CLIENT.get(f"{app.url}config", headers={"Host": host}).status_code == 200, host
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "1.2.3.4"):
        answer = CLIENT.get(f"{app.url}config", headers={"Host": host, "X-Forwarded-Host": "localhost"})
        assert answer.status_code == 403 and "MASKHUB_HOSTS" in answer.json()["detail"], host
        assert CLIENT.get(app.url, headers={"Host": host}).status_code == 403
    for origin in ("https://evil.example", "null", f"http://evil.example:{port}"):
        answer = CLIENT.post(f"{app.url}gradio_api/upload", headers={"Origin": origin}, files={"files": ("a", b"a")})
        assert answer.status_code == 403, origin
    own = {"Origin": app.url.rstrip("/")}
    assert CLIENT.post(f"{app.url}gradio_api/upload", headers=own, files={"files": ("a", b"a")}).status_code == 200


def let_in(url):
    headers = {"Host": "somebody-space.hf.space", "Origin": "https://somebody-space.hf.space"}
    headers |= {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    assert CLIENT.get(f"{url}config", headers=headers).status_code == 200
    answer = CLIENT.post(f"{url}gradio_api/upload", headers=headers, files={"files": ("a", b"a")})
    return answer.status_code == 200


def test_a_space_is_open_to_all(tiny_model, tmp_path):
    space = {"SPACE_ID": "somebody/space", "SPACE_HOST": "somebody-space.hf.space"}
    app = start_app(MASKHUB_MODEL=str(tiny_model), MASKHUB_HOME=str(tmp_path), **space)
    try:
        assert let_in(app.url)
    finally:
        stop_app(app)


@pytest.mark.parametrize(
    ("name", "value"),
    [("GRADIO_SERVER_NAME", "0.0.0.0"), ("MASKHUB_HOSTS", "x.org, Somebody-space.hf.space"), ("MASKHUB_HOSTS", "*")],
)
def test_a_network_and_a_proxy_are_let_in_on_purpose(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with GuardedBlocks(analytics_enabled=False) as blocks:
        gr.Markdown("here")
    launch(blocks)
    try:
        assert let_in(blocks.local_url)
    finally:
        blocks.close()


def test_who_is_local(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.delenv("MASKHUB_HOSTS", raising=False)
    assert allowed_hosts("127.0.0.1") == {"127.0.0.1", "localhost", "::1"}
    assert allowed_hosts("127.0.0.5") >= {"127.0.0.5"} and allowed_hosts("[::1]") and allowed_hosts("localhost")
    assert allowed_hosts("127.0.0.1", share=True) is None
    assert allowed_hosts("0.0.0.0") is None and allowed_hosts("192.168.0.4") is None
    names = {"[::1]:80": "::1", "a.B:1": "a.b", "::1": "::1", "": "", None: "", "[x": "x", "a": "a"}
    assert {host: host_name(host) for host in names} == names


def test_malformed_requests_are_one_line(app):
    calls = [("queue/join", {"fn_index": 10**6, "session_hash": "x", "data": []}), ("call/nothing", {"data": []})]
    calls += [("queue/join", {"fn_index": 0, "session_hash": "x", "data": []}), ("component_server", {"x": 1})]
    for path, body in calls:
        answer = CLIENT.post(f"{app.url}gradio_api/{path}", json=body)
        assert answer.status_code < 500, (path, answer.text)
    assert CLIENT.get(f"{app.url}gradio_api/file=http://example.org/x.png").status_code == 403
