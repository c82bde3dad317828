"""Notifications of jobs that end: of the browser, if the visitor allows them, and within the page."""

import html

import gradio as gr

from maskhub.errors import ConfigError
from space import photos

__all__ = ["NOTIFY", "TELL", "toast", "why_no_notices"]

NOTIFY = """async (wanted) => {
  if (!wanted) return [false, ''];
  const here = 'Notification' in window;
  const may = here && (await Notification.requestPermission()) === 'granted';
  return [may, may ? '' : here ? 'refused' : 'unknown'];
}"""
REFUSED = {
    "unknown": "this browser does not support notifications: set a webhook under More options.",
    "refused": "this browser does not let the page show notifications: allow them in its settings, or set a webhook "
    "under More options. Within huggingface.co a Space can't ask for permission: open it in a separate tab.",
}
TELL = """(text, wanted) => {
  if (!text || !wanted || !('Notification' in window) || Notification.permission !== 'granted') return;
  try {
    new Notification('maskhub', { body: text.slice(text.indexOf('|') + 1), tag: text });
  } catch (error) {
    console.info('only notifications within the page', error);  // Chromium on Android
  }
}"""


def why_no_notices(why):
    """Why the browser shows no notifications, for the form's problem line."""
    return photos.problem(ConfigError(REFUSED[why])) if why in REFUSED else ""


def toast(text):
    """Show a notification until the visitor closes it."""
    if text:
        gr.Info(html.escape(text.split("|", 1)[-1]), duration=None, title="maskhub")
