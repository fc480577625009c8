"""What the chat page looks like: one column to read in, dials beside it, light or dark as the browser prefers.

The rules name Gradio 6.31's own classes, which other versions may not have, and hold no ``:is(a, b)``, which
Gradio tears at the comma. ``tests/test_chat_page.py`` uses the page, but only eyes can tell how it looks.
"""

import html
from typing import Any

TITLE = "Trợ lý Việt / Viet LLM"
LOGO = (
    '<svg viewBox="0 0 40 40" aria-hidden="true"><path fill="#0d9488" d="M10 3h20a8 8 0 0 1 8 8v13a8 8 0 0 1-8 8H20'
    'l-9 6v-6h-1a8 8 0 0 1-8-8V11a8 8 0 0 1 8-8z"/><path fill="#fde047" d="M20 8l2.5 6.3 6.7.4-5.2 4.3 1.7 6.6'
    '-5.7-3.6-5.7 3.6 1.7-6.6-5.2-4.3 6.7-.4z"/></svg>'
)
# System fonts only: the page must look the same without a network.
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Noto Sans Mono", "monospace")
CSS = """
.gradio-container, .app { max-width: none !important; }
.app { padding: 0 !important; }
main.contain > .column { max-width: 820px; width: 100%; margin: 0 auto; padding: 0 16px 10px; gap: 10px;
  height: 100dvh; flex-wrap: nowrap; }
#head { align-items: center; flex-wrap: nowrap; padding-top: 14px; }
.brand { display: flex; align-items: center; gap: 12px; }
.brand svg { width: 40px; height: 40px; flex: none; }
.prose .brand h1 { font-size: 1.2rem; font-weight: 700; line-height: 1.25; margin: 0; }
.prose .brand p { margin: 2px 0 0; font-size: .78rem; color: var(--body-text-color-subdued); }
.prose .brand code { margin: 0; padding: 1px 6px; font-size: .75rem; border-radius: 6px; }
.prose .brand a { color: inherit; text-underline-offset: 3px; }
#head .form, #head .form .block { border: 0; background: none; box-shadow: none; padding: 0; }
#head > .block { flex: 1 1 auto !important; }
#head > .form { flex: 0 0 170px !important; }
#model .wrap { border-radius: 999px; background: var(--background-fill-secondary); }
#model input { font-weight: 600; }
#chat { border: 0 !important; background: none; height: auto !important; flex: 1 1 0 !important; min-height: 0;
  overflow: hidden !important; }
#chat .wrapper { min-height: 0; }
#chat .bubble-wrap { background: none; padding: 8px 0 !important; display: flex; flex-direction: column;
  flex: 1; min-height: 0; overflow-y: auto; scrollbar-width: thin; }
#chat .placeholder-content { height: auto; margin: auto; gap: 24px; padding-bottom: 6vh; }
#chat .placeholder { flex: none; height: auto; padding: 0; }
#chat .placeholder p { font-size: 1.6rem !important; font-weight: 700; text-align: center; }
#chat .examples { display: flex; flex-wrap: wrap; justify-content: center; gap: 10px; padding: 0; max-width: 640px; }
#chat .example { width: auto; min-height: 0; padding: 9px 16px; border-radius: 999px; box-shadow: none; }
#chat .example:hover { border-color: var(--color-accent); background: var(--color-accent-soft); }
#chat .example-content { min-height: 0; }
#chat .message-row { max-width: 100%; }
#chat .message.user, #chat .message.bot { border: 0; box-shadow: none; }
#chat .message.user { border-radius: 20px; padding: 10px 16px; background: var(--primary-100); }
.dark #chat .message.user { background: var(--primary-900); }
#chat .message.bot { background: none; padding: 4px 0; }
#chat .message p, #chat .message li { font-size: 1rem; line-height: 1.65; color: var(--body-text-color); }
#chat .message-buttons .icon-button-wrapper { border: 0; box-shadow: none; background: none; padding: 0; }
#chat .message-buttons-right { opacity: 0; transition: opacity .15s; }
#chat .message-row:hover + .message-buttons-right, #chat .message-buttons-right:hover,
#chat .message-buttons-right:focus-within { opacity: 1; }
#box { flex: none; overflow: visible; border-radius: 26px; background: var(--input-background-fill);
  border: 1px solid var(--border-color-primary) !important; box-shadow: 0 4px 16px rgb(0 0 0 / .07); }
#box:focus-within { border-color: var(--color-accent) !important; }
#box .input-container { align-items: center; }
#box textarea { border: 0; box-shadow: none; background: none; font-size: 1rem; padding: 14px 8px 14px 20px; }
#box .submit-button, #box .stop-button { width: 38px; height: 38px; margin: 7px; border-radius: 50%; flex: none;
  display: grid; place-items: center; color: white; background: var(--primary-600); border: 0; }
#box .stop-button { background: var(--neutral-600); }
#status { flex: none; text-align: center; }
#status .note, #status .alert { font-size: .8rem; color: var(--body-text-color-subdued); }
#status .alert { font-size: .9rem; font-weight: 600; color: #b91c1c; }
.dark #status .alert { color: #fca5a5; }
.sidebar-content .form, .sidebar-content .block { border: 0 !important; background: none; box-shadow: none; }
.sidebar-content .block { padding: 4px 0; }
.sidebar-content .info-text { font-size: .75rem; }
.dark .sidebar-content { --neutral-200: var(--neutral-700); }
#private p { font-size: .78rem; color: var(--body-text-color-subdued); }
@media (max-width: 768px) {
  #head { flex-wrap: wrap; gap: 8px; }
  #head > .block { padding-left: 28px; }
  #head > .form { flex: 1 0 100% !important; }
  #chat .placeholder p { font-size: 1.35rem !important; }
  #chat .message-buttons-right { opacity: 1; }
}
"""


def theme() -> Any:
    """Colours and fonts."""
    import gradio as gr

    return gr.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="lg", font=FONT, font_mono=MONO)


def brand(commit: str) -> str:
    """Name, commit and the choice of language."""
    version = f"<code>{html.escape(commit)}</code> · " if commit else ""
    links = '<a href="?lang=vi" hreflang="vi">Tiếng Việt</a> · <a href="?lang=en" hreflang="en">English</a>'
    return f'<div class="brand">{LOGO}<div><h1>{TITLE}</h1><p>{version}{links}</p></div></div>'
