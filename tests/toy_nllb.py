"""A tiny NLLB that is taught a dozen words, as a folder."""

import random
from pathlib import Path

from stages.lib import paramfile
from stages.lib.teachers import nllb_models

PROMPT = Path("stages/prompts/translate.yaml")
DIALS = paramfile.check(Path("params.yaml"), Path("recipes"))[0]
WORDS = dict(
    zip(
        "the cat sees a big house and my dog eats rice run then please XZ1 XZ2".split(),
        # one mark is copied and the other lost
        "con mèo thấy một lớn nhà và tôi chó ăn cơm chạy rồi nhé XZ1 nó".split(),
        strict=True,
    )
)
WIDTH = 64


def sentence(rng: random.Random, count: int) -> tuple[str, str]:
    """So many words in both languages."""
    words, stop = rng.choices(list(WORDS), k=count), rng.choice([".", "?", "!", ":", ""])
    source, target = (" ".join(said) + stop for said in (words, [WORDS[word] for word in words]))
    if rng.random() < 0.5:
        source, target = source[0].upper() + source[1:], target[0].upper() + target[1:]
    return source, target


def write(folder: Path) -> None:
    """An NLLB of 110,000 weights into ``folder``."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    rng, vocabulary, merges = (
        random.Random(1),
        ["<s>", "<pad>", "</s>", "<unk>", "▁", ".", "?", "!", ":"],
        list[tuple[str, str]](),
    )
    lower = sorted({*WORDS, *WORDS.values()})
    for word in dict.fromkeys([*lower, *(word[0].upper() + word[1:] for word in lower)]):
        begin = "▁"
        for letter in word:
            merges.append((begin, letter))
            begin += letter
            vocabulary += [letter, begin]
    ids = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = NllbTokenizer(
        vocab=ids, merges=list(dict.fromkeys(merges)), src_lang=nllb_models.SOURCE, tgt_lang=nllb_models.TARGET
    )
    layer = {f"{end}_{part}": size for end in ("encoder", "decoder") for part, size in
             (("layers", 1), ("attention_heads", 4), ("ffn_dim", 2 * WIDTH), ("layerdrop", 0.0))}  # fmt: skip
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = M2M100ForConditionalGeneration(
        M2M100Config(vocab_size=len(tokenizer), d_model=WIDTH, dropout=0.0, attention_dropout=0.0,
                     max_position_embeddings=64, **layer)
    )  # fmt: skip
    cross, eye = model.model.decoder.layers[0].encoder_attn, torch.eye(WIDTH)
    with torch.no_grad():  # it begins by looking at its own place in the source, by the sines and cosines of each head
        for linear in (cross.q_proj, cross.k_proj):
            linear.weight.copy_(3 * eye[[place // 2 + place % 2 * WIDTH // 2 for place in range(WIDTH)]])
        for linear in (cross.v_proj, cross.out_proj):
            linear.weight.copy_(eye)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=400)
    for step in range(400):
        pairs = [sentence(rng, step % 9 + 1) for _ in range(32)]
        batch = tokenizer([source for source, _ in pairs], text_target=[target for _, target in pairs],
                          padding=True, return_tensors="pt")  # fmt: skip
        wanted = batch["labels"]
        shifted = torch.cat([torch.full((32, 1), tokenizer.eos_token_id), wanted[:, :-1]], 1)
        logits = model(batch["input_ids"], batch["attention_mask"], decoder_input_ids=shifted).logits[:, 1:]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), wanted[:, 1:].flatten(), ignore_index=tokenizer.pad_token_id
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert loss.item() < 0.1
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    torch.set_num_threads(threads)
