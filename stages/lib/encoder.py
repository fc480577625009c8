"""How near a text and its translation are to a sentence encoder for many languages.

Mean pooling over the last layer (Reimers and Gurevych 2019) and the cosine, as LaBSE-like and multilingual MiniLM or
E5 encoders are used. A folder, or a repository at a pinned revision; weights are safetensors and no code of theirs is
run. Not covered: encoders that want their texts introduced ("query: …").
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.contract import Refusal
from stages.lib.params import Encoder

if TYPE_CHECKING:
    import torch

FILES = ["model*.safetensors", "config.json", "tokenizer*", "special_tokens_map.json", "vocab*", "*.model"]
BATCH = 32


class Similarity:
    """Cosines by an encoder that is loaded when it is first asked."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, groups: list[list[tuple[str, str]]]) -> list[float]:
        """The lowest cosine of a text and its translation in each group, from -1 to 1."""
        pairs = [pair for group in groups for pair in group]
        if not pairs:
            return [1.0] * len(groups)
        if self._loaded is None:
            self._loaded = load(self._encoder)
        sides = [embed(*self._loaded, [pair[side] for pair in pairs]) for side in (0, 1)]
        cosines = iter((sides[0] * sides[1]).sum(dim=1).tolist())
        return [min((next(cosines) for _ in group), default=1.0) for group in groups]


def load(encoder: Encoder) -> tuple[Any, Any]:
    """A tokenizer and its model, on the GPU if there is one."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(encoder.repo) if Path(encoder.repo).is_dir() else download(encoder)
    if not any(folder.glob("*.safetensors")):
        raise Refusal(f"translate.encoder: {encoder.repo} holds no safetensors; weights in other formats can run code")
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    model = AutoModel.from_pretrained(str(folder), use_safetensors=True, trust_remote_code=False)
    return tokenizer, model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def download(encoder: Encoder) -> Path:
    """The snapshot's folder; only what is data is fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(encoder.repo, revision=encoder.revision, allow_patterns=FILES))
    except (RepositoryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise Refusal(
            f"translate.encoder: {encoder.repo} at {encoder.revision} can't be had: "
            f"{' '.join(str(error).split())[:200]}; check the name and the revision, or name a local folder"
        ) from None


def embed(tokenizer: Any, model: Any, texts: list[str]) -> "torch.Tensor":
    """A vector of length 1 for each text: the mean over its tokens; (texts, width)."""
    import torch

    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512), 512)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    rows: list[Any] = [None] * len(texts)
    for first in range(0, len(order), BATCH):
        places = order[first : first + BATCH]
        batch = tokenizer(
            [texts[place] for place in places], padding=True, truncation=True, max_length=longest, return_tensors="pt"
        ).to(model.device)
        with torch.inference_mode():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        means = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        for place, row in zip(places, torch.nn.functional.normalize(means, dim=1).cpu(), strict=True):
            rows[place] = row
    return torch.stack(rows)
