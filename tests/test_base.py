"""The base stage's way to the hub: what it fetches, what it keeps from an earlier time, and how it says no."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.lib import determinism, hub, models, recipes
from stages.lib.contract import Refusal
from tests import families
from tests.upstream import Reply, environment, serving

determinism.pin(1, "cpu", 1)

HELD = 10 << 20  # what huggingface_hub holds back before it writes
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# one process asks for many models; what it says of each goes to a file
FP32 = recipes.Compute(device="cpu", threads=1, precision="fp32", launch="single")
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


def hub_base(folder: Path) -> recipes.Hub:
    return recipes.Hub(source="hub", repo=str(folder), revision="main", grow=0)


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
            command = [sys.executable, "-c", lid + script, *words]
            return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

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


def test_a_folder_of_the_cache_without_all_weights_is_no_earlier_download(asked: Any, tmp_path: Path) -> None:
    fresh = {"HF_HOME": str(tmp_path / "cache")}
    words = "import sys\nfrom stages.lib import hub\nhub.tokenizer_files(sys.argv[1], sys.argv[2])\n"
    done = asked[0](words, "o/good", COMMIT, **fresh)
    assert done.returncode == 0, done.stderr[-2000:]
    gone = {**fresh, "HF_ENDPOINT": "http://127.0.0.1:9"}
    cut_off = asked[0](ASK, json.dumps([["o/good", COMMIT]]), **gone)
    assert "is the network up" in cut_off.stdout, cut_off.stderr[-2000:]
    never = asked[0](words, "o/cut", COMMIT, **gone).stderr
    assert "is the network up" in never and "HTTP 404" not in never
    assert "Retrying" not in never and "appropriate snapshot" not in never  # at once, and for one cause
    assert asked[0](words, "o/good", COMMIT, **gone).returncode == 0


def test_of_what_the_hub_says_only_the_cause_is_told() -> None:
    found = type("LocalEntryNotFoundError", (FileNotFoundError,), {})("Got: we cannot find the snapshot")
    found.__cause__ = ConnectionError("no route " * 30)
    assert hub.explain("o/m", "main", found).startswith(f"{'no route ' * 22}…; is the network up")


def test_all_weights_of_an_index_make_a_model_complete(tmp_path: Path) -> None:
    assert not hub.complete(tmp_path)
    (tmp_path / "model-1.safetensors").touch()
    assert hub.complete(tmp_path)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not hub.complete(tmp_path)
    (tmp_path / "model-2.safetensors").touch()
    assert hub.complete(tmp_path)


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
    assert (made.dtype, points, origin) == (torch.bfloat16, [], {"template": "added"})
    # both tokens of a turn are new: one begins as the mean of all, the other as the end of a text
    start, end = spoken.convert_tokens_to_ids([models.TURN, models.END])
    old = spoken.convert_tokens_to_ids("<|endoftext|>")
    for rows in (made.get_input_embeddings().weight.detach(), made.get_output_embeddings().weight.detach()):
        assert rows[end].equal(rows[old]) and not rows[start].equal(rows[old]) and not rows.isnan().any()
        assert rows[start].float().allclose(rows[: min(start, end)].float().mean(dim=0), atol=1e-2)
    assert made.config.unread == [start, end]
    assert made.generation_config.eos_token_id == [end, old] and spoken.pad_token_id not in (end, None)


def test_a_model_without_a_template_keeps_the_rows_that_it_learned(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from stages import base

    families.build("gpt_neox", tmp_path / "hub")
    model = models.load(tmp_path / "hub", FP32)
    spoken = AutoTokenizer.from_pretrained(str(tmp_path / "hub"))
    spoken.add_special_tokens({"additional_special_tokens": [models.TURN, models.END]})  # plain words of its vocabulary
    spoken.save_pretrained(tmp_path / "hub")
    before = model.get_input_embeddings().weight.detach().clone()
    made, ready, _, _ = base.from_hub(hub_base(tmp_path / "hub"), tmp_path, tmp_path)
    assert made.get_input_embeddings().weight[: len(spoken)].equal(before[: len(spoken)])
    assert ready.eos_token == models.END


def test_files_that_lack_a_layer_are_no_model(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from stages import base

    families.build("llama3", tmp_path)  # its ends are tied, so one is not in the file
    path = tmp_path / "model.safetensors"
    kept = {name: weight for name, weight in load_file(path).items() if ".layers.1." not in name}
    base.from_hub(hub_base(tmp_path), tmp_path, tmp_path)
    save_file(kept, path, {"format": "pt"})
    with pytest.raises(Refusal, match=r"its files lack 9 of the model's weights.*as model\.layers\.1\."):
        base.from_hub(hub_base(tmp_path), tmp_path, tmp_path)
    with pytest.raises(Refusal, match=r"its files lack 9 of the model's weights"):  # but for its new head
        models.load_judge(tmp_path, FP32)


def test_published_habits_of_generating_are_left_out(tmp_path: Path) -> None:
    from stages import base

    families.build("qwen3", tmp_path)
    habits = {"repetition_penalty": 1.3, "temperature": 0.6, "do_sample": True, "eos_token_id": [5, 7]}
    (tmp_path / "generation_config.json").write_text(json.dumps(habits))
    made, spoken, _, _ = base.from_hub(hub_base(tmp_path), tmp_path, tmp_path)
    assert made.generation_config.to_diff_dict().keys() <= {"eos_token_id", "pad_token_id", "transformers_version"}
    assert models.ends(made, spoken) == [spoken.eos_token_id, 5, 7]


@pytest.mark.parametrize(("name", "template", "asked"), [("qwen3", "published", True), ("mpt", "added", False)])
def test_a_base_model_is_asked_by_the_template_that_it_was_published_with(
    tmp_path: Path, name: str, template: str, asked: bool
) -> None:
    from stages import base, benchmark

    families.build(name, tmp_path / "hub")
    words = families.table(tmp_path / "t", "text", [[("text", text)] for text in families.NEWS])
    for start, made in (("hub", "base"), ("base", "again")):  # a folder's own word counts
        source = hub_base(tmp_path / start)
        base.main(words, words, tmp_path / made, tmp_path / "h.json", seed=1, compute=FP32, base=source)
        assert models.read_origin(tmp_path / made) == {"template": template}
        assert benchmark.talks("base", tmp_path / made) == asked
    assert benchmark.talks("sft", tmp_path / "base") and not benchmark.talks("base", tmp_path)
