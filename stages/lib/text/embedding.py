"""Texts as vectors by what they say: the mean of an encoder's last states over all tokens of a text, of length 1.

Texts of any length count whole. The cosine of two texts is the product of their vectors. Not covered: encoders that
want a word before the text ("query: ") or another pooling than the mean.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.lib import hub, params
from stages.lib.text import windows

F32 = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], F32]  # texts to their vectors [texts, width]


def encoder(folder: Path, compute: params.Compute) -> Embed:
    """A function from texts to their vectors [texts, width]."""
    from transformers import AutoModel

    tokenizer, model = windows.load(AutoModel, folder, compute)
    width = int(model.config.hidden_size)

    def embed(texts: Sequence[str]) -> F32:
        sums = np.zeros((len(texts), width), dtype=np.float64)
        for owners, mask, said in windows.forward(tokenizer, model, texts):
            states = said.last_hidden_state.float() * mask[:, :, None]
            np.add.at(sums, owners, states.sum(1).cpu().numpy())
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return (sums / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    return embed


class Similarity:
    """Cosines by an encoder for many languages, which is loaded when it is first asked."""

    def __init__(self, encoder: params.Encoder) -> None:
        self._encoder = encoder
        self._embed: Embed | None = None

    def __call__(self, groups: list[list[tuple[str, str]]]) -> list[float]:
        """The lowest cosine of a text and its translation in each group, from -1 to 1."""
        pairs = [pair for group in groups for pair in group]
        if not pairs:
            return [1.0] * len(groups)
        if self._embed is None:
            folder = hub.folder(self._encoder.model, "translate.encoder.model")
            self._embed = encoder(folder, self._encoder.compute)
        sides = [self._embed([pair[side] for pair in pairs]) for side in (0, 1)]
        cosines = iter((sides[0] * sides[1]).sum(axis=1).tolist())
        return [min((next(cosines) for _ in group), default=1.0) for group in groups]
