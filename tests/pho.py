"""How-tos as PROHOW Turtle for tests, and how they are read."""

import io

from stages.lib.sources.prohow import HowTo, Summary, how_tos
from stages.lib.sources.turtle import Fault

PHO = '''\
w:1e1 rdf:type prohow:instruction_set .
w:1e1 rdfs:label """Nấu phở bò"""@vn .
w:1e1 dbo:abstract """[13] Món ngon."""@vn .
w:8e8 xsd:dateTime "2017-03-01T10:15:00.123Z"^^xsd:dateTime .
w:8e8 oa:hasBody w:1e1 .
w:1e1 prohow:has_method w:2e2 .
w:2e2 rdfs:label """ """@vn .
w:2e2 prohow:has_step w:4e4 .
w:4e4 rdfs:label """Thêm "gừng" """@vn .
w:4e4 prohow:requires w:3e3 .
w:2e2 prohow:has_step w:3e3 .
w:3e3 rdfs:label """Hầm xương
 sáu giờ"""@vn .
w:3e3 dbo:abstract """Hớt bọt ở C:\\\\pho."""@vn .
'''


TOLD = 'Món ngon.\n\n1. Hầm xương sáu giờ. Hớt bọt ở C:\\pho.\n2. Thêm "gừng".'


def read(turtle: str | bytes) -> tuple[list[HowTo], list[Fault], Summary]:
    rows = list(how_tos(io.BytesIO(turtle.encode() if isinstance(turtle, str) else turtle)))
    last = rows[-1]
    assert isinstance(last, Summary)
    told, faults = [row for row in rows if isinstance(row, HowTo)], [row for row in rows if isinstance(row, Fault)]
    assert last.faults == len(faults)
    return told, faults, last


def page(number: int, *triples: str, title: str = "Pha trà") -> str:
    """A how-to whose nodes are numbered from a number on: w:N0 is the page."""
    lines = [f"w:{number}0e1 rdf:type prohow:instruction_set", f'w:{number}0e1 rdfs:label """{title}"""@vn', *triples]
    return "".join(f"{line} .\n" for line in lines)


def one_step(number: int, step: str = '"""Đun nước"""@vn') -> str:
    return page(number, f"w:{number}0e1 prohow:has_step w:{number}1e1", f"w:{number}1e1 rdfs:label {step}")
