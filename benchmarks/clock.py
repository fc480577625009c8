"""A clock inside a training process: seconds, tokens and memory of its steps.

It runs from the end of step ``WARM`` to that of the last one, and stands still while a trainer evaluates. Every
trainer of the process tells it by a callback that transformers gives to all. Not covered: start-up, which is taken
from outside.
"""

import time
from typing import Any

WARM = 2  # steps before the clock starts: first touches of memory, kernels that are compiled
PAD = 0  # the tokenizer's own padding, which no text holds


class Clock:
    """Wall and processor seconds of steps, without what is taken aside."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []
        self.aside = [0.0, 0.0]
        self.batches: list[dict[str, Any]] = []
        self.begun = 0.0
        self.loss = 0.0

    def now(self) -> tuple[float, float]:
        """The present, when the device has done what it was told."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.monotonic(), time.process_time()

    def mark(self) -> None:
        """A step has ended; only the marks at both ends wait for the device."""
        now = self.now() if len(self.marks) < WARM else (time.monotonic(), time.process_time())
        self.marks.append((now[0] - self.aside[0], now[1] - self.aside[1]))

    def finish(self) -> None:
        """The last step has ended on the device, too."""
        now = self.now()
        self.marks[-1] = (now[0] - self.aside[0], now[1] - self.aside[1])

    def told(self) -> dict[str, float]:
        """The figures of the timed steps."""
        import torch

        seen = [batch["input_ids"] for batch in self.batches[WARM : len(self.marks)]]
        real = sum(int((ids != PAD).sum()) for ids in seen)
        (wall, cpu), (end_wall, end_cpu) = self.marks[WARM - 1], self.marks[-1]
        found = {
            "steps": float(len(self.marks) - WARM), "tokens": float(real), "room": float(sum(map(torch.numel, seen))),
            "wall": end_wall - wall, "cpu": end_cpu - cpu, "begun": self.begun, "loss": self.loss,
        }  # fmt: skip
        if torch.cuda.is_available():
            free, room = torch.cuda.mem_get_info()
            beside = room - free - torch.cuda.memory_reserved()
            found |= {
                "allocated": float(torch.cuda.max_memory_allocated()),
                "reserved": float(torch.cuda.max_memory_reserved() + beside),
            }
        return found


def watched(clock: Clock) -> None:
    """Have every trainer of this process tell the clock, whoever makes it; nothing is written when it has finished."""
    import transformers
    from transformers import Trainer, TrainerCallback, trainer

    class Told(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.begun = time.monotonic() - clock.aside[0]

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.mark()
            if state.global_step == state.max_steps:
                clock.finish()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            clock.loss = (logs or {}).get("train_loss", clock.loss)

    fetch, evaluate = Trainer.get_batch_samples, Trainer.evaluate

    def fetched(self: Any, *words: Any) -> Any:
        batches, count = fetch(self, *words)
        clock.batches += batches
        return batches, count

    def evaluated(self: Any, *words: Any, **more: Any) -> Any:
        before = clock.now()
        found = evaluate(self, *words, **more)
        clock.aside = [kept + now - then for kept, now, then in zip(clock.aside, clock.now(), before, strict=True)]
        return found

    trainer.DEFAULT_CALLBACKS.append(Told)
    Trainer.get_batch_samples, Trainer.evaluate = fetched, evaluated
    Trainer.save_model = lambda *_: None
    transformers.logging.set_verbosity_error()
