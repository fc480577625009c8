"""One line that tells how far a training run is, how fast it goes and when it ends.

The trainers' own bar counts steps of unknown size, and prints every log above itself. Not covered: what is kept of a
run (its history) and live charts.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainerCallback


def speed(tokens: float, done: float, elapsed: float) -> str:
    """Tokens a second after ``done`` steps of so many tokens."""
    return f"{tokens * done / max(elapsed, 1e-9):,.0f} tokens/s"


def show(trainer: Any, name: str, tokens: float = 0.0) -> None:
    """Give a trainer this bar for its own one."""
    from transformers import ProgressCallback

    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(bar(name, tokens))


def bar(name: str, tokens: float) -> "TrainerCallback":
    """A bar for a run whose steps read so many ``tokens`` on average, or 0 for nobody knows; speed is of training."""
    import time

    from tqdm import tqdm
    from transformers import TrainerCallback

    class Bar(TrainerCallback):
        shown: Any = None
        told: Sequence[str] = ()
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
                told = [speed(tokens, self.steps, self.spent)] if tokens else []
                self.shown.set_postfix_str(", ".join([*told, *self.told]), refresh=False)
                self.shown.update()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            shown = {"loss": "loss", "eval_loss": "validation loss", "reward": "reward"}
            found = [f"{words} {float(logs[key]):.3f}" for key, words in shown.items() if key in (logs or {})]
            self.told = found or self.told

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.shown is not None:
                self.shown.close()
                self.shown = None

    return Bar()
