"""Which job the Train tab shows: one that is gone never undoes the choice of another one that was made meanwhile."""

import shutil
import threading

import gradio as gr
import pytest
from app_process import PATIENCE
from service_app import ME, choose
from starlette.testclient import TestClient
from visit import until

from maskhub.service.jobs import Request
from space import job_display, rooms, tabs
from space.demo import launch
from space.guarded import GuardedBlocks
from space.tabs import train


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """A home as the tabs see it, where no job is ever started."""
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path / "home"))
    rooms.jobs.cache_clear()
    yield rooms.jobs()
    rooms.jobs.cache_clear()


def page_of_tab():
    """The Train tab alone."""
    with GuardedBlocks(analytics_enabled=False) as demo, gr.Tabs(), gr.Tab(train.TITLE):
        tabs.build(train, None)
    return demo


@pytest.fixture
def page(jobs, chromium, monkeypatch):
    """A browser on the Train tab, served from this process."""
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    monkeypatch.setenv("GRADIO_SERVER_NAME", "127.0.0.1")
    demo = page_of_tab()
    launch(demo)
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(f"localStorage.setItem('maskhub-key', '{ME}')")
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(demo.local_url)
    yield page
    context.close()
    demo.close()


def started(jobs, name):
    return jobs.submit(Request("builtin:pixel-faces", name=name, max_steps=50), ME)


def test_the_choice_of_the_job_is_left_to_the_browser(jobs):
    assert "value" not in train.look(None, ME, {})[0]
    first = started(jobs, "first")
    shown, *_, instead = train.look(None, ME, {})  # nothing was chosen
    assert "value" not in shown and instead == f"|{first.id}"
    shown, *_, instead = train.watch("gone", ME, {})
    assert "value" not in shown and instead == "gone|"
    assert train.watch(first.id, ME, {})[-1] == gr.skip()


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_a_choice_outlasts_the_job_before_it(jobs, page, monkeypatch):
    first, second = started(jobs, "first"), started(jobs, "second")
    box = page.locator("#train-job input")
    box.wait_for()
    page.wait_for_function("document.querySelector('#train-job input')?.value.startsWith('second')")
    choose(page, "train-job", "first")
    page.locator("#train-progress p", has_text="Next in line").wait_for()

    asked, answered, choices = threading.Event(), threading.Event(), job_display.job_choices

    def late(key):
        asked.set()
        answered.wait(60)
        return choices(key)

    shutil.rmtree(jobs.folder(first.id))  # from another page
    monkeypatch.setattr(job_display, "job_choices", late)
    assert asked.wait(60)  # the timer has asked for the job that is gone
    choose(page, "train-job", "second")
    answered.set()
    page.locator("#train-progress p", has_text="Next in line").wait_for()
    page.wait_for_timeout(2000)
    assert box.input_value().startswith("second")
    shutil.rmtree(jobs.folder(second.id))
    page.wait_for_function("document.querySelector('#train-job input')?.value === ''")


def test_a_job_that_is_newer_than_the_last_answer_is_shown(jobs):
    demo = page_of_tab()
    client = TestClient(gr.routes.App.create_app(demo))
    fn_index = next(number for number, event in demo.fns.items() if event.fn is train.watch)

    def watched(id):
        given = {"fn_index": fn_index, "data": [id, ME, None], "session_hash": "here"}
        answer = client.post("/gradio_api/run/predict", json=given)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"][1]

    assert watched(None) == ""
    assert "Next in line" in watched(started(jobs, "first").id)


@pytest.mark.browser
@pytest.mark.timeout(600)
def test_the_second_of_two_first_jobs_is_shown(jobs, page, monkeypatch):
    """The button is clicked twice, and the answer about the first job comes after the second one has begun."""
    begun, asked, answered, choices = [], threading.Event(), threading.Event(), job_display.job_choices

    def late(key):
        found = choices(key)
        if len(found) == 1 and begun:
            asked.set()
            answered.wait(60)
        begun.extend(found)
        return found

    monkeypatch.setattr(job_display, "job_choices", late)
    page.locator("#train-count img").first.wait_for()
    page.click("#train")
    until(page, asked.is_set)  # the page asks for the first job
    page.click("#train")
    shown = "document.querySelector('#train-job input')?.value.startsWith('builtin-pixel-faces-2 ')"
    page.wait_for_function(shown)
    answers = []
    page.on("response", lambda response: "run/predict" in response.url and answers.append(response.status))
    answered.set()
    until(page, lambda: len(answers) > 3)  # that answer, and those of the timer
    page.wait_for_function(shown)
    page.locator("#train-progress p", has_text="Next in line").wait_for()
    assert set(answers) == {200}
