"""Any OpenAI-compatible endpoint as a teacher: OpenAI, vLLM, Ollama, llama-server, and Azure by its v1 address
(``https://NAME.openai.azure.com/openai/v1/``, whose ``model`` is the deployment's name).

So many workers take one text after the other, so that memory does not grow with the texts. Each answer is written
down as it comes and brought to the disk by a thread, all of them before any is used. What would fail every request
stops new ones; those under way are paid for, so they come in first. The API key comes from the environment variable
that the params name and is written nowhere. Not covered: what replies mean (``completion.py``), the
server's limits (``limits.py``).
"""

import asyncio
import ipaddress
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stages.lib.contract import Refusal
from stages.lib.params import Teacher
from stages.lib.teachers import account
from stages.lib.teachers.completion import Answer, Form, complete
from stages.lib.teachers.journal import Entry, Journal
from stages.lib.teachers.limits import LONGEST, Limits, within
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.spend import Purse

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LOST = 2  # answers that broke off on their way, and may have been billed, until a text is given up
BUSY = (429, 503, 529)
SYNC = 0.1  # seconds between two times that answers are brought to the disk
CONNECT = 5.0  # seconds for a connection, before which nothing can be billed
QUIET = 60.0  # seconds between two lines of progress where nobody looks


def buy(
    teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], name: str
) -> dict[str, Failure]:
    """Ask for every key; answers go to the journal as they come, the failures are returned by key."""
    return asyncio.run(ask_all(teacher, journal, purse, prompt, wanted, name))


class Desk:
    """What the workers share: the work, the money, the limits, and why it all has to end."""

    def __init__(
        self, teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], secret: str
    ) -> None:
        self.teacher, self.journal, self.purse, self.prompt = teacher, journal, purse, prompt
        self.work = iter(wanted.items())
        self.form = Form(teacher, prompt, secret)
        self.limits = Limits(teacher.requests_per_minute, teacher.tokens_per_minute, teacher.concurrency)
        self.failures: dict[str, Failure] = {}
        self.fatal: list[Refusal] = []
        self.done = asyncio.Event()

    def stop(self, why: Refusal) -> None:
        """Send nothing more."""
        self.fatal.append(why)
        self.limits.stop()


async def ask_all(
    teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], name: str
) -> dict[str, Failure]:
    """Ask for every key, so many at a time; the failures by key. Answers go to the journal as they come."""
    import httpx2
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    from tqdm import tqdm

    secret = api_key(teacher, len(wanted), name)
    desk = Desk(teacher, journal, purse, prompt, wanted, secret)
    if desk.form.secret and desk.form.secret in prompt.text:
        raise Refusal(f"the prompt {prompt.name} holds the API key: take it out")
    lines = httpx2.Limits(max_connections=teacher.concurrency, max_keepalive_connections=teacher.concurrency)
    shown = 0.0 if sys.stderr.isatty() else QUIET
    bar = tqdm(
        total=len(wanted), desc=name, unit="request", mininterval=shown or 0.5, maxinterval=shown or 10, delay=shown
    )

    def progress() -> None:
        bar.set_postfix_str(f"${purse.spent:,.4f}", refresh=False)
        bar.update()

    # the library's own retries would pay again for an answer that is only slow
    async with AsyncOpenAI(
        api_key=secret or "none",
        base_url=teacher.base_url,
        max_retries=0,
        timeout=httpx2.Timeout(teacher.timeout, connect=min(CONNECT, teacher.timeout / 2)),
        http_client=DefaultAsyncHttpxClient(limits=lines),
    ) as client:
        with bar, interrupts(desk):
            async with asyncio.TaskGroup() as group:
                group.create_task(save(desk))
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(teacher.concurrency, len(wanted))):
                        workers.create_task(worker(desk, client, progress))
                desk.done.set()
    if desk.fatal:
        raise desk.fatal[0]
    return desk.failures


async def worker(desk: Desk, client: "AsyncOpenAI", progress: Callable[[], None]) -> None:
    """Take texts until there are none, or until nothing may be sent any more."""
    for key, text in desk.work:
        try:
            outcome = await one(desk, client, key, text)
        except Refusal as refusal:
            desk.stop(refusal)
        else:
            if isinstance(outcome, Failure):
                desk.failures[key] = outcome
            progress()
        if desk.fatal:
            return


async def one(desk: Desk, client: "AsyncOpenAI", key: str, text: str) -> Failure | None:
    """One text with its tries; its answer goes to the journal."""
    if desk.form.secret and desk.form.secret in text:
        return Failure("holds the API key", "the text is not sent and not written down")
    teacher, purse, limits = desk.teacher, desk.purse, desk.limits
    size = desk.form.size(text)
    tokens = size / 4 + teacher.max_tokens  # as servers count them when they let a request in
    hold = await purse.hold(size, teacher.max_tokens)
    tries, lost, answered = 0, 0, limits.answered
    while True:
        sent = await limits.take(tokens)
        outcome, headers = None, None
        try:
            if not desk.fatal:
                outcome, headers = await complete(client, desk.form, text)
        except Refusal:
            purse.free(hold)
            raise
        finally:
            used = sum(outcome.usage.values()) or tokens if isinstance(outcome, Answer) else None
            limits.done(tokens, used, headers)
        if isinstance(outcome, Answer):
            usage = account.counted(outcome.usage, hold.prompt, hold.completion)
            # the journal first: what a kill leaves between the two counts twice, not never
            note(desk, key, text, replace(outcome, usage=usage))
            purse.pay(hold, usage)
            return None
        if outcome is None and not desk.fatal:
            continue  # in the form that was just learned
        if outcome is None:
            purse.free(hold)
            return Failure("not asked", "the run was stopped")
        if outcome.status in BUSY:
            limits.limited(outcome.wait, sent)
        # a server that answers others is only busy: patience costs nothing
        if outcome.status != 429 or limits.answered == answered:
            tries += 1
        answered = limits.answered
        (purse.lose if outcome.billed else purse.free)(hold)
        lost += outcome.billed
        if not outcome.again:
            return Failure(outcome.reason, outcome.detail, again=False)
        if lost == LOST or tries > teacher.retries:
            return Failure(outcome.reason, f"{tries} tries; the last: {outcome.detail}", again=not lost)
        await limits.rest(pause(tries - 1, outcome.wait))
        hold = await purse.hold(size, teacher.max_tokens)


def note(desk: Desk, key: str, text: str, answer: Answer) -> None:
    """Write an answer down; it was paid for, so what makes that impossible stops the run."""
    try:
        desk.journal.note(
            Entry(
                key=key,
                model=desk.teacher.model,
                prompt=desk.prompt.name,
                input=text,
                answer=answer.text,
                finish_reason=answer.finish_reason,
                usage=answer.usage,
            )
        )
    except OSError as error:
        raise unwritable(error) from None


async def save(desk: Desk) -> None:
    """Bring answers to the disk all the time, many together: the disk is slower than the teacher."""
    while not desk.done.is_set():
        await within(SYNC, desk.done)
        try:
            await asyncio.to_thread(desk.journal.sync)
        except OSError as error:
            desk.stop(unwritable(error))


def unwritable(error: OSError) -> Refusal:
    """Why answers can't be written down; to buy more would be waste."""
    return Refusal(f"the journal can't be written: {error.strerror}; make room, and run it again")


def pause(attempt: int, wait: float | None) -> float:
    """Seconds until the next try: what the server asks for, else doubling; with jitter, so that clients part."""
    if wait is not None:
        return min(wait, LONGEST) * random.uniform(1.0, 1.1)
    return min(2.0 ** max(attempt, 0), LONGEST) * random.uniform(0.5, 1.0)


def api_key(teacher: Teacher, count: int, name: str) -> str:
    """The key out of the environment; a server on this machine needs none."""
    found = os.environ.get(teacher.api_key, "").strip()
    if not found and not local(teacher.base_url):
        raise Refusal(
            f"engine {teacher.engine} at {urlsplit(teacher.base_url).hostname} needs {teacher.api_key} in the "
            f"environment ({count} requests of {name} are not in the journal); any text will do for a server that "
            "asks for none"
        )
    if not (found.isascii() and found.isprintable()):
        raise Refusal(f"{teacher.api_key} in the environment can't be an API key: it holds more than plain characters")
    return found


def local(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def interrupts(desk: Desk) -> Iterator[None]:
    """The first Ctrl-C stops new requests, and what is under way comes in; the second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def first() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        desk.stop(Refusal("interrupted: what was bought is in the journal; run it again to go on"))

    loop.add_signal_handler(signal.SIGINT, first)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
