"""OpenAI's Batch API as a teacher: files of requests at half the price, answered within a day.

What was sent is written down beside the journal before and after it is sent, with a copy of the file: a process that
is killed while a batch is under way finds it again, by its id or by the mark that the batch carries at the server, and
fetches what was paid for. Answers go to the journal as each batch ends, also those that nobody wants by now. What
failed in passing, expired or was cancelled is sent again; a batch that is too large for the server's queue waits for
the others, then goes in halves. Not covered: other servers' batch formats; cancelling.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stages.lib.contract import Refusal
from stages.lib.params import Teacher
from stages.lib.records import fingerprint
from stages.lib.teachers import account
from stages.lib.teachers.completion import Answer, Form, filtered, read
from stages.lib.teachers.endpoint import QUIET, api_key
from stages.lib.teachers.journal import Entry, Journal
from stages.lib.teachers.outbox import Outbox, Sent
from stages.lib.teachers.requests import Failure, Prompt
from stages.lib.teachers.spend import Purse, at_most

if TYPE_CHECKING:
    from openai import OpenAI

REQUESTS, BYTES = 50_000, 190_000_000  # of a file, at most; the server's own bound is 200 MB
OPEN = 8  # batches at the server at a time
FIRST_LOOK, LONGEST_LOOK = 2.0, 60.0  # seconds between two looks at the server
TRIES = 4  # times that a request may be sent
MARK = "requests"  # under which a batch carries the fingerprint of its file
ENDED = ("completed", "expired", "cancelled", "failed")
WINDOW = "24h"


def buy(
    teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], name: str
) -> dict[str, Failure]:
    """Ask for every key; answers go to the journal as batches end, the failures are returned by key."""
    from openai import OpenAI
    from tqdm import tqdm

    form = Form(teacher, prompt, api_key(teacher, len(wanted), name))
    quiet = 0.0 if sys.stderr.isatty() else QUIET
    with (
        OpenAI(api_key=form.secret or "none", base_url=teacher.base_url, timeout=teacher.timeout) as client,
        tqdm(total=len(wanted), desc=name, unit="request", mininterval=quiet or 0.5, delay=quiet) as bar,
    ):
        desk = Desk(client, form, journal, purse, prompt, wanted)
        try:
            desk.resume()
            looks = FIRST_LOOK
            while desk.send() or desk.under_way:
                bar.set_postfix_str(f"{len(desk.under_way)} batches at the server, ${purse.spent:,.2f}", refresh=False)
                done = desk.fetch()
                bar.update(len(wanted) - len(desk.missing) - bar.n)
                looks = FIRST_LOOK if done else min(looks * 1.5, LONGEST_LOOK)
                if desk.under_way and not done:
                    time.sleep(looks)
        except KeyboardInterrupt:
            raise Refusal(
                f"interrupted: {len(desk.under_way)} batches go on at the server; run it again to fetch them"
            ) from None
    return desk.failures


class Gone(Refusal):
    """The server has no such batch or file."""


class Desk:
    """What is wanted, what is under way, and what came of it."""

    def __init__(
        self, client: "OpenAI", form: Form, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str]
    ) -> None:
        self.client, self.form, self.journal, self.purse, self.prompt = client, form, journal, purse, prompt
        self.wanted = wanted
        self.missing = set(wanted)  # without an answer or a failure
        self.waiting = list(wanted)  # to be sent
        self.tries: dict[str, int] = {}
        self.under_way: list[Sent] = []
        self.failures: dict[str, Failure] = {}
        self.outbox = Outbox(journal.own)
        self.most, self.abreast = REQUESTS, OPEN  # requests in a batch, batches at a time: as the server allows
        self.alone = set[str]()  # marks of batches that were sent while no other was under way

    def resume(self) -> None:
        """Find the batches that an earlier process sent; those with nothing wanted are only fetched if they ended."""
        marks: dict[str, str] | None = None
        for sent in self.outbox.open(self.form.address):
            self.purse.claim(sent.mark)
            if not sent.id:
                if marks is None:
                    marks = {(batch.metadata or {}).get(MARK, ""): batch.id for batch in self._call(self._all)}
                sent.id = marks.get(sent.mark, "")
                if not sent.id:  # it never got there
                    self.outbox.note(sent, done=True)
                    continue
            try:
                bodies, status = self.outbox.requests(sent), self._call(self._look, sent).status
            except (Gone, FileNotFoundError) as error:
                self.purse.lose(self.purse.adopt(sent.model, *sent.tokens))
                self.outbox.note(sent, done=True)
                what = "the copy of its requests is missing" if isinstance(error, OSError) else "the server lost it"
                print(f"note: batch {sent.id} is given up: {what}; it counts as paid", file=sys.stderr)
                continue
            for key, body in bodies.items():
                most = body.get("max_tokens") or body["max_completion_tokens"]
                sent.holds[key] = self.purse.adopt(sent.model, at_most(json.dumps(body, ensure_ascii=False)), most)
            if self.missing & sent.holds.keys() or status in ENDED:
                self.under_way.append(sent)
                print(f"note: a batch of {len(sent.holds):,} requests that was sent before is fetched", file=sys.stderr)
        flying = {key for sent in self.under_way for key in sent.holds}
        self.waiting = [key for key in self.waiting if key not in flying]

    def send(self) -> bool:
        """Send what waits, as far as the cap and the server's queue allow; whether anything was sent."""
        before = len(self.under_way)
        while self.waiting and len(self.under_way) < self.abreast:
            sent = Sent("", self.form.teacher.model, self.prompt.name, self.form.address)
            lines, size = list[bytes](), 0
            for key in self.waiting[: self.most]:
                text = self.wanted[key]
                line = self._line(key, text)
                if size + len(line) > BYTES and lines:
                    break
                try:
                    tokens = at_most(self.prompt.text, json.dumps(self.prompt.schema), text)
                    sent.holds[key] = self.purse.hold_now(tokens, self.form.teacher.max_tokens)
                except Refusal:
                    if not lines and not self.under_way:
                        raise  # nothing will come back that could make room
                    break
                lines.append(line)
                size += len(line)
            if not lines:
                break
            self._submit(sent, lines)
            self.waiting = self.waiting[len(lines) :]
        return len(self.under_way) > before

    def fetch(self) -> int:
        """Take in the batches that ended; how many those were."""
        ended = 0
        for sent in list(self.under_way):
            batch = self._call(self._look, sent)
            if batch.status in ENDED:
                ended += 1
                self.under_way.remove(sent)
                self._take_in(sent, batch)
        return ended

    def _line(self, key: str, text: str) -> bytes:
        body = self.form.request(text)
        row = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"

    def _submit(self, sent: Sent, lines: list[bytes]) -> None:
        sent.mark = fingerprint([sent.address, time.time_ns(), *sent.holds])
        holds = sent.holds.values()
        sent.tokens = sum(hold.prompt for hold in holds), sum(hold.completion for hold in holds)
        for key in sent.holds:
            self.tries[key] = self.tries.get(key, 0) + 1
        self.outbox.write(sent, lines)
        self.outbox.note(sent)
        with self.outbox.file(sent).open("rb") as file:
            uploaded = self._call(self.client.files.create, file=file, purpose="batch")
        made = self._call(
            self.client.with_options(max_retries=0).batches.create,  # a second one would be paid, too
            input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window=WINDOW,
            metadata={MARK: sent.mark},
        )  # fmt: skip
        sent.id = made.id
        self.outbox.note(sent)
        if not self.under_way:
            self.alone.add(sent.mark)
        self.under_way.append(sent)

    def _take_in(self, sent: Sent, batch: Any) -> None:
        bodies, lines, gone = self.outbox.requests(sent), list[bytes](), False
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):  # both, before any line is settled
            try:
                lines += self._call(self.client.files.content, file).content.splitlines()
            except Gone:
                gone = True
                print(f"note: the server lost file {file} of batch {sent.id}: it counts as paid", file=sys.stderr)
        for line in lines:
            self._settle(sent, bodies, line)
        self.journal.sync()
        for hold in sent.holds.values() if gone else ():
            self.purse.lose(hold)
        self.outbox.note(sent, done=True)
        if batch.status == "failed":
            self._failed(sent, batch)
        for key in list(sent.holds):  # neither answered nor refused: it expired, or its batch did
            hold = sent.holds.pop(key)
            if not gone:
                self.purse.free(hold)
            self._again(key, "expired" if batch.status == "expired" else "no answer", f"the batch {batch.status}")

    def _settle(self, sent: Sent, bodies: dict[str, Any], line: bytes) -> None:
        """One line of what came back."""
        try:
            row = json.loads(line)
            key, response = row["custom_id"], row.get("response") or {}
            hold = sent.holds.pop(key)
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # no reply to anything that was asked
        status, body, text = response.get("status_code"), response.get("body"), bodies[key]["messages"][-1]["content"]
        said = self.form.shown(json.dumps(row.get("error") or body, ensure_ascii=False), 1000)
        outcome = read(self.form, json.dumps(body).encode()) if status == 200 else filtered(status, said)
        known = self.journal.answers.get(key)
        if known and isinstance(outcome, Answer):
            # of this very batch, whose first reader died; or bought elsewhere since, so that this one was paid, too
            (self.purse.free if account.batched(known) else self.purse.lose)(hold)
            self.missing.discard(key)
            return
        if isinstance(outcome, Answer):
            usage = account.counted(outcome.usage, hold.prompt, hold.completion) | {account.BATCHED: 1}
            self.journal.note(
                Entry(
                    key=key, model=sent.model, prompt=sent.prompt, input=text, answer=outcome.text,
                    finish_reason=outcome.finish_reason, usage=usage,
                )
            )  # fmt: skip
            self.purse.pay(hold, usage)
            self.missing.discard(key)
            return
        self.purse.free(hold)
        said = said[:300]
        if status == 400 and self.form.learned(bodies[key], said):
            self._again(key, "request refused", said)
        elif status is not None and status < 500 and status not in (200, 408, 409, 429):
            self._fail(key, Failure("request refused", said))
        else:
            self._again(key, "expired" if "batch_expired" in said else "no answer", said)

    def _again(self, key: str, reason: str, detail: str) -> None:
        """Send a request once more, if it is still wanted and worth it."""
        if key not in self.missing:
            return
        if self.tries.get(key, 0) >= TRIES:
            self._fail(key, Failure(reason, f"{TRIES} tries; the last: {detail}"))
        else:
            self.waiting.append(key)

    def _fail(self, key: str, failure: Failure) -> None:
        if key in self.missing:
            self.missing.discard(key)
            self.failures[key] = failure

    def _failed(self, sent: Sent, batch: Any) -> None:
        """A whole batch was refused: make the next ones smaller where it was too large, else say why."""
        errors = list(getattr(batch.errors, "data", None) or [])
        said = self.form.shown(
            "; ".join(f"{error.code}: {error.message}" for error in errors) or "no reason given", 400
        )
        if not any("limit" in f"{error.code} {error.message}".lower() for error in errors) or "billing" in said:
            raise Refusal(f"the teacher at {self.form.address} refused a batch: {said}")
        for key in sent.holds:
            self.tries[key] = self.tries.get(key, 1) - 1
        if sent.mark not in self.alone:
            self.abreast = max(1, self.abreast // 2)
        elif len(sent.holds) > 1:
            self.most = min(self.most, len(sent.holds)) // 2
        else:
            raise Refusal(f"the teacher at {self.form.address} takes not even one request in a batch: {said}")

    def _all(self) -> list[Any]:
        return list(itertools.islice(self.client.batches.list(limit=100), 1000))

    def _look(self, sent: Sent) -> Any:
        return self.client.batches.retrieve(sent.id)

    def _call(self, ask: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Ask the server for something; what it refuses stops the run, and nothing that is under way is lost."""
        import openai

        try:
            return ask(*given, **named)
        except openai.APIError as error:
            kind = Gone if isinstance(error, openai.NotFoundError) else Refusal
            raise kind(
                f"the teacher at {self.form.address}: {self.form.shown(error)}. What was sent goes on there: "
                "run it again to fetch it"
            ) from None
