"""A teacher answers each text once, ever.

Requests that the journal knows cost nothing; the others go to an OpenAI-compatible endpoint, each distinct
one once, and every answer is journalled before it is used. The engine ``journal`` asks nobody: what is not
in the journal fails with that reason. The API key comes from OPENAI_API_KEY and is written nowhere.
Not covered: prices and budgets, batch files, other engines.
"""

import asyncio
import json
import os
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.contract import Refusal
from stages.lib.journal import Entry, Journal
from stages.lib.params import Teacher
from stages.lib.records import fingerprint
from stages.lib.vietnamese import whole

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LONGEST_WAIT = 60.0  # seconds between two tries


@dataclass(frozen=True)
class Prompt:
    """A system prompt from a file: its text is part of every key, so a new wording is a new question."""

    name: str
    text: str

    @classmethod
    def load(cls, path: Path) -> "Prompt":
        """Read a prompt file; its name without the suffix names it in the journal."""
        return cls(path.stem, path.read_text(encoding="utf-8").strip())


@dataclass(frozen=True)
class Failure:
    """Why a request has no usable answer; ``answered`` tells a bad answer, which the journal holds, from none."""

    reason: str
    detail: str = ""
    answered: bool = False


def key(teacher: Teacher, prompt: Prompt, text: str) -> str:
    """The hash of all that could change the answer, and of nothing else (an endpoint may move)."""
    return fingerprint([teacher.model, teacher.temperature, teacher.max_tokens, prompt.text, text])


def ask(teacher: Teacher, journal: Journal, prompt: Prompt, texts: list[str], name: str) -> list[Entry | Failure]:
    """The answer or the failure for each text, in order; equal texts are asked once."""
    keys = [key(teacher, prompt, text) for text in texts]
    wanted = {key: text for key, text in zip(keys, texts, strict=True) if key not in journal.answers}
    failures: dict[str, Failure] = {}
    if wanted and teacher.engine == "journal":
        failures = {key: Failure("not in the journal", "teacher.engine: journal asks nobody") for key in wanted}
    elif wanted:
        with journal.writing():
            wanted = {key: text for key, text in wanted.items() if key not in journal.answers}
            failures = asyncio.run(buy(teacher, journal, prompt, wanted, name))
    return [failures[key] if key in failures else usable(journal.answers[key]) for key in keys]


def usable(entry: Entry) -> Entry | Failure:
    """An answer that was finished, or the named reason why it can't be used."""
    if entry["finish_reason"] == "length":
        return Failure("truncated", f"stopped at max_tokens after {len(entry['answer'])} characters", answered=True)
    if entry["finish_reason"] != "stop":
        return Failure("refused by the teacher", f"finish_reason {entry['finish_reason']}", answered=True)
    return entry if entry["answer"].strip() else Failure("empty answer", answered=True)


async def buy(
    teacher: Teacher, journal: Journal, prompt: Prompt, wanted: dict[str, str], name: str
) -> dict[str, Failure]:
    """Ask for every key, so many at a time; the failures by key. Answers go to the journal as they come."""
    from openai import AsyncOpenAI
    from tqdm import tqdm

    api_key = os.environ.get("OPENAI_API_KEY")
    if not api_key:
        raise Refusal(
            f"teacher.engine: openai needs OPENAI_API_KEY in the environment ({len(wanted)} requests of {name} "
            "are not in the journal); any text will do for a local server that asks for none"
        )
    failures: dict[str, Failure] = {}
    fatal: list[Refusal] = []
    gate = asyncio.Semaphore(teacher.concurrency)

    async def one(client: "AsyncOpenAI", key: str, text: str) -> None:
        async with gate:
            if fatal:
                return
            try:
                outcome = await complete(client, teacher, prompt, key, text)
            except Refusal as refusal:
                fatal.append(refusal)  # what is under way is paid for: let it come in before the run stops
                return
        if isinstance(outcome, Failure):
            failures[key] = outcome
        else:
            journal.add(outcome)
        bar.update()

    # the library's own retries would pay again for an answer that is only slow
    async with AsyncOpenAI(
        api_key=api_key, base_url=teacher.base_url, max_retries=0, timeout=teacher.timeout
    ) as client:
        with tqdm(total=len(wanted), desc=name, unit="request") as bar:
            async with asyncio.TaskGroup() as group:
                for key, text in wanted.items():
                    group.create_task(one(client, key, text))
    if fatal:
        raise fatal[0]
    return failures


async def complete(client: "AsyncOpenAI", teacher: Teacher, prompt: Prompt, key: str, text: str) -> Entry | Failure:
    """One request with its retries: the journal's entry, or a failure."""
    import openai

    for attempt in range(teacher.retries + 1):
        try:
            reply = await client.chat.completions.create(
                model=teacher.model,
                temperature=teacher.temperature,
                max_tokens=teacher.max_tokens,
                messages=[{"role": "system", "content": prompt.text}, {"role": "user", "content": text}],
            )
            choices = getattr(reply, "choices", None)
            if choices:
                break
            fault: Exception | str = f"no completion but {str(reply)[:80]!r}"
            wait = None
        except openai.APITimeoutError:
            # a slow answer is billed like any other: to ask again would pay again
            return Failure("timed out", f"no answer in {teacher.timeout:g} s; raise teacher.timeout")
        except (openai.APIConnectionError, openai.APIResponseValidationError, json.JSONDecodeError) as error:
            fault, wait = error, None
        except openai.APIStatusError as error:
            if error.status_code in (401, 403, 404):
                raise Refusal(f"the teacher at {teacher.base_url} refuses every request: {error}") from None
            if error.status_code == 402 or error.code == "insufficient_quota":
                raise Refusal("the teacher's account has no credit left; what was bought is in the journal") from None
            if error.status_code not in (408, 409, 429) and error.status_code < 500:
                return Failure("request refused", str(error)[:200])
            fault, wait = error, error.response.headers.get("retry-after")
        if attempt < teacher.retries:
            await asyncio.sleep(pause(attempt, wait))
    else:
        return Failure("no answer", f"{teacher.retries + 1} tries; the last: {str(fault)[:160]}")
    return Entry(
        key=key,
        model=teacher.model,
        prompt=prompt.name,
        input=text,
        answer=whole(choices[0].message.content or ""),
        finish_reason=choices[0].finish_reason or "unknown",
        usage=reply.usage.model_dump(include={"prompt_tokens", "completion_tokens"}) if reply.usage else {},
    )


def pause(attempt: int, retry_after: str | None) -> float:
    """Seconds until the next try: what the server asks for, else doubling with jitter, so that clients part."""
    try:
        return min(float(retry_after or ""), LONGEST_WAIT)
    except ValueError:
        return min(2.0**attempt, LONGEST_WAIT) * random.uniform(0.5, 1.0)


def check_failures(failed: int, asked: int, teacher: Teacher, name: str, reasons: Iterable[str]) -> None:
    """Refuse to go on when more of the answers failed than the params allow."""
    if failed > teacher.max_failed * asked:
        raise Refusal(
            f"{name}: {failed} of {asked} requests failed ({', '.join(sorted(set(reasons)))}); teacher.max_failed "
            f"allows {teacher.max_failed:.0%}. What was answered is in the journal: mend the cause and run it again."
        )
