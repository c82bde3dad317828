"""A dataset or a model on its way to the Hugging Face Hub, for whoever has a token."""

import os

import gradio as gr
from huggingface_hub import get_token

from maskhub.errors import ConfigError, MaskHubError
from maskhub.hub import push_folder
from space import photos
from space.rooms import quiet

__all__ = ["share"]

HINT = {
    "dataset": "At home: `hf auth login`, then `hf upload USER/NAME MASKHUB_HOME/datasets/NAME --repo-type dataset`.",
    "model": "At home: `hf auth login`, then `maskhub push MASKHUB_HOME/models/NAME USER/NAME`.",
}


def logged_in():
    """Whether this app may push with a token of its own: at home, where its user is the one who is logged in.

    A Space's own token is never lent to visitors.
    """
    return "SPACE_ID" not in os.environ and bool(get_token())


def share(kind, chosen, folder):
    """Build the controls.

    Args:
        kind: ``"dataset"`` or ``"model"``.
        chosen: the component whose value names what is shared.
        folder: its value → the folder; raises MaskHubError.
    """
    with gr.Accordion("Share on the Hugging Face Hub", open=False, elem_id=f"{kind}-share"):
        repo = gr.Textbox(label="Repository", placeholder="user/name", max_lines=1)
        token = gr.Textbox(
            label="Token with write access" + (" (empty: the one logged in here)" if logged_in() else ""),
            type="password",
            placeholder="hf_…",
            max_lines=1,
        )
        private = gr.Checkbox(True, label="Make a new repository private", container=False)
        hint = gr.Markdown(HINT[kind], elem_classes="note", visible=not logged_in())
        push = gr.Button(f"Push the {kind}", visible=logged_in(), elem_id=f"{kind}-push")
        result = photos.line(f"{kind}-pushed")
        gr.Markdown("A token is used for this one upload and kept nowhere.", elem_classes="note")

    def able(token):
        ready = bool(token.strip()) or logged_in()
        return gr.update(visible=ready), gr.update(visible=not ready)

    def send(chosen, repo, token, private):
        try:
            token = token.strip() or (get_token() if logged_in() else None)
            if not token:
                raise ConfigError("give a token with write access: https://huggingface.co/settings/tokens")
            if not repo.strip():
                raise ConfigError("name the repository, as in user/name.")
            url = push_folder(folder(chosen), repo.strip(), repo_type=kind, private=private or None, token=token)
        except MaskHubError as error:
            return photos.problem(error), ""
        return photos.done(f"Pushed to {url}"), ""

    token.input(able, token, [push, hint], **quiet)
    push.click(send, [chosen, repo, token, private], [result, token], api_visibility="private")
