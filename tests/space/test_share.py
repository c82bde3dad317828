"""Pushing from the tabs to the loopback Hub: with a typed token, as who signed in, never with a Space's own token."""

import base64
import hashlib
import json
import time

import gradio as gr
import gradio.oauth
import pytest
import torch
from app_process import PATIENCE
from datasets import load_dataset
from huggingface_hub import HfApi, hf_hub_download
from itsdangerous import TimestampSigner
from service_app import choose

import space.share
from maskhub import DenseGenerator, ReimagingPipeline
from maskhub.data.pixel_faces import write_folder
from maskhub.hub import save_pipeline
from maskhub.service.uploads import receive
from space import rooms, tabs
from space.demo import launch
from space.tabs import dataset, train

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SECRET = "the Space's"


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """A home with a dataset and a model, as the tabs see it."""
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path / "home"))
    rooms.jobs.cache_clear()
    for split in ("train", "test"):
        write_folder(f"builtin:pixel-faces/light:{split}", tmp_path / split)
        files = [*sorted((tmp_path / split).glob("*.png"))[:8], tmp_path / split / "metadata.csv"]
        receive(rooms.jobs().home, files, "my-faces", split, key="me")
    pipeline = ReimagingPipeline(resolution=32)
    pipeline.add("light", DenseGenerator(resolution=32, latent=8, hidden=(16,)), {"tone": "light"})
    save_pipeline(pipeline, tmp_path / "made", "# light\n`THIS_REPOSITORY`\n", variants=())
    rooms.jobs().models.add("light", tmp_path / "made", owner="somebody", dataset="my-faces")
    yield rooms.jobs()
    rooms.jobs.cache_clear()


@pytest.fixture
def page(jobs, chromium, monkeypatch):
    """Opens a browser on the two tabs, served from this process, with these cookies."""
    opened = []

    def start(**cookies):
        if not opened:
            with gr.Blocks(analytics_enabled=False) as demo, gr.Tabs():
                for tab in (dataset, train):
                    with gr.Tab(tab.TITLE):
                        tabs.build(tab, None)
            opened.append(demo)
            launch(demo)
        url = opened[0].local_url
        opened.append(chromium.new_context(viewport={"width": 1280, "height": 900}))
        opened[-1].add_cookies([{"name": name, "value": text, "url": url} for name, text in cookies.items()])
        page = opened[-1].new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(url)
        return page

    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    monkeypatch.setenv("GRADIO_SERVER_NAME", "127.0.0.1")
    yield start
    for thing in reversed(opened):
        thing.close()


def push(page, kind, repo="", token=""):
    """Fill in the form and push; returns the line for what is said then."""
    page.get_by_role("tab", name="Dataset" if kind == "dataset" else "Train", exact=True).click()
    if not page.locator(f"#{kind}-push").is_visible():
        page.locator(f"#{kind}-share button").first.click()
    page.fill(f"#{kind}-repo input, #{kind}-repo textarea", repo)
    page.fill(f"#{kind}-token input", token)
    page.click(f"#{kind}-push")
    return page.locator(f"#{kind}-pushed p")


def choose_dataset(page):
    page.locator("#browse img").first.wait_for()
    choose(page, "browse-dataset", "my-faces")
    page.locator("#browse-count", has_text="16 pictures").wait_for()


@pytest.mark.slow  # without a token, and a dataset's push, are below
def test_a_dataset_and_a_model_with_a_typed_token(page, hub_user, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    page, api = page(), HfApi(token=hub_user.token)
    push(page, "dataset", hub_user.repo("x"), hub_user.token).filter(has_text="drawn by code").wait_for()
    choose_dataset(page)
    repo = hub_user.repo("my-faces")
    for token, given, words in (
        ("", repo, "Give a token with write access"),
        (hub_user.token, "", "Name the repository"),
        ("hf_wrong", repo, "does not know this token"),
        (hub_user.read_token, repo, "write access to that user"),
        (hub_user.token, "not an id", "a repository id looks like user/name"),
    ):
        push(page, "dataset", given, token).filter(has_text=words).wait_for()
    assert not api.repo_exists(repo, repo_type="dataset")

    push(page, "dataset", repo, hub_user.token).filter(has_text=f"Pushed to {api.endpoint}/datasets/{repo}").wait_for()
    assert page.input_value("#dataset-token input") == ""
    names = api.list_repo_files(repo, repo_type="dataset")
    assert {"README.md", "train/metadata.csv", "test/metadata.csv"} < {*names} and len(names) == 19
    assert not [name for name in names if "/." in f"/{name}"]  # whose it is stays here
    assert api.dataset_info(repo).private
    loaded = load_dataset(repo, cache_dir=str(tmp_path / "cache"), token=hub_user.token)
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 8, "test": 8}
    assert loaded["train"][0]["tone"] == "light" and loaded["train"][0]["image"].size == (32, 32)

    repo = hub_user.repo("light")
    push(page, "model", repo, hub_user.token).filter(has_text=f"Pushed to {api.endpoint}/{repo}").wait_for()
    assert not [name for name in api.list_repo_files(repo) if name.startswith(".")]
    with open(hf_hub_download(repo, "README.md", token=hub_user.token, cache_dir=tmp_path / "cache")) as card:
        assert repo in card.read()
    pipeline = ReimagingPipeline.from_pretrained(repo, token=hub_user.token, cache_dir=tmp_path / "cache")
    here = ReimagingPipeline.from_pretrained(rooms.jobs().models.get("light").path)
    ours, theirs = (p.generators["light"].state_dict() for p in (here, pipeline))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_at_home_the_one_who_is_logged_in_needs_no_token(page, hub_user):
    page = page()
    choose_dataset(page)
    repo = hub_user.repo("my-faces")
    push(page, "dataset", repo).filter(has_text="Pushed to").wait_for()
    assert HfApi().dataset_info(repo).private


@pytest.fixture
def on_a_space(hub, monkeypatch):
    """This process is a Space with sign-in at the loopback Hub."""
    given = {"OAUTH_CLIENT_ID": "id", "OAUTH_CLIENT_SECRET": SECRET, "OAUTH_SCOPES": "openid profile contribute-repos"}
    for name, value in (given | {"OPENID_PROVIDER_URL": hub.url}).items():
        monkeypatch.setenv(name, value)
        monkeypatch.setattr(gradio.oauth, name, value)
    monkeypatch.setenv("SPACE_ID", "somebody/space")
    for module in (gradio.oauth, space.share):  # and not SYSTEM, which also lets gradio watch its files
        monkeypatch.setattr(module, "get_space", lambda: "somebody/space")


def test_a_space_lends_nobody_its_own_token(on_a_space, page, hub_user, hub):
    asked, nobody = len(hub.log), page()
    choose_dataset(nobody)
    push(nobody, "dataset", hub_user.repo("my-faces")).filter(has_text="Sign in, or give a token").wait_for()
    assert nobody.locator("#dataset-sign-in").inner_text() == "Sign in with Hugging Face"
    assert hub.log[asked:] == []  # with nothing, not even a question


@pytest.mark.slow
def test_a_space_takes_the_token_of_who_signed_in(on_a_space, page, hub_user, hub):
    visitor = "hf_visitor"
    hub.tokens[visitor] = ("visitor", "write")
    signed_in = page(session=cookie(visitor, "visitor"))
    signed_in.locator("#dataset-share button").first.click()
    signed_in.locator("#dataset-sign-in", has_text="Logout (visitor)").wait_for()
    choose_dataset(signed_in)
    push(signed_in, "dataset", "visitor/my-faces").filter(has_text="Pushed to").wait_for()
    assert HfApi(token=visitor).dataset_info("visitor/my-faces").private
    push(signed_in, "dataset", hub_user.repo("my-faces")).filter(has_text="write access").wait_for()


def cookie(token, name):
    """The session of a visitor who has signed in, as gradio keeps it."""
    info = {"access_token": token, "scope": "openid", "expires_at": int(time.time()) + 3600}
    info["userinfo"] = {"preferred_username": name, "name": name, "profile": "-", "picture": "-"}
    key = hashlib.sha256(f"{SECRET}-v4".encode()).hexdigest()
    return TimestampSigner(key).sign(base64.b64encode(json.dumps({"oauth_info": info}).encode())).decode()
