"""Any JSON to any endpoint of the app: an answer of one line, no traceback, no hang, and the app lives on."""

import itertools
import json
import os
import random
import sys
from pathlib import Path

import httpx
import psutil
import pytest
import torch
from app_process import start_app, stop_app

sys.path.insert(0, str(Path(__file__).parents[1] / "space"))

from events import CLIENT, endpoints, join, outcome, send, upload

from maskhub import FaceMaskPipeline, ResnetGenerator

ROUNDS = [pytest.param(60, id="60"), pytest.param(2000, id="2000", marks=pytest.mark.slow)]
MEMORY = 400 * 2**20
SLOW = ("train", "quiz-begin")
"""Buttons left out: a job trains for minutes, whatever its fields are."""
ATOMS = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**70),
    1e308,
    0.5,
    "",
    "a",
    "0",
    "-1",
    "None",
    "builtin:pixel-faces",
]
ATOMS += [
    "../..",
    "/etc/passwd",
    "\0",
    "\u202e",
    "é" * 50,
    "x" * 20_000,
    "{",
    "=cmd",
    "<script>",
    "mask",
    "random",
    "a=b",
]
ATOMS += [
    "data:image/png;base64,AAAA",
    "data:,",
    "data:image/png;base64,!",
    "http://127.0.0.1:9/a",
    "file:///etc/passwd",
]
KEYS = [
    "path",
    "url",
    "meta",
    "orig_name",
    "size",
    "mime_type",
    "is_stream",
    "value",
    "__type__",
    "image",
    "video",
    "data",
]
RAW = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"1e999",
    b'"x"',
    b"\xff\xfe",
    b"{}",
    b'{"data": null}',
    b'{"data": {}}',
    b"[" * 50_000,
]
RAW += [b'{"data": [' + b"[" * 900 + b"]" * 900 + b"]}", b'{"data": [NaN, Infinity]}', b'{"data": ["\\ud800"]}']


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The app with an untrained pipeline."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = {name: ResnetGenerator(width=8, blocks=1) for name in ("masker", "unmasker")}
    folder = tmp_path_factory.mktemp("fuzzed")
    FaceMaskPipeline(**networks, resolution=64).save_pretrained(folder / "model")
    app = start_app(MASKHUB_MODEL=str(folder / "model"), MASKHUB_HOME=str(folder / "home"), TMPDIR=str(folder))
    yield app
    assert stop_app(app) == 0
    printed = app.output
    assert "Traceback" not in printed, printed[printed.index("Traceback") :][:5000]
    # gradio's handler of examples trusts what it gets
    failed = [line for line in printed.splitlines() if " failed: " in line and "gradio/helpers.py" not in line]
    assert not failed, failed


def junk(chance, files, depth=0):
    """Random JSON, of the shapes that gradio's own has."""
    kind = chance.random()
    if depth > 3 or kind < 0.5:
        return chance.choice([*ATOMS, *files])
    if kind < 0.7:
        return [junk(chance, files, depth + 1) for _ in range(chance.randrange(4))]
    if kind < 0.8:
        return {"path": chance.choice(files), "meta": {"_type": "gradio.FileData"}, "orig_name": junk(chance, files, 4)}
    return {chance.choice(KEYS): junk(chance, files, depth + 1) for _ in range(chance.randrange(5))}


def bodies(chance, events, components, files):
    """An event with its own data, in which some fields are something else."""
    event = chance.choice(events)
    data = [components[id]["props"].get("value") for id in event["inputs"]]
    for _ in range(chance.randint(1, 3)):
        data[chance.randrange(len(data))] = junk(chance, files)
    if chance.random() < 0.1:
        data = data[: chance.randrange(len(data) + 1)] + [junk(chance, files)] * chance.randrange(3)
    more = {}
    if chance.random() < 0.3:
        name = chance.choice(["event_data", "trigger_id", "simple_format", "batched", "oauth_token", "event_id"])
        more[name] = junk(chance, files)
    return event, data, more


@pytest.mark.parametrize("rounds", ROUNDS)
def test_whatever_json_an_endpoint_gets(app, tmp_path, rounds):
    every, components = endpoints(app.url)
    left_out = {id for id, component in components.items() if component["props"].get("elem_id") in SLOW}
    events = [event for event in every if event["inputs"] and not left_out & {target[0] for target in event["targets"]}]
    text = upload(app.url, "notes.txt", b"not a picture")
    files = [text, upload(app.url, "cut.png", b"\x89PNG\r\n\x1a\n" + os.urandom(50)), str(tmp_path)]
    process = psutil.Process(app.process.pid)
    send(app.url, events[0]["id"], [None])
    before = process.memory_info().rss
    for seed in range(rounds):
        event, data, more = bodies(random.Random(seed), events, components, files)
        try:
            answer, session = join(app.url, event["id"], data, session=f"fuzz-{seed % 20}", **more)
        except ValueError:  # infinities, which httpx sends to nobody
            continue
        assert answer.status_code < 500, (seed, event["id"], data, answer.text)
        if answer.status_code == 200:
            done = outcome(app.url, session, timeout=120)
            error = (done["output"] or {}).get("error")
            assert done["success"] or isinstance(error, str), (seed, event["targets"], data, done)
            assert "\n" not in (error or ""), (seed, error)
    assert app.process.poll() is None and process.memory_info().rss - before < MEMORY
    mask = next(event["id"] for event in every if event["api_name"] == "mask")
    assert "no photo yet" in send(app.url, mask, [None])["output"]["error"]


def test_whatever_bytes_an_address_gets(app):
    paths = [
        "call/mask",
        "call/v2/mask",
        "run/mask",
        "run/x",
        "queue/join",
        "cancel",
        "reset",
        "component_server",
        "upload",
    ]
    paths += ["stream/x", "stream/x/close", "process_recording", "vibe-edit", "vibe-code", "call/none", "queue/data"]
    types = ["application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=b", ""]
    for path, body in itertools.product(paths, RAW):
        for kind in types[: 1 + (len(body) % 5)]:
            answer = CLIENT.post(f"{app.url}gradio_api/{path}", content=body, headers={"content-type": kind})
            assert 200 <= answer.status_code < 500, (path, body[:60], kind, answer.text)
    odd = {"fn_index": -1, "session_hash": [], "data": "x"}
    for name, value in itertools.product(["fn_index", "session_hash", "data", "trigger_id", "event_id"], ATOMS):
        try:
            answer = CLIENT.post(
                f"{app.url}gradio_api/queue/join", content=json.dumps({**odd, "data": [], name: value})
            )
        except (UnicodeEncodeError, httpx.HTTPError):
            continue
        assert answer.status_code < 500, (name, value, answer.text)
