"""matplotlib's SVG made small, deterministic, accessible, and aware of light and dark."""

from __future__ import annotations

import re
import zlib
from xml.etree import ElementTree as ET  # parses what matplotlib wrote a moment before

from rmaudit.plots.style import GRID, INK, MUTED, SERIES, SURFACE
from rmaudit.plots.text import visible

MOST_WORDS = 2_000  # characters of a title or a description
SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_LONG = re.compile(r"(-?\d+\.\d)\d+")
_STEP = re.compile(r"([A-Za-z])|(-?[\d.]+) (-?[\d.]+)")
_FONT = re.compile(r"font-family: [^;]*;? ?")
_REFERENCE = re.compile(r"#([\w-]+)")
_THEME = {
    INK: "currentColor",
    MUTED: "var(--figure-muted)",
    GRID: "var(--figure-grid)",
    SURFACE: "var(--surface)",
    **{color: f"var(--series-{i})" for i, color in enumerate(SERIES, 1)},
}
_COLORS = re.compile("|".join(_THEME))

ET.register_namespace("", SVG)
ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")


def tidy_svg(raw: str, *, title: str, alt: str) -> str:
    """What matplotlib wrote without what a reader does not need, with a title and a description.

    Numbers keep one decimal (a tenth of a point), ids only where something refers to them.
    """
    root = ET.fromstring(raw)
    for tag in ("metadata", "style"):
        for parent in root.iter():
            for child in parent.findall(f"{{{SVG}}}{tag}"):
                parent.remove(child)
    _name_references(root, f"{zlib.crc32(raw.encode()):08x}")
    for element in root.iter():
        _tidy(element)
    _unwrap(root)
    title, alt = (text[:MOST_WORDS] for text in (title, alt))
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    root.set("role", "img")
    root.set("aria-label", visible(f"{title}. {alt}"))
    for position, (tag, text) in enumerate((("title", title), ("desc", alt))):
        element = ET.Element(f"{{{SVG}}}{tag}")
        element.text = visible(text)
        root.insert(position, element)
    return ET.tostring(root, encoding="unicode")


def page_svg(svg: str) -> str:
    """A tidy SVG for a page: the page's font, colours that follow the theme, any width."""
    root = ET.fromstring(svg)
    for element in root.iter():
        style = element.get("style")
        if style is not None:
            themed = _COLORS.sub(lambda m: _THEME[m.group()], _FONT.sub("", style))
            element.set("style", themed)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    return ET.tostring(root, encoding="unicode")


def _name_references(root: ET.Element, prefix: str) -> None:
    """Ids only where something refers to them, and of the figure's own: a page holds many."""
    referred = {
        match
        for element in root.iter()
        for name, value in element.attrib.items()
        if name in (_HREF, "clip-path")
        for match in _REFERENCE.findall(value)
    }
    short: dict[str, str] = {}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old is not None and old in referred:
            short[old] = f"f{prefix}-{len(short)}"
            element.set("id", short[old])
    for element in root.iter():
        for name in (_HREF, "clip-path"):
            if name in element.attrib:
                value = element.attrib[name]
                element.set(name, _REFERENCE.sub(lambda m: f"#{short[m.group(1)]}", value))


def _tidy(element: ET.Element) -> None:
    for name, value in list(element.attrib.items()):
        if name in ("d", "x", "y", "width", "height", "transform", "viewBox"):
            short = _LONG.sub(r"\1", " ".join(value.split())).replace(".0 ", " ")
            element.set(name, _path(short) if name == "d" else short)
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if element.tag != f"{{{SVG}}}text":
        element.text = None
    element.tail = None


def _path(d: str) -> str:
    """A path of straight lines, with H and V for level and upright ones; others as they are."""
    if set(re.findall("[A-Za-z]", d)) - set("MLZz"):
        return d
    made: list[str] = []
    letter, at = "", ("", "")
    for step in _STEP.finditer(d):
        if step[1]:
            letter = step[1]
            if letter in "Zz":
                made.append("z")
            continue
        x, y = step[2], step[3]
        if letter == "M":
            made.append(f"M{x} {y}")
        elif y == at[1]:
            made.append(f"H{x}")
        elif x == at[0]:
            made.append(f"V{y}")
        else:
            made.append(f"L{x} {y}")
        at = (x, y)
    return "".join(made)


def _unwrap(parent: ET.Element) -> None:
    """Lift the children of groups without attributes."""
    children: list[ET.Element] = []
    for child in list(parent):
        _unwrap(child)
        bare = child.tag == f"{{{SVG}}}g" and not child.attrib
        children.extend(child if bare else [child])
    for child in list(parent):
        parent.remove(child)
    parent.extend(children)
