"""The chat page itself: what stands where, and what happens on a click.

The conversation lives in the visitor's session as a list of turns; the chat window only shows it. So an answer
keeps the model and the sampling that made it, whatever the dials say by the time it is rated.
"""

import html
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from contextvars import ContextVar
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import gradio as gr
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stages.lib.chat import conversation, style, texts
from stages.lib.chat.conversation import Sampling, Trouble, Turn
from stages.lib.chat.texts import Language, language_of, say

# A model writes the answers: whatever picture or script one asks for, the browser fetches nothing from elsewhere.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; form-action 'self'"
# The panel of dials lies beside the chat where there is room for both; on a phone it waits behind its button.
ON_LOAD = """() => {
  if (innerWidth >= 1100) document.querySelector(".sidebar:not(.open) .toggle-button")?.click();
}"""
reader: ContextVar[Language] = ContextVar("reader", default="vi")


class Texts(gr.I18n):
    """The texts of the page in the language of whoever asks for it (Gradio reads these when a page reloads)."""

    @property
    def translations_dict(self) -> dict[str, dict[str, str]]:
        """Both our languages go by the name of ``en``."""
        return {"en": texts.table(reader.get())}


class Page(gr.Blocks):
    """Blocks that speak the reader's language: Gradio writes the texts into the page once, when it is launched."""

    @property
    def config(self) -> dict[str, Any]:
        """What the page is built from in the browser."""
        return {**self._config, "i18n_translations": {"en": texts.table(reader.get())}}

    @config.setter
    def config(self, config: dict[str, Any]) -> None:
        self._config = config


class Visit:
    """Around each request: whose language it is, and what its page may fetch."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("lang", [""])[0]
        language = language_of(Headers(scope=scope), asked)
        reader.set(language)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                if asked == language:
                    headers.append("Set-Cookie", f"lang={language}; Path=/; SameSite=Lax")
            await send(message)

        await self.app(scope, receive, answer)


def launch_options() -> dict[str, Any]:
    """How Gradio serves the page: to nobody but those who open it, with nothing recorded and no doors of its own."""
    return {
        "theme": style.theme(),
        "css": style.CSS,
        "js": ON_LOAD,
        "i18n": Texts(),
        "app_kwargs": {"middleware": [Middleware(Visit)], "openapi_url": None},
        "share": False,
        "ssr_mode": False,
        "mcp_server": False,
        "run_history": False,
        "enable_monitoring": False,
        "footer_links": [],
        "quiet": True,
    }


def build(models: conversation.Models, seed: int, commit: str, feedback: Path) -> gr.Blocks:
    """The page over some models; ratings go into files of the folder ``feedback``."""
    text = Texts()
    with Page(title=style.TITLE, fill_height=True, analytics_enabled=False) as page:
        turns = gr.State([])
        running: dict[str | None, threading.Event] = {}
        with gr.Sidebar(open=False, width=320):
            new = gr.Button(text("new"), variant="primary", elem_id="new")
            system = gr.Textbox(label=text("system"), placeholder=text("system_hint"), lines=3, elem_id="system")
            dials = sampling_dials(text, seed)
            gr.Markdown(text("private"), elem_id="private")
        with gr.Row(elem_id="head"):
            gr.HTML(style.brand(commit), scale=3, min_width=180)
            model = gr.Dropdown([], label=text("model"), show_label=False, scale=1, min_width=120, elem_id="model")
        chat = gr.Chatbot(
            elem_id="chat",
            show_label=False,
            container=False,
            scale=1,
            height="100%",
            layout="bubble",
            buttons=["copy"],
            allow_tags=False,
            placeholder=str(text("welcome")),
            examples=[{"text": example} for example in texts.EXAMPLES],
        )
        box = gr.Textbox(
            placeholder=text("ask"),
            show_label=False,
            label=text("ask"),
            container=False,
            max_lines=8,
            submit_btn=True,
            autofocus=True,
            elem_id="box",
        )
        status = gr.HTML(elem_id="status")
        spoken = gr.Textbox(visible=False)

        def opened(request: gr.Request) -> tuple[Any, str, str]:
            names, language = conversation.discover(models.folder), language_of(request.headers)
            ready = note(say(language, "ready")) if names else note(say(language, "no_models"), alert=True)
            return gr.Dropdown(choices=names, value=names[0] if names else None), ready, language

        def run(request: gr.Request, *given: Any) -> Iterator[Any]:
            stop = running[request.session_hash] = threading.Event()
            try:
                yield from answer(models, language_of(request.headers), stop, *given)
            finally:
                running.pop(request.session_hash, None)

        def ask(request: gr.Request, question: str, told: list[Turn], *wishes: Any) -> Iterator[Any]:
            yield from run(request, question, told, 0, *wishes)

        def choose(event: gr.SelectData, request: gr.Request, told: list[Turn], *wishes: Any) -> Iterator[Any]:
            yield from run(request, event.value["text"], told, 0, *wishes)

        def again(event: gr.RetryData, request: gr.Request, told: list[Turn], *wishes: Any) -> Iterator[Any]:
            old, before = told[turn_of(event.index)], told[: turn_of(event.index)]
            yield from run(request, old.question, before, old.attempt + 1, *wishes)

        def halt(request: gr.Request) -> None:
            if request.session_hash in running:
                running[request.session_hash].set()

        def undo(event: gr.UndoData, request: gr.Request, told: list[Turn]) -> tuple[Any, ...]:
            language, kept = language_of(request.headers), told[: turn_of(event.index)]
            question = told[turn_of(event.index)].question
            return show(kept, language), kept, idle(question), note(say(language, "ready"))

        def clear(request: gr.Request) -> tuple[Any, ...]:
            return [], [], idle(), note(say(language_of(request.headers), "ready"))

        def rate(event: gr.LikeData, request: gr.Request, told: list[Turn]) -> str:
            if not isinstance(event.liked, bool):
                return gr.skip()
            row = conversation.feedback_row(told, turn_of(event.index), event.liked, commit)
            conversation.append(feedback / f"{date.today()}.jsonl", row)
            return note(say(language_of(request.headers), "thanks"))

        wishes, shown = [turns, model, system, *dials], [chat, turns, box, status]
        hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # One model answers one asker at a time. What empties the window stands in the same line: a run that it
        # has stopped sends its last view first.
        single = {**hidden, "concurrency_limit": 1, "concurrency_id": "answer"}
        box.submit(ask, [box, *wishes], shown, **single)
        chat.example_select(choose, wishes, shown, **single)
        chat.retry(again, wishes, shown, **single)
        chat.undo(undo, turns, shown, **single)
        gr.on([box.stop, new.click, chat.clear], halt, None, None, queue=False, **hidden)
        gr.on([new.click, chat.clear], clear, None, shown, **single)
        page.unload(halt)
        chat.like(rate, turns, status, **hidden)
        opening = page.load(opened, None, [model, status, spoken], **hidden)
        # For screen readers, which else read Vietnamese with English sounds.
        opening.then(None, spoken, None, js="(spoken) => { document.documentElement.lang = spoken }")
    page.queue(max_size=64, api_open=False)
    return page


def sampling_dials(text: gr.I18n, seed: int) -> list[Any]:
    """The dials in the order of :class:`Sampling`'s fields."""
    with gr.Accordion(text("sampling"), open=True):
        return [
            gr.Slider(0, 2, 0.5, step=0.05, label=text("temperature"), info=text("temperature_info")),
            gr.Slider(0.05, 1, 0.9, step=0.05, label="Top-p"),
            gr.Slider(0, 200, 50, step=1, label="Top-k"),
            gr.Slider(16, 2048, 256, step=16, label=text("max_new_tokens"), elem_id="longest"),
            gr.Slider(1, 2, 1.05, step=0.05, label=text("repetition_penalty")),
            gr.Number(seed, label=text("seed"), info=text("seed_info"), precision=0),
        ]


def answer(
    models: conversation.Models,
    language: Language,
    stop: threading.Event,
    question: str,
    before: list[Turn],
    attempt: int,
    name: str | None,
    system: str,
    *dials: Any,
) -> Iterator[tuple[Any, ...]]:
    """The page's view of an answer while it grows: messages, turns, question box, status line."""
    if not question.strip():
        yield gr.skip(), gr.skip(), gr.skip(), gr.skip()
        return
    temperature, top_p, top_k, longest, penalty, seed = dials
    sampling = Sampling(temperature, top_p, int(top_k), int(longest), penalty, int(seed or 0) + attempt)
    turn = Turn(question, "", name or "", system, sampling, attempt)
    try:
        if not name:
            raise Trouble("no_models")
        yield show([*before, turn], language, "…"), [*before, turn], busy(), note(say(language, "loading", model=name))
        model = models.get(name)
        told, left_out, room = conversation.fit(
            conversation.messages(before, question, system),
            lambda messages: len(conversation.prompt(model, messages)),
            model.context,
            sampling.max_new_tokens,
        )
        turn = replace(turn, sampling=replace(sampling, max_new_tokens=room))
        forgotten = say(language, "forgotten", context=model.context, count=left_out) if left_out else ""
        began, count = time.monotonic(), 0
        with closing(conversation.stream(model, conversation.prompt(model, told), turn.sampling, stop)) as growing:
            for text, written in growing:
                turn, count = replace(turn, answer=text), written
                line = note(say(language, "writing", model=name), forgotten)
                yield show([*before, turn], language, "…"), [*before, turn], gr.skip(), line
        took = f"{time.monotonic() - began:.1f}"
        done = say(language, "done", model=name, tokens=count, seconds=took)
        halted = say(language, "stopped") if stop.is_set() else ""
        yield show([*before, turn], language), [*before, turn], idle(), note(f"{halted} {done}", forgotten)
    except Trouble as trouble:
        alert = note(say(language, trouble.key, **trouble.blanks), alert=True)
        yield show(before, language), before, idle(question), alert


def show(turns: Sequence[Turn], language: Language, nothing: str = "") -> list[dict[str, str]]:
    """Turns as the chat window takes them: two messages each; ``nothing`` stands for an answer without a letter."""
    nothing = nothing or say(language, "empty")
    return [
        {"role": role, "content": content}
        for turn in turns
        for role, content in (("user", turn.question), ("assistant", turn.answer if turn.answer.strip() else nothing))
    ]


def turn_of(index: Any) -> int:
    """The turn that a message of the chat window belongs to."""
    return int(index[0] if isinstance(index, (list, tuple)) else index) // 2


def busy() -> gr.Textbox:
    """The question box while a model answers: empty, with a stop button."""
    return gr.Textbox(value="", submit_btn=False, stop_btn=True)


def idle(question: str | None = None) -> gr.Textbox:
    """The question box at rest. What the visitor has typed meanwhile stays, unless a question is put back."""
    put_back = {} if question is None else {"value": question}
    return gr.Textbox(submit_btn=True, stop_btn=False, **put_back)


def note(*said: str, alert: bool = False) -> str:
    """The line under the question box. What is said may quote a file or an error, so none is taken for HTML."""
    lines = "<br>".join(html.escape(text) for text in said if text)
    return f'<span class="{"alert" if alert else "note"}" role="{"alert" if alert else "status"}">{lines}</span>'
