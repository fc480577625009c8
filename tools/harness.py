"""The sample benchmark as lm-evaluation-harness reads it: a task for each family of skills, and a group of them.

Not covered: the items themselves (``tools/sample.py``).
"""

from tools.skills import FAMILIES

WRITTEN = {"spelling": "là ([^.,]+)", "capitals": "là ([^.,]+)"}  # families also asked for a free answer


def choice_task(name: str) -> str:
    """A family as multiple choice: the likeliest of four sentences."""
    return f"""\
task: vi_{name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: data/sample/benchmark/{name}.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
target_delimiter: "\\n"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def written_task(name: str, pattern: str) -> str:
    """A family answered freely: the value after "là" must be the right one."""
    return f"""\
task: vi_{name}_written
dataset_path: json
dataset_kwargs:
  data_files:
    test: data/sample/benchmark/{name}.jsonl
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}\\n"
doc_to_target: "{{{{value}}}}"
generation_kwargs:
  do_sample: false
  max_gen_toks: 32
  until:
    - "\\n"
filter_list:
  - name: value
    filter:
      - function: regex
        regex_pattern: "{pattern}"
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def group_task() -> str:
    """The families as one number: the mean accuracy over all items, with its standard error."""
    tasks = "\n".join(f"  - vi_{name}" for name in FAMILIES)
    metrics = "\n".join(
        f"  - metric: {metric}\n    aggregation: mean\n    weight_by_size: true" for metric in ("acc", "acc_norm")
    )
    return f"group: vi_skills\ntask:\n{tasks}\naggregate_metric_list:\n{metrics}\nmetadata:\n  version: 1.0\n"
