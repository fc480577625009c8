"""How fast NLLB is in each way of running it: ``python -m benchmarks.nllb [rounds] [sentences]``, on one core.

A model with random weights, a third of the layers and a quarter of the vocabulary of nllb-200-distilled-600M but as
wide, translates sentences of 12 to 28 ids; it never ends by itself, so every answer has as many ids in every way. The
ways take turns, so that other work on the machine slows all of them; the best of the rounds counts. Not covered: GPUs,
and what int8 costs in quality, which random weights can't tell.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything that reads it

import json
import random
import sys
import tempfile
import time
from pathlib import Path

from stages.lib.teachers import nllb_models
from stages.lib.teachers.nllb_models import Model, Row

WIDTH, LAYERS, VOCABULARY, ROOM = 1024, 4, 64_000, 24
BEAMS = (1, 4)
WAYS = ("transformers float32", "CTranslate2 float32", "CTranslate2 int8")


def make(folder: Path) -> None:
    """The model as published ones lie on a disk."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"▁{number}" for number in range(VOCABULARY))]
    tokenizer = NllbTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])
    torch.manual_seed(1)
    config = M2M100Config(
        vocab_size=len(tokenizer), d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS,
        encoder_ffn_dim=4 * WIDTH, decoder_ffn_dim=4 * WIDTH,
    )  # fmt: skip
    model = M2M100ForConditionalGeneration(config)
    print(f"{model.num_parameters():,} weights, {torch.get_num_threads()} thread", file=sys.stderr)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def size(folder: Path) -> float:
    """Megabytes of weights."""
    return sum(path.stat().st_size for name in ("*.safetensors", "model.bin") for path in folder.glob(name)) / 1e6


def measure(model: Model, rows: list[Row], beam: int) -> tuple[float, float]:
    """Wall and CPU seconds for all rows."""
    wall, busy = time.perf_counter(), time.process_time()
    said = model.run(rows, beam, ROOM)
    assert {len(ids) for ids, _ in said} == {ROOM}, "an answer ended early: the ways did unequal work"
    return time.perf_counter() - wall, time.process_time() - busy


def main() -> None:
    """Make the model, measure each way in turns, print the table."""
    rounds, count = (int(word) for word in (sys.argv[1:] + ["3", "16"][len(sys.argv) - 1 :]))
    rng = random.Random(1)
    rows = [[rng.randrange(4, VOCABULARY) for _ in range(rng.randint(12, 28))] for _ in range(count)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        os.environ["DVC_ROOT"] = name
        make(folder)
        models, sizes = {WAYS[0]: nllb_models.by_transformers(folder, "float32")}, {WAYS[0]: size(folder)}
        for way in WAYS[1:]:
            ready = Path(name) / way
            nllb_models.convert(folder, ready, "a random model", way.split()[1])
            models[way], sizes[way] = nllb_models.by_ctranslate2(ready, way.split()[1]), size(ready)
        best: dict[tuple[str, int], tuple[float, float]] = {}
        for turn in range(rounds):
            for beam in BEAMS:
                for way in WAYS:
                    found = measure(models[way], rows, beam)
                    print(json.dumps([turn, beam, way, *(round(each, 2) for each in found)]), file=sys.stderr)
                    best[way, beam] = min(found, best.get((way, beam), found), key=lambda times: times[1])
    print("| | beam | sentences/s (CPU) | sentences/s (wall) | ratio | MB |\n|---|--:|--:|--:|--:|--:|")
    for (way, beam), (wall, busy) in sorted(best.items(), key=lambda item: item[0][1]):
        ratio = best[WAYS[0], beam][1] / busy
        print(f"| {way} | {beam} | {count / busy:.2f} | {count / wall:.2f} | {ratio:.1f} | {sizes[way]:,.0f} |")


if __name__ == "__main__":
    main()
