"""The base stage's way to the hub: what it fetches, what it keeps from an earlier time, and how it says no."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.lib import determinism

determinism.pin(1, "cpu", 1)  # before anything imports torch

from stages.lib import models, recipes, vocabulary  # noqa: E402
from stages.lib.contract import Refusal  # noqa: E402
from tests import families  # noqa: E402
from tests.upstream import Reply, environment, serving  # noqa: E402

HELD = 10 << 20  # what huggingface_hub holds back before it writes
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# one process asks for many models; what it says of each goes to a file
ASK = """
import json, sys
from pathlib import Path
from stages.lib import determinism
determinism.pin(1, "cpu", 1)
from stages import base
from stages.lib import hub, recipes
from stages.lib.contract import Refusal

said = {}
for repo, revision in json.loads(sys.argv[1]):
    try:
        found = hub.snapshot(repo, revision)
        hub.config(found.folder, repo)
        base.hub_tokenizer(found.folder, repo)
        said[f"{repo}@{revision}"] = found.commit
    except Refusal as refusal:
        said[f"{repo}@{revision}"] = str(refusal)
print(json.dumps(said))
"""
MADE = """
import sys
from pathlib import Path
from stages import base
from stages.lib import recipes, records
from tests import families

words = families.table(Path("t"), "text", [[("text", text)] for text in families.NEWS])
source = recipes.Hub(source="hub", repo="o/good", revision=sys.argv[1], grow=0)
compute = recipes.Compute(device="cpu", threads=1, precision="auto", launch="single")
base.main(words, words, Path("model"), Path("h.json"), seed=1, compute=compute, base=source)
"""
REFUSED = {
    "o/pickled@main": "weights in a format that can run code; convert them",
    "o/gguf@main": "holds no safetensors: is it the model",
    "o/gated@main": "HTTP 401; log in at {url}/o/gated and accept its licence, then set HF_TOKEN",
    "o/none@main": "HTTP 401; no such model for this login; is the name right?",
    "o/good@v9": "HTTP 404; it has no such revision; see {url}/o/good/commits",
    "o/busy@main": "HTTP 503; the hub is busy or out of order; run it again later, it goes on where it ended",
    "o/strange@main": "is of the architecture 'strangenet', which transformers",
    "o/quantised@main": "holds quantised weights, which lose by learning",
    "o/mute@main": "has no tokenizer that can be read without running its code",
    "no name": "nor a folder here; a name reads owner/model",
}


def error(status: int, code: str) -> Reply:
    return Reply(b'{"error": "no"}', status, {"X-Error-Code": code, "X-Error-Message": "no"})


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A hub on loopback, and a function that runs a script against it."""
    home = tmp_path_factory.mktemp("hub")
    families.build("qwen3", home / "model")
    files = {path.name: path.read_bytes() for path in (home / "model").iterdir()}
    config = json.loads(files["config.json"])
    bare = {name: data for name, data in files.items() if "token" not in name}
    repos: dict[str, dict[str, bytes]] = {
        "good": {
            **files,
            "pytorch_model.bin": b"pickle",
            "modeling_odd.py": b"raise SystemExit('run')",
            "a/b.json": b"{}",
        },
        "cut": files | {"model.safetensors": bytes(3 * HELD)},
        "pickled": {"config.json": files["config.json"], "pytorch_model.bin": b"pickle"},
        "gguf": {"model.gguf": b"GGUF"},
        "gated": files,
        "strange": files | {"config.json": json.dumps(config | {"model_type": "strangenet"}).encode()},
        "quantised": files | {"config.json": json.dumps(config | {"quantization_config": {}}).encode()},
        "mute": bare,
    }
    with serving() as server:
        for repo, held in repos.items():
            about = {"id": f"o/{repo}", "sha": COMMIT, "siblings": [{"rfilename": name} for name in sorted(held)]}
            for revision in ("main", COMMIT):
                server.replies[f"/api/models/o/{repo}/revision/{revision}"] = Reply(
                    json.dumps(about).encode(), headers={"Content-Type": "application/json"}
                )
            tree = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in held.items()]
            server.replies[f"/api/models/o/{repo}/tree/{COMMIT}"] = Reply(json.dumps(tree).encode())
            for name, data in held.items():
                head = {"ETag": f'"{repo}-{name.replace("/", "-")}"', "X-Repo-Commit": COMMIT}
                server.replies[f"/o/{repo}/resolve/{COMMIT}/{name}"] = (
                    Reply(data, headers=head) if repo != "gated" else error(401, "GatedRepo")
                )
        weights = server.replies[f"/o/cut/resolve/{COMMIT}/model.safetensors"]
        weights.cut, weights.cuts = 2 * HELD + 7, 1
        server.replies["/api/models/o/none/revision/main"] = error(401, "RepoNotFound")
        server.replies["/api/models/o/good/revision/v9"] = error(404, "RevisionNotFound")
        server.replies["/api/models/o/busy/revision/main"] = Reply(b"no", 503)

        def run(script: str, *words: str, limit: int = 0, **more: str) -> "subprocess.CompletedProcess[str]":
            folder = tmp_path_factory.mktemp("run")
            env = environment({"HF_ENDPOINT": server.url, "HF_HOME": str(home / "cache"), **more})
            lid = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n" if limit else ""
            return subprocess.run(
                [sys.executable, "-c", lid + script, *words],
                cwd=folder,
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )

        yield run, server


@pytest.fixture(scope="module")
def answers(asked: Any) -> dict[str, str]:
    pairs = [[*place.partition("@")[::2]] for place in REFUSED]
    done = asked[0](ASK, json.dumps([[repo, revision or "main"] for repo, revision in pairs]), HF_TOKEN="hf_secret")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "hf_secret" not in done.stdout + done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("place", REFUSED)
def test_what_is_wrong_with_a_model_is_said_with_what_to_do(answers: dict[str, str], asked: Any, place: str) -> None:
    told = answers[place if "@" in place else f"{place}@main"]
    assert REFUSED[place].format(url=asked[1].url) in told
    assert told.startswith("base.repo: ")


def test_a_branch_is_taken_with_a_warning_and_its_commit_is_kept(asked: Any) -> None:
    done = asked[0](MADE + "print(Path('model/origin.json').read_text())", "main")
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"today it is {COMMIT}: write that into the recipe" in done.stderr
    told = {"template": "published", "repo": "o/good", "revision": "main", "commit": COMMIT}
    assert json.loads(done.stdout) == told
    fetched = {one.path.rpartition("/")[2] for one in asked[1].asked if one.path.startswith("/o/good/resolve")}
    assert "model.safetensors" in fetched and "tokenizer.json" in fetched
    assert not fetched & {"pytorch_model.bin", "modeling_odd.py", "b.json"}
    for network in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):  # what was fetched serves without
        again = asked[0](ASK, json.dumps([["o/good", COMMIT]]), **network)
        assert json.loads(again.stdout.splitlines()[-1]) == {f"o/good@{COMMIT}": COMMIT}, again.stderr[-2000:]
        assert "warning: base.revision" not in again.stderr


def test_a_download_that_broke_off_goes_on_where_it_ended(asked: Any) -> None:
    done = asked[0](ASK, json.dumps([["o/cut", COMMIT]]))
    assert json.loads(done.stdout.splitlines()[-1]) == {f"o/cut@{COMMIT}": COMMIT}, done.stderr[-2000:]
    first, second = asked[1].ranges(f"/o/cut/resolve/{COMMIT}/model.safetensors")
    assert not first and int(second.strip("bytes=").split("-")[0]) > 0


def test_a_full_disk_and_a_model_that_was_never_fetched_are_told_apart(asked: Any, tmp_path: Path) -> None:
    fresh = {"HF_HOME": str(tmp_path / "cache")}
    full = asked[0](ASK, json.dumps([["o/good", COMMIT]]), limit=9000, **fresh)
    assert "no room on the disk for its files; make some (or set HF_HOME" in full.stdout, full.stderr[-2000:]
    never = asked[0](ASK, json.dumps([["o/good", COMMIT]]), HF_HUB_OFFLINE="1", **fresh)
    assert "it was not fetched before, and HF_HUB_OFFLINE is set; unset it" in never.stdout
    cut_off = asked[0](ASK, json.dumps([["o/good", COMMIT]]), HF_ENDPOINT="http://127.0.0.1:9", **fresh)
    assert "is the network up, and HTTPS_PROXY set where one is needed?" in cut_off.stdout, cut_off.stderr[-2000:]


def test_a_full_disk_at_saving_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        config = type("Config", (), {})()

        def save_pretrained(self, folder: str) -> None:
            raise OSError(28, "No space left on device")

    full: Any = Full()
    with pytest.raises(Refusal, match="no room on the disk for the model"):
        models.save(full, full, tmp_path)


def test_a_model_keeps_the_precision_it_was_published_in(tmp_path: Path) -> None:
    import torch

    from stages import base

    families.build("gpt_neox", tmp_path / "hub")
    compute = recipes.Compute(device="cpu", threads=1, precision="bf16", launch="single")
    models.load(tmp_path / "hub", compute).save_pretrained(tmp_path / "hub")
    source = recipes.Hub(source="hub", repo=str(tmp_path / "hub"), revision="main", grow=0)
    made, spoken, points, origin = base.from_hub(source, tmp_path, tmp_path)
    assert (made.dtype, points, origin) == (torch.bfloat16, [], {})
    # both tokens of a turn are new: apart from each other, and from the end of text that one of them began as
    start, end = spoken.convert_tokens_to_ids([models.TURN, models.END])
    old = spoken.convert_tokens_to_ids("<|endoftext|>")
    for rows in (made.get_input_embeddings().weight.detach(), made.get_output_embeddings().weight.detach()):
        apart = [float((rows[a] - rows[b]).norm()) for a, b in ((start, end), (end, old))]
        assert min(apart) > 0 and not rows.isnan().any()
    assert made.generation_config.eos_token_id == end and spoken.pad_token_id not in (end, None)


# ── growing a vocabulary ────────────────────────────────────────────────────────────────────────────────────

READ = ["Nhà trường nghỉ hè.", "Trường học mở cửa.", "Nghỉ hè ở trường.", "Học trường nghề, nghỉ hè 347 ngày!"] * 3
OTHER = ["Hè này trường nghỉ.", "Abc xyz 123, def!"]


@pytest.mark.parametrize("name", ["qwen3", "llama", "gptj", "gemma3"])  # heads that are tied, free, with a bias
def test_new_pieces_shorten_what_was_read_and_change_nothing_else(name: str, tmp_path: Path) -> None:
    families.build(name, tmp_path / "hub", rows=16)
    old = models.load_tokenizer(tmp_path / "hub") if families.FAMILIES[name].template else None
    from transformers import AutoTokenizer

    old = old or AutoTokenizer.from_pretrained(str(tmp_path / "hub"))
    compute = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
    model = models.load(tmp_path / "hub", compute)
    before = model.get_input_embeddings().weight.detach().clone()
    head = model.get_output_embeddings().weight.detach().clone()
    grown, told = vocabulary.grow(model, old, READ, READ[:4], 30)
    assert told["new_pieces"] == 30
    assert told["tokens_per_syllable"] < 0.7 * told["tokens_per_syllable_before"]
    assert len(grown) == len(old) + 30
    for text in [*READ, *OTHER, "Ở đâu 🙂 日本\n  x"]:
        assert grown.decode(grown(text)["input_ids"], skip_special_tokens=True) == text
    for text in ("347 ngày!"[:4], "xyz 123, def!"):  # nothing of it was read
        assert grown(text)["input_ids"] == old(text)["input_ids"]
    assert grown.get_vocab() | old.get_vocab() == grown.get_vocab()  # no id moved, the special ones' included
    assert grown.all_special_ids == old.all_special_ids
    for rows, were in ((model.get_input_embeddings().weight, before), (model.get_output_embeddings().weight, head)):
        assert rows[: len(old)].equal(were[: len(old)])
        piece = max(range(len(old), len(grown)), key=lambda id: len(grown.convert_ids_to_tokens(id)))
        parts = old.convert_tokens_to_ids(vocabulary.spelled(old, grown.convert_ids_to_tokens(piece)))
        assert len(parts) > 1 and rows[piece].allclose(were[parts].mean(dim=0), atol=1e-6)
    models.save(model, grown, tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(str(tmp_path / "saved"))
    assert [again(text)["input_ids"] for text in READ] == [grown(text)["input_ids"] for text in READ]
    assert (
        models.load(tmp_path / "saved", compute)
        .get_input_embeddings()
        .weight.equal(model.get_input_embeddings().weight)
    )


def test_merges_go_by_frequency_and_then_by_name() -> None:
    words = {("t", "r", "ư"): 5, ("t", "r", "ê"): 4, ("x", "y"): 4, ("q",): 9, ("a", "b"): 1}
    assert vocabulary.merges(words, ["t", "r", "ư", "ê", "x", "y", "q"], 9) == [
        ("t", "r"), ("tr", "ư"), ("tr", "ê"), ("x", "y"),
    ]  # fmt: skip
    assert vocabulary.merges(words, ["tr"], 2) == [("r", "ư"), ("t", "rư")]
    assert vocabulary.join(["a", "a", "a"], ("a", "a")) == ["aa", "a"]


def test_what_can_not_grow_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    families.build("llama", tmp_path)
    model = models.load(tmp_path, recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single"))
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(Refusal, match=r"base\.grow: the tokenizer is WordLevel"):
        vocabulary.grow(model, other, READ, READ, 5)
    with pytest.raises(Refusal, match="holds no pair of pieces twice"):
        vocabulary.grow(model, families.tokenizer(families.FAMILIES["llama"]), ["a"], ["a"], 5)
