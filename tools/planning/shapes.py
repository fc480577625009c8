"""What a model is made of, by arithmetic alone: parameters, matrices, and what a layer keeps for its backward pass.

A shape comes from a folder's or a cached snapshot's ``config.json``, or from ``shapes.yaml``; nothing is fetched and
torch is not needed. The counts of saved elements follow transformers' own layers and were compared with what autograd
keeps (``benchmarks/plan.py``). Not covered: mixtures of experts, and families that ``FAMILIES`` does not name.
"""

import difflib
import functools
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from stages.lib import paramfile, recipes
from stages.lib.contract import Refusal, suggest

TABLE = Path(__file__).with_name("shapes.yaml")
TEMPLATES = ("chat_template.jinja", "chat_template.json")  # where a chat template lies that tokenizer_config.json lacks
TOKENS_PER_SYLLABLE = 1.8  # where the table does not tell: multilingual vocabularies of 100,000 and more


@dataclass(frozen=True)
class Family:
    """How the layers of one ``model_type`` are built."""

    norm: Literal["rms", "gemma", "layer"]
    norms: int = 2  # of the hidden state, in a layer
    qk_norm: bool = False
    fused: bool = False  # query, key and value are one matrix
    gated: bool = True
    parallel: bool = False  # attention and MLP read the same hidden state
    eager: bool = False  # softmax over a matrix of scores that is kept, instead of a fused kernel
    biased: tuple[str, ...] = ()
    norm_bias: bool = False
    embedding_norm: bool = False
    head_bias: bool = False
    activation: int = 1  # tensors of the MLP's width that a plain activation keeps
    bounded: bool = True  # else its positions are slopes, and rows may be of any length


LLAMA = Family("rms")
GEMMA = Family("gemma", norms=4, qk_norm=True)
FAMILIES = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": Family("rms", biased=("q", "k", "v")),
    "qwen3": Family("rms", qk_norm=True),
    "gemma3_text": GEMMA,
    "gemma3": GEMMA,
    "bloom": Family(
        "layer", fused=True, gated=False, eager=True, biased=("qkv", "o", "up", "down"), norm_bias=True,
        embedding_norm=True, bounded=False,
    ),
    "gpt_neox": Family(
        "layer", fused=True, gated=False, parallel=True, biased=("qkv", "o", "up", "down"), norm_bias=True
    ),
    "gptj": Family(
        "layer", norms=1, gated=False, parallel=True, eager=True, biased=("up", "down"), norm_bias=True,
        head_bias=True, activation=4,
    ),
    "mpt": Family("layer", fused=True, gated=False, eager=True),
}  # fmt: skip


@dataclass(frozen=True)
class Linear:
    """A matrix of a layer; those of one ``reads`` are given the same tensor."""

    name: str
    ins: int
    outs: int
    reads: str


@dataclass(frozen=True)
class Shape:
    """The sizes of one model."""

    family: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    tied: bool
    context: int
    extra: int = 0  # parameters beside the text model: a vision tower, which the hub's files hold and base leaves out
    published: int = 2  # bytes of a parameter as the hub has it
    bare: bool = False  # no chat template was published with it, so base gives it tokens of a turn
    tokens_per_syllable: float = TOKENS_PER_SYLLABLE

    @property
    def built(self) -> Family:
        """How its layers are built."""
        return FAMILIES[self.family]


def linears(shape: Shape) -> list[Linear]:
    """The matrices of one layer."""
    h, q, kv, i = shape.hidden, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.inner
    one = "in" if shape.built.parallel and shape.built.norms == 1 else "mlp"
    if shape.built.fused:
        found = [Linear("qkv", h, q + 2 * kv, "in")]
    else:
        found = [Linear("q", h, q, "in"), Linear("k", h, kv, "in"), Linear("v", h, kv, "in")]
    found.append(Linear("o", q, h, "attended"))
    if shape.built.gated:
        found.append(Linear("gate", h, i, one))
    return [*found, Linear("up", h, i, one), Linear("down", i, h, "acted")]


def layer_matrices(shape: Shape) -> int:
    """Parameters of one layer's matrices, without biases: what 4-bit loading packs."""
    return sum(linear.ins * linear.outs for linear in linears(shape))


def layer_parameters(shape: Shape) -> int:
    """Parameters of one layer."""
    built = shape.built
    biases = sum(linear.outs for linear in linears(shape) if linear.name in built.biased)
    return (
        layer_matrices(shape)
        + biases
        + built.norms * norm_parameters(shape)
        + 2 * shape.head_dim * built.qk_norm  # one for queries, one for keys
    )


def norm_parameters(shape: Shape) -> int:
    """Parameters of one norm of the hidden state."""
    return shape.hidden * (1 + shape.built.norm_bias)


def head_parameters(shape: Shape) -> int:
    """Parameters that only the head has."""
    return shape.vocabulary * (shape.hidden * (not shape.tied) + shape.built.head_bias)


def parameters(shape: Shape) -> int:
    """All parameters that read and write text, one that is used twice counted once."""
    return (
        shape.vocabulary * shape.hidden
        + head_parameters(shape)
        + shape.layers * layer_parameters(shape)
        + norm_parameters(shape) * (1 + shape.built.embedding_norm)
    )


def adapter_parameters(shape: Shape, r: int) -> int:
    """Parameters of low-rank adapters on every matrix but the head."""
    return shape.layers * r * sum(linear.ins + linear.outs for linear in linears(shape))


def kept(
    shape: Shape,
    tokens: int,
    width: int,
    *,
    stream: int = 0,
    r: int = 0,
    dropout: float = 0.0,
    apart: bool = False,
    cuda: bool = True,
) -> float:
    """Bytes that one layer keeps for its backward pass, per token of a row of ``tokens``.

    ``width`` is the bytes of what matrices read, ``stream`` those of the hidden state between layers, which autocast
    leaves at float32 where the weights are; every matrix that reads it then keeps a copy of its own. ``r`` is the rank
    of adapters, 0 where every weight is trained; adapters in another precision than their input (``apart``) keep a
    copy of it each. CUDA's autocast has a layer norm read float32.
    """
    built, h, stream = shape.built, shape.hidden, stream or width
    q, kv, i = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.inner
    if built.norm == "layer":
        wide = 4 if cuda else stream
        distinct = built.norms if wide != stream else built.norms - (built.parallel and built.norms > 1)
        total: float = distinct * h * wide
    else:
        scale = 0 if r else (4 if built.norm == "gemma" else width)  # what the gradient of a norm's weight needs
        total = built.norms * h * (4 + (0 if r else max(scale, stream))) + (q + kv) * built.qk_norm * (4 + scale)
    own = stream != width or (apart and r > 0)
    copied = {linear.name for linear in linears(shape) if own and (linear.reads in ("in", "mlp") or r)}
    inputs = {linear.name if linear.name in copied else linear.reads: linear.ins for linear in linears(shape)}
    total += sum(inputs.values()) * width + r * len(linears(shape)) * width
    total += sum(inputs.values()) * (dropout > 0 and r > 0)  # a byte for each that may be dropped
    if built.eager:
        total += (q + 2 * kv) * width + shape.heads * tokens * (4 + (width if width < 4 else 0))
    elif built.fused:
        total += (3 * q + 2 * kv + q) * width  # the whole fused tensor is kept for the sake of its values
    else:
        total += (q + 2 * kv) * width + shape.heads * 4 + q * width * (apart and r > 0)
    return total + width * i * (3 if built.gated else built.activation)


def cache(shape: Shape, width: int) -> int:
    """Bytes of keys and values for one token."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * width


def of(base: recipes.Scratch | recipes.Hub) -> tuple[Shape, str]:
    """(the shape of a recipe's base model, where it is known from)."""
    if isinstance(base, recipes.Scratch):
        inner = -(-base.hidden * 8 // 3 // 64) * 64
        sizes = (base.vocabulary, base.hidden, base.layers, base.heads, base.heads, base.hidden // base.heads, inner)
        return Shape("llama", *sizes, tied=True, context=base.context, tokens_per_syllable=2.2), "the recipe"
    for folder in (Path(base.repo), *snapshots(base)):
        if (folder / "config.json").is_file():
            found = from_config(json.loads((folder / "config.json").read_text(encoding="utf-8")), base.repo)
            return replace(found, vocabulary=found.vocabulary + base.grow, bare=bare(folder)), "its config.json"
    known = published()
    if base.repo not in known:
        raise Refusal(f"base.repo: {unknown(base.repo, sorted(known))}")
    found = known[base.repo]
    return replace(found, vocabulary=found.vocabulary + base.grow), "tools/planning/shapes.yaml"


def unknown(repo: str, known: list[str]) -> str:
    """Why a model has no shape here, and what to do."""
    if Path(repo).is_dir():
        return f"{repo} holds no config.json: is it a model's folder, and whole?"
    return (
        f"the shape of {repo!r} is not known here;"
        f" {near(repo, known) or 'no name in tools/planning/shapes.yaml is like it.'} Else name"
        " a local folder with its config.json, or add a few lines to tools/planning/shapes.yaml"
    )


def near(found: str, known: list[str]) -> str:
    """The one name that was most likely meant, as a question; nothing where none is like it."""
    folded = {name.casefold(): name for name in known}
    return "".join(f"did you mean {folded[one]!r}?" for one in difflib.get_close_matches(found.casefold(), folded, n=1))


@functools.cache
def published() -> dict[str, Shape]:
    """The shapes of the table, by the names of their repositories on the hub."""
    entries = (dict(entry) for entry in paramfile.load(TABLE).values())
    return {repo: from_table(entry, repo) for entry in entries for repo in entry["repos"]}


def from_table(entry: dict[str, Any], repo: str = "") -> Shape:
    """A shape of the table, as one of its repositories has it."""
    told = entry.get("bare", False)
    sizes = {key: value for key, value in entry.items() if key not in ("repos", "parameters", "bare")}
    return Shape(**sizes, bare=told if isinstance(told, bool) else repo in told)


def bare(folder: Path) -> bool:
    """Whether a folder's model has no chat template, or was given one whose tokens it has not learned yet."""
    if "unread" in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        return True
    told = folder / "tokenizer_config.json"
    held = told.is_file() and json.loads(told.read_text(encoding="utf-8")).get("chat_template")
    return not (held or any((folder / name).is_file() for name in TEMPLATES))


def snapshots(base: recipes.Hub) -> list[Path]:
    """Where the hub's cache would hold the pinned snapshot."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache_folder = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return [cache_folder / f"models--{base.repo.replace('/', '--')}" / "snapshots" / base.revision]


def from_config(config: dict[str, Any], name: str) -> Shape:
    """A shape from what a ``config.json`` says, whatever its family calls things."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise Refusal(
            f"{name}: its model_type is {family!r}, which the plan can't count; {suggest(str(family), list(FAMILIES))}"
        )

    text = config.get("text_config", config)

    def first(*keys: str, default: Any = None) -> Any:
        return next((text[key] for key in keys if text.get(key) is not None), default)

    hidden, heads = first("hidden_size", "n_embd", "d_model"), first("num_attention_heads", "n_head", "n_heads")
    layers = first("num_hidden_layers", "n_layer", "n_layers")
    if not (hidden and heads and layers and first("vocab_size")):
        raise Refusal(f"{name}: its config.json does not tell the sizes of a {family} model")
    return Shape(
        family=str(family),
        vocabulary=first("vocab_size"),
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=first("num_key_value_heads", default=heads),
        head_dim=first("head_dim", default=hidden // heads),
        inner=first("intermediate_size", "n_inner", default=hidden * first("expansion_ratio", default=4)),
        tied=first("tie_word_embeddings", default=family in ("bloom", "mpt", "gemma3", "gemma3_text")),
        context=first("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", default=2048),
        published=4 if first("dtype", "torch_dtype", default=config.get("dtype")) == "float32" else 2,
    )
