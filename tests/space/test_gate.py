"""What visitors may send has bounds: bodies, uploads, places in the queue. Photos go with the app, however it ends."""

import asyncio
import os
import threading
import time
from collections import Counter
from pathlib import Path

import gradio as gr
import httpx
import psutil
import pytest
from app_process import PATIENCE, start_app, stop_app
from events import ASTRONAUT, CLIENT, endpoints, join, outcome, send, upload

from space import temporary
from space.demo import launch
from space.fair_queue import PLACES
from space.gate import Bounds, Gate, visitor
from space.guarded import GuardedBlocks

MB = 2**20


def as_visitor(address):
    return {"X-Forwarded-For": address}


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Serves a small app with these bounds; its address."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    served = []

    def start(blocks, **bounds):
        served.append(blocks)
        launch(blocks.queue(default_concurrency_limit=1, max_size=32, api_open=False), Bounds(**bounds))
        return blocks.local_url

    yield start
    for blocks in served:
        blocks.close()


@pytest.fixture
def plain():
    with GuardedBlocks(analytics_enabled=False) as blocks:
        text = gr.Textbox()
        gr.Button().click(lambda value: len(value), text, text, api_name="count")
    return blocks


def chunks(size, begin=b'{"data": ["', end=b'"]}'):
    """A body without a Content-Length."""
    yield begin
    for _ in range(size // MB):
        yield b"x" * MB
    yield end


def test_a_body_is_bounded_in_memory_whether_its_length_is_said_or_not(app):
    process = psutil.Process(app.process.pid)
    before, most = process.memory_info().rss, 0
    json = {"content-type": "application/json"}

    def watch():
        nonlocal most
        while not done.wait(0.02):
            most = max(most, process.memory_info().rss)

    done = threading.Event()
    threading.Thread(target=watch).start()
    try:
        for path in (
            "gradio_api/call/mask",
            "gradio_api/queue/join",
            "gradio_api/component_server",
            "gradio_api/cancel",
        ):
            with httpx.Client(timeout=PATIENCE) as client:  # the connection is closed after a refusal
                try:
                    answer = client.post(f"{app.url}{path}", content=chunks(100 * MB), headers=json)
                    assert answer.status_code == 413, (path, answer.text)
                except (httpx.WriteError, httpx.ReadError):  # refused while it still sent
                    pass
        answer = CLIENT.post(f"{app.url}gradio_api/call/mask", content=b"[" * (5 * MB), headers=json)
        assert answer.status_code == 413
        answer = CLIENT.post(f"{app.url}gradio_api/call/mask", content=b"[" * (3 * MB), headers=json)
        assert 400 <= answer.status_code < 500
    finally:
        done.set()
    assert most - before < 150 * MB, (before // MB, most // MB)


def test_an_event_costs_no_summary_of_those_before_it(serve, plain, monkeypatch):
    """gradio's takes ten times as long as the rest of a short event."""
    tables, url = [], serve(plain)
    monkeypatch.setattr("pandas.DataFrame", lambda *args: tables.append(args))
    (event,) = (entry["id"] for entry in endpoints(url)[0])
    for _ in range(3):  # the summary of one is made while the next one runs
        assert send(url, event, ["four"])["output"]["data"] == ["4"]
    assert tables == []


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_uploads_are_bounded_by_request_by_visitor_and_in_all(serve, plain, tmp_path):
    url = serve(plain, upload=3 * MB, visitor=5 * MB, total=8 * MB, least=1000)

    def send(size, address, count=1):
        files = [("files", (f"{n}.jpg", os.urandom(size))) for n in range(count)]
        return CLIENT.post(f"{url}gradio_api/upload", files=files, headers=as_visitor(address)).status_code

    assert send(MB, "203.0.113.1") == 200
    assert send(MB, "203.0.113.1", count=4) == 413  # one upload
    here = files_in(tmp_path)
    assert len(here) == 1, here  # and nothing is left of it
    assert [send(2 * MB, "203.0.113.1") for _ in range(3)] == [200, 413, 413]  # one visitor
    assert send(2 * MB, "203.0.113.2") == 200  # another
    assert [send(2 * MB, f"198.51.100.{n}") for n in range(3)] == [413, 413, 413]  # all of them together
    assert sum(path.stat().st_size for path in files_in(tmp_path)) <= 8 * MB

    def streamed():
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        yield from (b"x" * MB for _ in range(9))

    headers = as_visitor("203.0.113.9") | {"content-type": "multipart/form-data; boundary=b"}
    with httpx.Client() as client:
        assert client.post(f"{url}gradio_api/upload", content=streamed(), headers=headers).status_code == 413


@pytest.mark.browser
@pytest.mark.parametrize("together", [False, True])
def test_no_answer_is_lost_while_the_stream_of_answers_closes(serve, chromium, monkeypatch, together):
    """The message that ends the stream comes late, when the page has already sent the next event; also together with
    the end of the stream itself, of which the page then knows before it has read the message."""
    passed = Gate._passed

    async def late(gate, scope, receive, send, who):
        last = b""

        async def slow(message):
            nonlocal last
            if scope["path"].endswith("/queue/data") and b"close_stream" in message.get("body", b""):
                await asyncio.sleep(0.3)
                if together:
                    last = message["body"]
                    return
            if last:
                message, last = message | {"body": last + message.get("body", b"")}, b""
            await send(message)

        await passed(gate, scope, receive, slow, who)

    monkeypatch.setattr(Gate, "_passed", late)
    with GuardedBlocks(analytics_enabled=False) as blocks:
        first, second = gr.Textbox(elem_id="first"), gr.Textbox(elem_id="second")
        event = gr.Button(elem_id="go").click(lambda: "one", None, first)
        event = event.then(lambda text: f"{text}, two", first, second)
        for _ in range(5):
            event = event.then(lambda text: f"{text}, two", second, second)
    page = chromium.new_page()
    page.goto(serve(blocks))
    page.click("#go")
    page.wait_for_function(f"document.querySelector('#second :is(input, textarea)')?.value == 'one{6 * ', two'}'")
    page.close()


def test_uploads_of_an_hour_ago_count_no_more(serve, plain, monkeypatch):
    url = serve(plain, visitor=2 * MB, least=1000)
    upload(url, "a.jpg", os.urandom(MB + MB // 2))
    with pytest.raises(httpx.HTTPStatusError):
        upload(url, "b.jpg", os.urandom(MB))
    real = time.monotonic
    monkeypatch.setattr("space.gate.time.monotonic", lambda: real() + 3700)
    upload(url, "b.jpg", os.urandom(MB))


def test_requests_at_the_same_time_are_bounded(serve, plain):
    url = serve(plain, requests=3)
    streams = [
        CLIENT.stream("GET", f"{url}gradio_api/heartbeat/{n}", headers=as_visitor("203.0.113.1")) for n in range(3)
    ]
    for stream in streams:
        stream.__enter__()
    try:
        assert CLIENT.get(f"{url}config", headers=as_visitor("203.0.113.1")).status_code == 429
        assert CLIENT.get(f"{url}config", headers=as_visitor("203.0.113.2")).status_code == 200
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)


def test_one_visitor_neither_fills_the_queue_nor_goes_first(serve):
    release, order = threading.Event(), []

    def work(who):
        order.append(who)
        release.wait(PATIENCE)

    with GuardedBlocks(analytics_enabled=False) as blocks:
        text = gr.Textbox()
        gr.Button().click(work, text, None, concurrency_id="model", api_name="work")
    url = serve(blocks)
    (event,) = (entry["id"] for entry in endpoints(url)[0])
    people = ["203.0.113.1", "203.0.113.2", "2001:4860::1"]
    sessions = []
    for who, wanted in ((people[0], 20), (people[1], 2), (people[2], 1)):
        for _ in range(wanted):
            answer, session = join(url, event, [who], headers=as_visitor(who))
            if answer.status_code == 200:
                sessions.append(session)
            else:
                assert answer.status_code == 503 and f"{PLACES} jobs waiting" in answer.json()["detail"]
            while not order:  # the first is at work
                time.sleep(0.01)
    # the same network
    assert join(url, event, ["x"], headers=as_visitor("2001:4860::2"))[0].status_code == 200
    release.set()
    for session in sessions:
        assert outcome(url, session)["success"]
    assert Counter(order)[people[0]] == 1 + PLACES
    assert order[:4] == [people[0], people[1], people[2], people[0]], order


def test_who_a_visitor_is(monkeypatch):
    def scope(client, *forwarded):
        headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
        return {"type": "http", "client": (client, 1) if client else None, "headers": headers}

    monkeypatch.delenv("SPACE_ID", raising=False)
    assert visitor(scope("127.0.0.1")) == visitor(scope("::1")) == visitor(scope(None)) == ""
    assert visitor(scope("::ffff:127.0.0.1")) == "" and visitor(scope("::ffff:8.8.8.8")) == "8.8.8.8"
    assert visitor(scope("192.168.0.7", "8.8.8.8")) == "192.168.0.7"  # its own word does not count
    assert visitor(scope("2a00:1450:1:1:2:3:4:5")) == visitor(scope("2a00:1450:1:1::9")) == "2a00:1450:1:1::/64"
    monkeypatch.setenv("SPACE_ID", "a/b")
    assert visitor(scope("10.0.0.1", "1.1.1.1, 8.8.8.8, 10.9.9.9")) == "8.8.8.8"
    assert visitor(scope("10.0.0.1", "1.1.1.1", "nonsense, 8.8.8.8")) == "8.8.8.8"
    assert visitor(scope("10.0.0.1")) == visitor(scope("10.0.0.1", "10.2.2.2")) == "10.0.0.1"


def test_old_photos_go_and_examples_stay(serve, tmp_path):
    with GuardedBlocks(analytics_enabled=False) as blocks:
        image = gr.Image(type="filepath")
        gr.Examples([str(ASTRONAUT)], image)
    url = serve(blocks)
    sent = Path(upload(url, "me.jpg", b"photo"))
    (tmp_path / "half-sent").write_bytes(b"phot")
    examples = set(files_in(tmp_path)) - {sent, tmp_path / "half-sent"}
    assert examples
    temporary.clean(blocks, tmp_path)
    assert sent.exists()
    temporary.clean(blocks, tmp_path, now=time.time() + temporary.KEEP + 60)
    assert set(files_in(tmp_path)) == examples and not sent.parent.exists()


@pytest.mark.parametrize("proxied", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_killed_apps_photos_go_at_the_next_start_which_no_proxy_hinders(proxied, tiny_model, tmp_path):
    settings = {"MASKHUB_MODEL": str(tiny_model), "MASKHUB_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    if proxied:
        settings |= {"ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks5://127.0.0.1:9"}
    killed = start_app(fresh=proxied, **settings)
    photo = Path(upload(killed.url, "me.jpg", ASTRONAUT.read_bytes()))
    assert photo.is_relative_to(tmp_path)
    killed.process.kill()
    killed.process.wait()
    assert photo.exists()
    app = start_app(**settings)
    try:
        assert not photo.exists() and len(list(tmp_path.glob(f"{temporary.PREFIX}*/"))) == 1
    finally:
        assert stop_app(app) == 0
    assert list(tmp_path.glob(f"{temporary.PREFIX}*")) == []
