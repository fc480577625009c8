"""How-tos from PROHOW Turtle, as the human-instructions crawler wrote it.

Its files lack the ``@prefix`` lines, tag Vietnamese as ``@vn`` and chain the steps of a method by
``prohow:requires``; a graph has no order, so the order is read from those chains. Source: Pareti et al.
2014, "Integrating Know-How into the Linked Data Cloud". Not covered: the HTML variants of the texts.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

PREFIXES = """\
@prefix w: <http://w3id.org/prohowlinks/wikihow/> .
@prefix prohow: <http://w3id.org/prohow#> .
@prefix dbo: <http://dbpedia.org/ontology/> .
@prefix oa: <http://www.w3.org/ns/oa#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""
Node = TypeVar("Node")
REFERENCE = re.compile(r"\[\d+\]\s*")


def how_tos(turtle: str) -> Iterator[tuple[str, str, str]]:
    """(node name, title, answer) of each how-to, by name; the answer is empty when it has no steps.

    Raises ValueError when the text is no Turtle.
    """
    from rdflib import RDF, RDFS, Graph, Namespace, URIRef
    from rdflib.plugins.parsers.notation3 import BadSyntax

    prohow, dbo = Namespace("http://w3id.org/prohow#"), Namespace("http://dbpedia.org/ontology/")
    graph = Graph()
    try:
        graph.parse(data=PREFIXES + turtle, format="turtle")
    except BadSyntax as error:
        raise ValueError(f"no Turtle: {' '.join(str(error).split())[:300]}") from None

    def text(node: object, predicate: URIRef) -> str:
        values = sorted(str(value) for value in graph.objects(node, predicate))  # type: ignore[arg-type]
        return " ".join(REFERENCE.sub("", values[0]).split()) if values else ""

    def steps(method: object) -> list[str]:
        nodes = set(graph.objects(method, prohow.has_step))  # type: ignore[arg-type]
        needs = {node: set(graph.objects(node, prohow.requires)) & nodes for node in nodes}
        return [
            " ".join(filter(None, (sentence(text(node, RDFS.label)), text(node, dbo.abstract))))
            for node in ordered(needs)
        ]

    for how_to in sorted(graph.subjects(RDF.type, prohow.instruction_set), key=str):
        methods = sorted(graph.objects(how_to, prohow.has_method), key=node_number)
        parts = [(text(method, RDFS.label), steps(method)) for method in methods] or [("", steps(how_to))]
        answer = compose(text(how_to, dbo.abstract), [part for part in parts if part[1]])
        yield str(how_to).rsplit("/", 1)[-1], text(how_to, RDFS.label), answer


def ordered(needs: dict[Node, set[Node]]) -> list[Node]:
    """Nodes after those that they need; free choices by number, and a circle is broken at its lowest number."""
    left: dict[Node, set[Node]] = dict(needs)
    done: list[Node] = []
    while left:
        free = [node for node in left if not left[node] - set(done)] or list(left)
        first = min(free, key=node_number)
        done.append(first)
        del left[first]
    return done


def node_number(node: object) -> tuple[int, str]:
    """The crawler numbers its nodes in page order, as in ``w:12e1488000000012``."""
    match = re.search(r"(\d+)e\d+$", str(node))
    return (int(match[1]) if match else 0, str(node))


def sentence(text: str) -> str:
    """With a full stop when it ends without any mark."""
    return text if not text or text[-1] in ".!?:…" else text + "."


def compose(abstract: str, methods: Iterable[tuple[str, list[str]]]) -> str:
    """The introduction, then each method's title and numbered steps."""
    blocks = []
    for title, steps in methods:
        numbered = [f"{number}. {step}" for number, step in enumerate(steps, 1)]
        blocks.append("\n".join([f"{title}:", *numbered] if title else numbered))
    return "\n\n".join(filter(None, [abstract, *blocks])) if blocks else ""
