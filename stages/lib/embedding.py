"""Texts as vectors by what they say: the mean of an encoder's last states over all tokens of a text, of length 1.

Texts of any length count whole. The cosine of two texts is the product of their vectors. Not covered: encoders that
want a word before the text ("query: ") or another pooling than the mean.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.lib import params, windows

F32 = npt.NDArray[np.float32]


def encoder(folder: Path, compute: params.Compute) -> Callable[[Sequence[str]], F32]:
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


def embed(texts: Sequence[str], folder: Path, compute: params.Compute) -> F32:
    """The vectors of some texts, [texts, width]; :func:`encoder` keeps the model for more."""
    return encoder(folder, compute)(texts)
