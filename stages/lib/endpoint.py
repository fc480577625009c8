"""Any OpenAI-compatible endpoint as a teacher: so many requests at a time, each with its retries.

The API key comes from the environment variable that the params name and is written nowhere.
"""

import asyncio
import json
import os
import random
from typing import TYPE_CHECKING

from stages.lib.contract import Refusal
from stages.lib.journal import Entry, Journal
from stages.lib.params import Teacher
from stages.lib.requests import Failure, Prompt
from stages.lib.spend import Purse
from stages.lib.vietnamese import whole

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LONGEST_WAIT = 60.0  # seconds between two tries


def buy(
    teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], name: str
) -> dict[str, Failure]:
    """Ask for every key; answers go to the journal as they come, the failures are returned by key."""
    return asyncio.run(ask_all(teacher, journal, purse, prompt, wanted, name))


async def ask_all(
    teacher: Teacher, journal: Journal, purse: Purse, prompt: Prompt, wanted: dict[str, str], name: str
) -> dict[str, Failure]:
    """Ask for every key, so many at a time; the failures by key. Answers go to the journal as they come."""
    from openai import AsyncOpenAI
    from tqdm import tqdm

    api_key = os.environ.get(teacher.api_key)
    if not api_key:
        raise Refusal(
            f"teacher.engine: openai needs {teacher.api_key} in the environment ({len(wanted)} requests of {name} "
            "are not in the journal); any text will do for a local server that asks for none"
        )
    failures: dict[str, Failure] = {}
    fatal: list[Refusal] = []
    gate = asyncio.Semaphore(teacher.concurrency)

    async def one(client: "AsyncOpenAI", key: str, text: str) -> None:
        async with gate:
            if fatal:
                return
            tokens = len((prompt.text + text).encode("utf-8"))  # a token is a byte at least
            try:
                hold = await purse.hold(tokens, teacher.max_tokens)
                outcome = await complete(client, teacher, prompt, key, text)
            except Refusal as refusal:
                fatal.append(refusal)  # what is under way is paid for: let it come in before the run stops
                return
        if isinstance(outcome, Failure):
            failures[key] = outcome
            (purse.lose if outcome.reason == "timed out" else purse.free)(hold)
        else:
            purse.pay(hold, outcome["usage"])
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
