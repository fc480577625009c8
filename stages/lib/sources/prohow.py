"""How-tos from PROHOW Turtle, as the human-instructions crawler wrote it, in one pass over the file.

Its files lack the ``@prefix`` lines, tag Vietnamese as ``@vn`` and chain the steps of a method by
``prohow:requires``; a graph has no order, so the order is read from those chains. Source: Pareti et al. 2014,
"Integrating Know-How into the Linked Data Cloud".

The crawler writes a how-to in one piece, one triple a line, and numbers its nodes as it goes. So what is held is a
chunk of the file and the nodes of 2 x WINDOW how-tos (about 0.5 KB a triple, 30 MB in all), whatever the file's size.
A node is joined to how-tos that begin up to WINDOW how-tos away; one that no how-to reaches by then is a fault.

Not covered: the page's order of methods (the crawler kept none), tips and warnings (it kept none), its files of links
between pages, and dumps that scatter a how-to over the file.
"""

import heapq
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import BinaryIO, TypeVar

from stages.lib.sources import turtle
from stages.lib.sources.markup import paragraphs, to_markdown, unescape
from stages.lib.sources.turtle import Fault

WINDOW = 256  # how-tos
DEEPEST = 50  # parts within parts
HOPELESS = 1000  # faults without any triple: the file is no Turtle
PROHOW = ("http://w3id.org/prohow#", "http://vocab.inf.ed.ac.uk/prohow#")
PREFIXES = {
    "w": "http://w3id.org/prohowlinks#",
    "prohow": PROHOW[0],
    "dbo": "http://dbpedia.org/ontology/",
    "oa": "http://www.w3.org/ns/oa#",
    "owl": "http://www.w3.org/2002/07/owl#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
MEANINGS = {
    PREFIXES["rdf"] + "type": "type",
    PREFIXES["rdfs"] + "label": "label",
    PREFIXES["dbo"] + "abstract": "abstract",
} | {
    space + name: name
    for space in PROHOW
    for name in ("html_label", "html_abstract", "has_step", "has_method", "requires", "requires_one")
}
KINDS = {space + name: name for space in PROHOW for name in ("instruction_set", "consumable", "requirement")}
REFERENCE = re.compile(r"\s*\[\d+\]")
MARKUP = re.compile(
    r"<(a|b|big|div|em|i|li|ol|p|small|span|strong|sub|sup|table|u|ul)(?:\s[^<>]*)?>.*?</\1\s*>|<br\s*/?>|<img\s", re.S
)
CRAWLERS_TITLE = "Main Steps"  # what the crawler called the only method of a page
Node = TypeVar("Node")


@dataclass(frozen=True)
class HowTo:
    """One page; the answer is empty when it has no steps."""

    name: str
    title: str
    answer: str


@dataclass(frozen=True)
class Summary:
    """The last of what is read: counts, so that a file of triples without how-tos is known from an empty one."""

    triples: int
    how_tos: int
    faults: int


@dataclass(slots=True)
class Held:
    """What the triples of one node say; ``born`` is the number of how-tos that had begun when it was first seen."""

    born: int
    texts: list[tuple[str, int, str]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    used: bool = False

    def to(self, *meanings: str) -> list[str]:
        """The nodes that it points to, each once."""
        return list(dict.fromkeys(node for meaning, node in self.links if meaning in meanings))


Nodes = OrderedDict[str, Held]


def how_tos(file: BinaryIO) -> Iterator[HowTo | Fault | Summary]:
    """Each how-to in the order of the file, each fault when it is found, and a Summary at the end.

    Raises ValueError when the file is no Turtle: it has text, and not one triple.
    """
    nodes: Nodes = OrderedDict()
    waiting: deque[str] = deque()
    early: list[Fault] = []
    triples = begun = faults = 0
    for item in turtle.read(file, PREFIXES):
        if isinstance(item, Fault):
            faults += 1
            if triples:
                yield item
                continue
            early.append(item)
            if len(early) > HOPELESS:
                break
            continue
        yield from early
        early.clear()
        triples += 1
        subject, predicate, object = item
        meaning = MEANINGS.get(predicate.value)
        if meaning is None or (meaning == "type" and object.value not in KINDS):
            continue
        name = getattr(subject, "value", "")
        node = nodes.get(name) or nodes.setdefault(name, Held(begun))
        if meaning == "type":
            kind = KINDS[object.value]
            if kind == "instruction_set" and kind not in node.kinds:
                begun += 1
                waiting.append(name)
            node.kinds.add(kind)
        elif hasattr(object, "language"):
            plain = meaning.removeprefix("html_")
            node.texts.append((plain, rank_of(object.language or "", plain != meaning), object.value))
        elif hasattr(object, "value"):
            node.links.append((meaning, object.value))
        if len(waiting) > WINDOW:
            for made in [told(nodes, waiting.popleft()), *strays(nodes, begun - 2 * WINDOW)]:
                faults += isinstance(made, Fault)
                yield made
    if early:
        raise ValueError(f"no Turtle: {early[0].where}: {early[0].detail}")
    for made in [*(told(nodes, name) for name in waiting), *strays(nodes, begun)]:
        faults += isinstance(made, Fault)
        yield made
    yield Summary(triples, begun, faults)


def short(iri: str) -> str:
    """A node's name in its namespace, as in ``12e1488000000012``."""
    return re.split(r"[/#]", iri)[-1] or iri


def strays(nodes: Nodes, until: int) -> Iterator[Fault]:
    """Forget the nodes that were born by then, and name those which no how-to has reached."""
    while nodes and next(iter(nodes.values())).born <= until:
        name, node = nodes.popitem(last=False)
        if not node.used:
            yield Fault(short(name), "belongs to no how-to", " ".join(text for _, _, text in node.texts))


def told(nodes: Nodes, name: str) -> HowTo | Fault:
    """The how-to that begins at a node, or why it can't be told."""
    node = reach(nodes, name)
    food: list[tuple[str, list[str]]] = []
    tools: list[tuple[str, list[str]]] = []
    for needed in sorted(node.to("requires"), key=node_number):
        group = reach(nodes, needed)
        if "instruction_set" in group.kinds:
            continue
        items = sorted(group.to("has_step"), key=node_number)
        lines = [f"- {text}" for text in (label(nodes, item) for item in items or [needed]) if text]
        consumed = any("consumable" in reach(nodes, item).kinds for item in items)
        (food if consumed else tools).append((label(nodes, needed) if items else "", lines))
    methods: list[tuple[str, list[str]]] = []
    seen: set[str] = set()
    try:
        for method in sorted(node.to("has_method"), key=node_number) or [name]:
            methods += parts(nodes, method, "" if method == name else heading(nodes, method), seen)
    except ValueError as error:
        return Fault(short(name), str(error), label(nodes, name))
    # as on the page: ingredients come before the steps, tools after them
    answer = compose(details(nodes, name), food, methods, tools) if methods else ""
    return HowTo(short(name), label(nodes, name), answer)


def parts(nodes: Nodes, method: str, title: str, seen: set[str], depth: int = 0) -> Iterator[tuple[str, list[str]]]:
    """(title, numbered steps) of a method; a step that has a method of its own is a part of the page, not a step.

    Raises ValueError when a step has lost its text, or when a method stands in two places or within itself.
    """
    if method in seen or depth > DEEPEST:
        raise ValueError(f"its method {short(method)} is not at one place")
    seen.add(method)
    held = set(reach(nodes, method).to("has_step"))
    lines: list[str] = []
    for step in ordered({node: held & set(reach(nodes, node).to("requires", "requires_one")) for node in held}):
        node = reach(nodes, step)
        if not node.texts:
            raise ValueError(f"the text of its step {short(step)} is missing")
        own, more = label(nodes, step), details(nodes, step)
        below: list[tuple[str, list[str]]] = []
        for inner in sorted(node.to("has_method"), key=node_number) or [step] * bool(node.to("has_step")):
            titles = (title, own, "" if inner == step else heading(nodes, inner))
            below += parts(nodes, inner, " – ".join(filter(None, titles)), seen, depth + 1)
        if not below:
            text = " ".join(filter(None, (sentence(own), more)))
            lines += [f"{len(lines) + 1}. " + re.sub(r"\n(?=.)", "\n   ", text)] * bool(text)
            continue
        yield from [(title, lines)] * bool(lines)
        yield below[0][0], [more] * bool(more) + below[0][1]
        yield from below[1:]
        lines = []
    if lines:
        yield title, lines


def reach(nodes: Nodes, name: str) -> Held:
    """What is known of a node, which now belongs to a how-to."""
    node = nodes.get(name) or Held(0)
    node.used = True
    return node


def heading(nodes: Nodes, method: str) -> str:
    """A method's title, unless it is the crawler's own."""
    title = label(nodes, method)
    return "" if title == CRAWLERS_TITLE else title


def label(nodes: Nodes, name: str) -> str:
    """A title on one line, without footnote marks and HTML."""
    text = best(nodes, name, "label")
    if MARKUP.search(text):
        text = " ".join(paragraphs(text))
    return " ".join(REFERENCE.sub("", unescape(text)).split())


def details(nodes: Nodes, name: str) -> str:
    """The longer text of a node: on one line when it came as plain text, else as Markdown."""
    text = best(nodes, name, "abstract")
    if MARKUP.search(text):
        return REFERENCE.sub("", to_markdown(text)).strip()
    return " ".join(REFERENCE.sub("", unescape(text)).split())


def best(nodes: Nodes, name: str, meaning: str) -> str:
    """The first text that is not blank: Vietnamese, then without a language, then others; plain, then HTML."""
    found = [(rank, text) for kind, rank, text in reach(nodes, name).texts if kind == meaning]
    for _, text in sorted(found, key=itemgetter(0)):
        if REFERENCE.sub("", text).strip():
            return text
    return ""


def rank_of(language: str, html: bool) -> int:
    """Low is better."""
    known = 0 if language.lower().split("-")[0] in ("vn", "vi") else 2 if not language else 4
    return known + html


def ordered(needs: Mapping[Node, set[Node]]) -> list[Node]:
    """Nodes after those that they need; free choices by number, and a circle is broken at its lowest number."""
    left = {node: {need for need in needs[node] if need in needs} for node in sorted(needs, key=node_number)}
    needed_by: dict[Node, list[Node]] = {node: [] for node in left}
    for node, wanted in left.items():
        for need in wanted:
            needed_by[need].append(node)
    rank = {node: number for number, node in enumerate(left)}
    names = list(left)
    free = [rank[node] for node, wanted in left.items() if not wanted]
    done: dict[Node, None] = {}
    breaks = iter(names)
    while len(done) < len(names):
        node = names[heapq.heappop(free)] if free else next(name for name in breaks if name not in done)
        if node in done:
            continue
        done[node] = None
        for follower in needed_by[node]:
            left[follower].discard(node)
            if not left[follower] and follower not in done:
                heapq.heappush(free, rank[follower])
    return list(done)


def node_number(node: object) -> tuple[int, str]:
    """The crawler numbers its nodes as it writes them, as in ``w:12e1488000000012``."""
    match = re.search(r"(\d+)e\d+$", str(node))
    return (int(match[1]) if match else 0, str(node))


def sentence(text: str) -> str:
    """With a full stop when it ends without any mark."""
    return text if not text or text[-1] in ".!?:…" else text + "."


def compose(abstract: str, *lists: Iterable[tuple[str, list[str]]]) -> str:
    """The introduction, then each list's title and lines."""
    blocks = [
        "\n".join([f"{title}:", *lines] if title else lines) for titled in lists for title, lines in titled if lines
    ]
    return "\n\n".join(filter(None, [abstract, *blocks]))
