"""One line that tells how far a training run is, how fast it goes and when it ends.

The trainers' own bar counts steps of unknown size, and prints every log above itself. Not covered: what is kept of a
run (its history) and live charts.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainerCallback


def speed(tokens: float, done: float, elapsed: float) -> str:
    """Tokens a second after ``done`` steps of so many tokens."""
    return f"{tokens * done / max(elapsed, 1e-9):,.0f} tokens/s"


def bar(name: str, tokens: float) -> "TrainerCallback":
    """A bar for a run whose steps read so many ``tokens`` on average; speed counts training alone."""
    import time

    from tqdm import tqdm
    from transformers import TrainerCallback

    class Bar(TrainerCallback):
        shown: Any = None
        loss = ""
        steps = 0
        spent = 0.0
        begun = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                self.shown = tqdm(
                    total=state.max_steps, initial=state.global_step, desc=name, unit="step", mininterval=1
                )

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.begun = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.spent += time.monotonic() - self.begun
            self.steps += 1
            if self.shown is not None:
                self.shown.set_postfix_str(speed(tokens, self.steps, self.spent) + self.loss, refresh=False)
                self.shown.update()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            for key, words in (("loss", "loss"), ("eval_loss", "validation loss")):
                if key in (logs or {}):
                    self.loss = f", {words} {float(logs[key]):.3f}"

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.shown is not None:
                self.shown.close()
                self.shown = None

    return Bar()
