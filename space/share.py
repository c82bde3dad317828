"""Push a dataset or model to the Hugging Face Hub, for visitors who signed in or have a token."""

import os

import gradio as gr
from gradio.utils import get_space
from huggingface_hub import get_token

from maskhub.errors import ConfigError, MaskHubError
from maskhub.hub import push_folder
from space import photos

__all__ = ["share"]

LOCAL = ("", "127.0.0.1", "::1", "localhost")
AT_HOME = {
    "dataset": "`hf auth login`, then `hf upload USER/NAME MASKHUB_HOME/datasets/NAME --repo-type dataset`",
    "model": "`hf auth login`, then `maskhub push MASKHUB_HOME/models/NAME USER/NAME`",
}


def own_token():
    """The token of the person who runs the app, if nobody else can reach the app; else None. Visitors of a Space, or of
    an app that is served to a network, can't use its token."""
    alone = os.environ.get("GRADIO_SERVER_NAME", "") in LOCAL and os.environ.get("GRADIO_SHARE", "").lower() != "true"
    return get_token() if alone and "SPACE_ID" not in os.environ else None


def signing_in():
    """Whether visitors can sign in with Hugging Face: on a Space whose card says ``hf_oauth: true``."""
    return bool(get_space()) and "OAUTH_CLIENT_ID" in os.environ


def share(kind, chosen, folder):
    """Build the controls to share the ``"dataset"`` or ``"model"`` whose name is the value of the component ``chosen``;
    ``folder`` is a function from this name to its folder, and may raise MaskHubError."""
    known = "the one you signed in with" if signing_in() else "the one logged in here" if own_token() else ""
    with gr.Accordion("Share on the Hugging Face Hub", open=False, elem_id=f"{kind}-share"):
        if signing_in():
            gr.LoginButton(size="sm", elem_id=f"{kind}-sign-in")
        repo = gr.Textbox(label="Repository", placeholder="user/name", max_lines=1, elem_id=f"{kind}-repo")
        token = gr.Textbox(
            label="Token with write access" + (f" (empty: {known})" if known else ""), type="password",
            placeholder="hf_…", max_lines=1, elem_id=f"{kind}-token",
        )  # fmt: skip
        private = gr.Checkbox(True, label="Make a new repository private", container=False)
        push = gr.Button(f"Push the {kind}", elem_id=f"{kind}-push")
        result = photos.line(f"{kind}-pushed")
        note = f"A token is used for this upload only and not stored. From your own machine: {AT_HOME[kind]}."
        gr.Markdown(note, elem_classes="note")

    def send(chosen, repo, typed, private, signed_in: gr.OAuthToken | None):
        try:
            token = typed.strip() or (signed_in.token if signed_in else own_token())
            if not token:
                first = "sign in, or give" if signing_in() else "give"
                raise ConfigError(f"{first} a token with write access, from https://huggingface.co/settings/tokens.")
            if not repo.strip():
                raise ConfigError("name the repository, such as user/name.")
            url = push_folder(folder(chosen), repo.strip(), repo_type=kind, private=private or None, token=token)
        except MaskHubError as error:
            return photos.problem(error), ""
        return photos.done(f"Pushed to {url}"), ""

    push.click(send, [chosen, repo, token, private], [result, token], concurrency_id="share", api_visibility="private")
