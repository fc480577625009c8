"""NLLB-200 (Costa-jussà et al. 2022) on this machine: where a model comes from, and two ways to run it.

A model is a hub repository at a pinned commit (``owner/name@<40 hex digits>``), or a folder below the project's root;
its weights are safetensors, nothing else is read. CTranslate2 runs the dense ones (600M, 1.3B, 3.3B), in int8 at a
quarter of the size; it converts a model once, into data/nllb of the main checkout. Without CTranslate2, and for the
54B mixture of experts, which it doesn't know, transformers runs the same weights, in float32 or float16. Both get the
same ids and search in the same way; in float32 they say all but the same. A folder is known by its name alone, in the
answers' keys, too: rename it when its weights change. Not covered: what is said (``nllb.py``).
"""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib import hub
from stages.lib.contract import Refusal
from stages.lib.records import fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SOURCE, TARGET = "eng_Latn", "vie_Latn"
DENSE, EXPERTS = "m2m_100", "nllb-moe"  # types of model
BATCH = {"cpu": 1024, "cuda": 8192}  # tokens that are translated together

Row = list[int]
Said = tuple[Row, bool]  # ids without language and end, and whether the model ended by itself
Run = Callable[[list[Row], int, int], list[Said]]  # rows of ids, beams, ids that an answer may have


@dataclass(frozen=True)
class Model:
    """A model that is ready: ``positions`` is how many ids it can read."""

    tokenizer: "PreTrainedTokenizerBase"
    positions: int
    run: Run


def home() -> Path:
    """Converted models of this checkout; DVC_ROOT is the main checkout also in experiments that run in a copy."""
    return Path(os.environ.get("DVC_ROOT", ".")) / "data" / "nllb"


@lru_cache(maxsize=1)  # a stage asks for its answers in several portions
def load(name: str, quantization: str) -> Model:
    """The model of that name, by CTranslate2 where it can run it."""
    folder = local(name)
    if folder is None and not hub.PINNED.fullmatch(name):
        raise Refusal(
            f"teacher.model: found {name!r}; engine nllb takes a folder below the project's root, or a hub repository "
            "at a pinned commit: facebook/nllb-200-distilled-600M@<40 hex digits>"
        )
    if find_spec("ctranslate2"):
        ready = home() / fingerprint([name, weights(folder) if folder else None, quantization])
        if not ready.exists():
            folder = checked(folder or hub.folder(name, "teacher.model"), name)
            if kind(folder, name) == DENSE:
                convert(folder, ready, name, quantization)
        if ready.exists():
            return by_ctranslate2(ready, quantization)
    folder = checked(folder or hub.folder(name, "teacher.model"), name)
    if quantization.startswith("int8"):
        why = "CTranslate2 can't run this kind of model"
        if kind(folder, name) == DENSE:
            why = "CTranslate2 is missing; install it (`make setup EXTRAS=nllb`)"
        raise Refusal(
            f"teacher.nllb.quantization: found {quantization}; {why}, or let transformers run it in float32 or float16"
        )
    return by_transformers(folder, quantization)


def local(name: str) -> Path | None:
    """A folder by the name that answers carry: one that holds no path of this machine."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise Refusal(
            f"teacher.model: found {name}; the name is written into every answer, so name a folder below the project's "
            "root (a link will do)"
        )
    places = (Path(name), Path(os.environ.get("DVC_ROOT", ".")) / name)
    return next((place for place in places if place.is_dir()), None)


def weights(folder: Path) -> list[tuple[str, int, int]]:
    """What tells one state of a folder from another."""
    states = ((path.name, path.stat()) for path in sorted(folder.iterdir()))
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def checked(folder: Path, name: str) -> Path:
    """The folder, if it holds all that a model needs."""
    if not (folder / "config.json").is_file():
        raise Refusal(f"teacher.model: {name} holds no config.json; it is no model of transformers")
    if not any(folder.glob("*.safetensors")):
        raise Refusal(
            f"teacher.model: {name} holds no safetensors; weights in other formats can run code and are not read. Hub "
            "repositories often have them in a pull request of SFconvertbot: pin its commit"
        )
    if not any((folder / file).is_file() for file in ("tokenizer.json", "sentencepiece.bpe.model")):
        raise Refusal(f"teacher.model: {name} holds no tokenizer (tokenizer.json or sentencepiece.bpe.model)")
    return folder


def kind(folder: Path, name: str) -> str:
    """Dense or a mixture of experts."""
    found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if found not in (DENSE, EXPERTS):
        raise Refusal(f"teacher.model: {name} is of type {found!r}; NLLB is {DENSE} or {EXPERTS}")
    return str(found)


def tokenizer_of(folder: Path) -> "PreTrainedTokenizerBase":
    """A tokenizer that knows both languages and reads English."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), src_lang=SOURCE, trust_remote_code=False)
    missing = [lang for lang in (SOURCE, TARGET) if tokenizer.convert_tokens_to_ids(lang) == tokenizer.unk_token_id]
    if missing:
        raise Refusal(f"teacher.model: its tokenizer doesn't know {' and '.join(missing)}; it is none of NLLB-200")
    return tokenizer


def convert(folder: Path, ready: Path, name: str, quantization: str) -> None:
    """The model as CTranslate2 reads it, with its tokenizer; what was killed half-way is begun anew."""
    from ctranslate2.converters import TransformersConverter

    ready.parent.mkdir(parents=True, exist_ok=True)
    with ready.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ready.exists():
            return  # another process has done it meanwhile
        print(f"converting {name} to {quantization} for CTranslate2, once", file=sys.stderr)
        part = ready.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        tokenizer = tokenizer_of(folder)
        TransformersConverter(str(folder), low_cpu_mem_usage=True).convert(str(part), quantization=quantization)
        tokenizer.save_pretrained(str(part / "tokenizer"))
        shutil.copy(folder / "config.json", part / "tokenizer")
        os.replace(part, ready)


def by_ctranslate2(folder: Path, quantization: str) -> Model:
    """A converted model, on all GPUs or on the CPU's cores."""
    import ctranslate2

    tokenizer = tokenizer_of(folder / "tokenizer")
    gpus = ctranslate2.get_cuda_device_count()
    device = "cuda" if gpus else "cpu"
    places = {"device_index": list(range(gpus))} if gpus else {"inter_threads": max(1, cores() // 4)}
    try:
        translator = ctranslate2.Translator(str(folder), device=device, compute_type=quantization, **places)
    except ValueError as error:  # such as float16 on a CPU
        raise Refusal(f"teacher.nllb.quantization: found {quantization}: {error}") from None

    def run(rows: list[Row], beam: int, room: int) -> list[Said]:
        found = translator.translate_batch(
            [tokenizer.convert_ids_to_tokens(row) for row in rows],
            target_prefix=[[TARGET]] * len(rows),
            beam_size=beam,
            max_batch_size=BATCH[device],
            batch_type="tokens",
            max_input_length=0,  # nothing is cut in silence
            max_decoding_length=room + 1,  # the language counts
            return_end_token=True,
        )
        return [ended(tokenizer.convert_tokens_to_ids(one.hypotheses[0][1:]), tokenizer.eos_token_id) for one in found]

    return Model(tokenizer, positions(folder / "tokenizer"), run)


def by_transformers(folder: Path, quantization: str) -> Model:
    """A model as it is, on all GPUs or on the CPU."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, GenerationConfig

    tokenizer = tokenizer_of(folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForSeq2SeqLM.from_pretrained(
        str(folder),
        dtype={"float32": torch.float32, "float16": torch.float16}[quantization],
        device_map="auto" if device == "cuda" else device,
        use_safetensors=True,
        trust_remote_code=False,
    )
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    begin = 2  # ids of an answer before its words: the start and the language

    def together(rows: list[Row], beam: int, room: int) -> list[Said]:
        longest = max(map(len, rows))
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows], device=model.device)
        # as CTranslate2 searches: it stops at as many answers as beams, and the language counts in their lengths
        search = GenerationConfig(
            num_beams=beam, do_sample=False, early_stopping=beam > 1, max_new_tokens=room + 1,
            forced_bos_token_id=tokenizer.convert_tokens_to_ids(TARGET),
            decoder_start_token_id=model.config.decoder_start_token_id, pad_token_id=pad, eos_token_id=end,
        )  # fmt: skip
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids,
                attention_mask=(torch.arange(longest)[None] < torch.tensor([[len(row)] for row in rows])).to(ids),
                generation_config=search,
            )
        return [ended(row, end) for row in output[:, begin:].tolist()]

    def run(rows: list[Row], beam: int, room: int) -> list[Said]:
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        said: dict[int, Said] = {}
        while order:
            count = max(1, BATCH[device] // len(rows[order[-1]]))
            batch = [order.pop() for _ in range(min(count, len(order)))]
            said |= zip(batch, together([rows[place] for place in batch], beam, room), strict=True)
        return [said[place] for place in range(len(rows))]

    return Model(tokenizer, positions(folder), run)


def positions(folder: Path) -> int:
    """How many ids a model can read."""
    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"])


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def ended(ids: Row, end: int) -> Said:
    """What was said up to the end, and whether there was one."""
    return (ids[: ids.index(end)], True) if end in ids else (ids, False)
