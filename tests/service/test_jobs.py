"""Training jobs: asked for, run one at a time in processes of their own, ended, gone on with after every mishap."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from forked import Forked
from PIL import Image

from maskhub import DenseGenerator, ReimagingPipeline
from maskhub.data.pixel_faces import write_folder
from maskhub.errors import MaskHubError
from maskhub.service import supervisor as supervisors
from maskhub.service.home import OwnerError, held, owner_of
from maskhub.service.jobs import Jobs, Request
from maskhub.service.supervisor import Supervisor
from maskhub.service.uploads import receive
from maskhub.service.webhook import check_webhook, is_public, post
from maskhub.service.worker import LOCK, PROCESS, TAKEN, main

LIGHT = "builtin:pixel-faces/light"


@pytest.fixture
def jobs(home):
    """Jobs of a home with one small model to begin with, so that steps take milliseconds."""
    made = Jobs(home)
    pipeline = ReimagingPipeline(resolution=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline.add("small", DenseGenerator(resolution=32, latent=8, hidden=(16,)), {"tone": "light"})
    pipeline.save_pretrained(home.root / "made")
    made.models.add("small", home.root / "made", owner="")
    return made


def small(**options):
    return Request(LIGHT, init_from="small", **{"max_steps": 50, **options})


def wait(check, supervisor=None, seconds=240):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "waited in vain"
        if supervisor:
            supervisor.tick()
        time.sleep(0.1)


@pytest.fixture
def supervisor(jobs):
    made = Supervisor(jobs)
    yield made
    for child in made._children.values():
        child.kill()
        child.wait()
    made.stop()


@pytest.fixture
def forked(monkeypatch):
    """Jobs are forked instead of started, which saves the seconds of their imports."""

    def start(folder):
        worker = supervisors.__file__.replace("supervisor.py", "worker.py")
        return Forked(worker, folder, output=folder / "log.txt", session=True)

    monkeypatch.setattr(supervisors, "_start", start)


def test_a_job_starts_in_a_process_that_outlives_the_app_and_knows_no_secret(jobs, monkeypatch):
    """A fresh interpreter, here of a job that runs already; the browser tests train in such a one."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    folder = jobs.folder(jobs.submit(small(), key="me").id)
    with FileLock(folder / LOCK):
        process = supervisors._start(folder)
        assert os.getpgid(process.pid) == process.pid  # a group of its own: what ends the app does not end it
        assert b"hf_secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        assert process.wait(240) == TAKEN


def test_a_job_becomes_a_model_and_the_webhook_is_told(jobs, supervisor, forked, hook):
    address, told = hook
    job = jobs.submit(small(attributes={"tone": "light"}, name="mine", webhook=f"{address}/done"), key="me")
    waiting = jobs.submit(small(), key="me")
    supervisor.tick()
    assert jobs.get(job.id).state == "running" and jobs.get(waiting.id).state == "queued"
    wait(lambda: jobs.get(job.id).state != "running", supervisor)
    job = jobs.get(job.id)
    assert (job.state, job.model, job.attempts) == ("finished", "mine", 1), job.message
    now = jobs.progress(job.id)
    assert now.step == now.total == 50 and now.share == 1 and now.line["loss_combined"] > 0
    assert Image.open(now.curves).width > 300 and Image.open(now.samples).width >= 256
    assert not list((jobs.folder(job.id) / "run").glob("**/*.safetensors"))

    entry = jobs.models.get("mine")
    assert entry.attributes == {"tone": "light"} and entry.facts["dataset"] == LIGHT and entry.facts["steps"] == 50
    pipeline = ReimagingPipeline.from_pretrained(entry.path)
    assert pipeline.generators["mine"].config.hidden == [16]
    wait(lambda: told)
    assert told[0]["state"] == "finished" and told[0]["model"] == "mine" and told[0]["steps"] == 50

    wait(lambda: jobs.get(waiting.id).state == "running", supervisor)  # its turn
    with pytest.raises(OwnerError, match="somebody else"):
        jobs.cancel(waiting.id, "you")
    wait(lambda: held(jobs.folder(waiting.id) / LOCK), supervisor)
    jobs.cancel(waiting.id, "me")
    wait(lambda: not jobs.get(waiting.id).active, supervisor)
    assert jobs.get(waiting.id).state == "cancelled" and not held(jobs.folder(waiting.id) / LOCK)
    jobs.remove(waiting.id, "me")
    assert [entry.id for entry in jobs.list()] == [job.id]
    with pytest.raises(OwnerError):
        jobs.remove_model("mine", "you")
    jobs.remove_model("mine", "me")
    assert [entry.name for entry in jobs.models.list()] == ["small"]


@pytest.mark.slow
def test_a_job_that_lives_is_adopted_and_one_that_died_goes_on(jobs, supervisor, forked):
    job = jobs.submit(small(max_steps=200), key="me")
    folder = jobs.folder(job.id)
    supervisor.tick()
    wait(lambda: jobs.progress(job.id).step >= 30, supervisor)
    first = json.loads((folder / PROCESS).read_text())["pid"]

    supervisor._lock.release()  # the app is gone, another one comes
    child = supervisor._children.pop(job.id)
    second = Supervisor(jobs)
    try:
        second.tick()
        assert second._children == {} and jobs.get(job.id).attempts == 1  # adopted
        assert supervisors._start(folder).wait(240) == TAKEN

        os.killpg(first, signal.SIGKILL)  # a power cut
        child.wait()
        wait(lambda: not held(folder / LOCK))
        done = jobs.progress(job.id).step
        second.tick()
        again = jobs.get(job.id)
        assert again.state == "running" and len(second._children) == 1
        assert again.last_step > 0 or done >= 200
        wait(lambda: not jobs.get(job.id).active, second)
        assert jobs.get(job.id).state == "finished", jobs.get(job.id).message
        assert "resuming from" in (folder / "log.txt").read_text()
        steps = [line["step"] for line in jobs.metrics(job.id)]
        assert steps == sorted(set(steps)) and steps[-1] == 200
    finally:
        second.stop()


def test_only_one_app_supervises(jobs, supervisor):
    supervisor.tick()
    job = jobs.submit(small(), key="me")
    other = Supervisor(jobs)
    other.tick()
    assert jobs.get(job.id).state == "queued" and not other._children
    jobs.cancel(job.id, "me")
    supervisor.tick()
    assert jobs.get(job.id).state == "cancelled" and not supervisor._children


def test_a_job_that_only_dies_is_given_up(jobs, supervisor, monkeypatch):
    def start(folder):
        return subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])

    monkeypatch.setattr(supervisors, "_start", start)
    job = jobs.submit(small(), key="me")
    wait(lambda: jobs.get(job.id).state == "failed", supervisor)
    assert "ended 3 times without a new step" in jobs.get(job.id).message


LIMITED = pytest.param("it took longer than 0.0001 hours, the limit here.", marks=pytest.mark.slow)


@pytest.mark.parametrize("why", ["it was stopped early.", LIMITED])
def test_a_job_that_ends_early_keeps_what_it_has_learnt(jobs, supervisor, forked, monkeypatch, why):
    job = jobs.submit(small(max_steps=20_000, name="early"), key="me")
    supervisor.tick()
    wait(lambda: jobs.progress(job.id).step >= 10, supervisor)
    assert jobs.get(job.id).state == "running"
    if "stopped" in why:
        jobs.cancel(job.id, "me", keep=True)
    else:
        monkeypatch.setenv("MASKHUB_MAX_HOURS", "0.0001")
    wait(lambda: not jobs.get(job.id).active, supervisor)
    over = jobs.get(job.id)
    assert (over.state, over.model, over.message) == ("finished", "early", why)
    assert not held(jobs.folder(job.id) / LOCK) and 10 <= jobs.progress(job.id).step < 20_000
    entry = jobs.models.get("early")
    assert entry.facts["steps"] == jobs.progress(job.id).step
    assert "early" in ReimagingPipeline.from_pretrained(entry.path).generators


def test_a_job_that_has_learnt_nothing_is_only_cancelled(jobs, supervisor, monkeypatch):
    monkeypatch.setattr(supervisors, "_start", lambda folder: subprocess.Popen([sys.executable, "-c", ""]))
    job = jobs.submit(small(), key="me")
    supervisor.tick()
    jobs.cancel(job.id, "me", keep=True)
    wait(lambda: not jobs.get(job.id).active, supervisor)
    assert jobs.get(job.id).state == "cancelled" and not jobs.models.root.joinpath(job.name).exists()


@pytest.mark.parametrize("text", ["", "never", "0", "-1"])
def test_without_a_limit_that_makes_sense_it_is_two_hours(text, monkeypatch):
    monkeypatch.setenv("MASKHUB_MAX_HOURS", text)
    assert supervisors.max_hours() == 2


def test_a_failure_is_said_in_one_line_and_the_next_job_starts(jobs, supervisor, forked, tmp_path):
    write_folder("builtin:pixel-faces/light", tmp_path / "faces")
    receive(jobs.home, sorted((tmp_path / "faces").glob("*.*")), "faces", key="me")
    job = jobs.submit(replace(small(), dataset="faces", attributes={"tone": "light"}), key="me")
    for path in (jobs.home.datasets / "faces" / "train").glob("*.png"):
        path.unlink()  # by hand, behind the service's back
    wait(lambda: not jobs.get(job.id).active, supervisor)
    failed = jobs.get(job.id)
    assert failed.state == "failed" and "holds no photo" in failed.message and "Traceback" not in failed.message


def test_a_dataset_in_use_stays_as_it_is(jobs, tmp_path):
    write_folder("builtin:pixel-faces/light", tmp_path / "faces")
    files = sorted((tmp_path / "faces").glob("*.*"))
    receive(jobs.home, files, "faces", key="me")
    job = jobs.submit(replace(small(), dataset="faces"), key="me")
    with pytest.raises(MaskHubError, match="a job needs faces"):
        jobs.datasets.remove("faces", "me")
    jobs.write(replace(job, state="running"))
    with pytest.raises(MaskHubError, match="is training on faces"):
        receive(jobs.home, files, "faces", key="me")
    jobs.models.remove("small")
    jobs.models.add("small", jobs.home.root / "made", owner=owner_of("me"))
    with pytest.raises(MaskHubError, match="a job starts from small"):
        jobs.remove_model("small", "me")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "nowhere"}, "no dataset 'nowhere'"),
        ({"dataset": "../jobs"}, "can't be called"),
        ({"max_steps": 10**6}, "steps must be from 1 to"),
        ({"attributes": {"tone": "green"}}, "only 0 training pictures"),
        ({"init_from": "nowhere"}, "no model 'nowhere'"),
        ({"name": "../../x"}, "can't be called"),
        ({"name": "small"}, "already a model 'small'"),
        ({"resolution": 4096, "init_from": ""}, "resolution must be"),
        ({"learning_rate": 0.0}, "learning rate"),
        ({"webhook": "file:///etc/passwd"}, "an address such as"),
        ({"webhook": "http://169.254.169.254/latest/meta-data"}, "not a public one"),
    ],
)
def test_what_can_not_be_is_said_before_it_waits(jobs, change, words):
    with pytest.raises(MaskHubError, match=words):
        jobs.submit(replace(small(), **change), key="me")
    assert jobs.list() == []


def test_a_job_that_starts_from_a_model_has_its_network(jobs):
    options = jobs.submit(small(architecture="dcgan", resolution=64), key="me").options
    assert (options["architecture"], options["resolution"], options["hidden"]) == ("dense", 32, [16])
    assert "width" not in options  # of the other network


def test_nobody_fills_the_queue(jobs):
    made = [jobs.submit(small(), key="me") for _ in range(3)]
    assert len({job.name for job in made}) == 3
    with pytest.raises(MaskHubError, match="too many jobs"):
        jobs.submit(small(), key="me")
    jobs.submit(small(), key="you")


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/", "http://localhost:8080/", "http://[::1]/", "http://10.0.0.8/", "http://[::ffff:10.0.0.8]/",
     "http://192.168.1.1/", "http://0.0.0.0/", "http://2130706433/", "http://100.64.0.1/", "http://224.0.0.1/",
     "http://[64:ff9b::127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[64:ff9b::8.8.8.8]/",
     "http://[64:ff9b:1::10.0.0.1]/", "http://[64:ff9b:1:abcd::1]/", "http://[2002:7f00:1::]/",
     "http://[2002:a00:1::1]/", "http://[::127.0.0.1]/", "http://[::8.8.8.8]/", "http://[::ffff:8.8.8.8]/",
     "http://[::ffff:0:127.0.0.1]/", "http://[2001:0:53aa:64c:0:0:80ff:fffe]/", "http://[2001:db8::1]/",
     "http://[2001:2::1]/", "http://[2001:20::1]/", "http://[3fff::1]/", "http://[fc00::1]/", "http://[fe80::1]/",
     "http://[fec0::1]/", "http://[ff02::1]/", "http://[100::1]/", "http://[::]/", "http://[5f00::1]/",
     "http://192.88.99.1/", "http://198.18.0.1/", "http://203.0.113.1/", "http://240.0.0.1/", "http://255.255.255.255/",
     "http://169.254.169.254/", "http://192.0.0.1/", "http://0x7f.1/", "http://017700000001/"],
)  # fmt: skip
def test_webhooks_do_not_reach_into_this_machine_or_its_network(address):
    with pytest.raises(MaskHubError, match="not a public one"):
        check_webhook(address)
    assert "not a public one" in post(address, {})


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"])
def test_public_addresses_are_public(text):
    assert is_public(text)


def test_a_webhook_goes_to_the_address_that_was_checked(hook, monkeypatch):
    """A name that answers otherwise the second time (DNS rebinding) is looked up once only."""
    address, told = hook
    port = int(address.rsplit(":", 1)[1])
    looked_up, real = [], socket.getaddrinfo

    def lookup(host, *args, **kwargs):
        if host != "rebinding.example":
            return real(host, *args, **kwargs)
        looked_up.append(host)
        place = "127.0.0.1" if len(looked_up) == 1 else "10.255.255.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert post(f"http://rebinding.example:{port}/x", {"a": 1}) == ""
    assert told == [{"a": 1}] and looked_up == ["rebinding.example"]
    monkeypatch.delenv("MASKHUB_WEBHOOK_PRIVATE")
    looked_up.clear()
    assert "not a public one" in post(f"http://rebinding.example:{port}/x", {"a": 2}) and len(told) == 1


def test_webhooks_follow_nobody_and_failures_are_only_noted(hook):
    address, told = hook
    assert post(f"{address}/ok", {"a": 1}) == "" and told == [{"a": 1}]
    assert "answered 302" in post(f"{address}/away", {})
    assert "could not be called" in post("http://127.0.0.1:9/", {})
    assert check_webhook("") == "" and check_webhook(f" {address} ") == address


def test_a_lock_tells_the_living_from_the_dead(tmp_path):
    lock = FileLock(tmp_path / LOCK)
    with lock:
        assert held(tmp_path / LOCK) and main(tmp_path) == TAKEN
    assert not held(tmp_path / LOCK) and not held(tmp_path / "none")
