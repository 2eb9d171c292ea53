"""One self-contained page: results first, then every notebook as it ran. Nothing in it needs a network."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape, unescape
from pathlib import Path
from typing import Any

from lart_mini import ava
from lart_mini.files import atomic_path
from lart_mini.runs.plan import read_notebook
from lart_mini.runs.record import percent

STYLE = """
:root { --ink: #1f2430; --soft: #5b6472; --line: #dfe3e8; --paper: #ffffff; --shade: #f6f7f9;
        --accent: #0072B2; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper);
       font: 16px/1.6 system-ui, "Segoe UI", Roboto, sans-serif; }
a { color: var(--accent); }
nav { position: fixed; inset: 0 auto 0 0; width: 240px; padding: 24px 20px; overflow-y: auto;
      background: var(--shade); border-right: 1px solid var(--line); font-size: 14px; }
nav a { display: block; padding: 4px 0; color: var(--ink); text-decoration: none; }
nav a:hover { color: var(--accent); }
nav strong { display: block; margin-bottom: 12px; }
main { margin-left: 240px; padding: 32px 48px 96px; max-width: 1080px; }
details > summary { color: var(--accent); cursor: pointer; font-size: 13px; }
section.notebook { margin-top: 72px; padding-top: 24px; border-top: 3px solid var(--accent); }
h1 { font-size: 30px; line-height: 1.25; margin: 0 0 12px; } h2 { font-size: 22px; margin: 36px 0 8px; }
h3 { font-size: 18px; margin: 28px 0 6px; }
table { border-collapse: collapse; margin: 12px 0; font-size: 14px; }
caption { text-align: left; color: var(--soft); }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
img { max-width: 100%; height: auto; }
.headline { display: flex; flex-wrap: wrap; gap: 16px; margin: 20px 0; }
.headline div { padding: 12px 20px; border: 1px solid var(--line); border-radius: 8px;
                 background: var(--shade); }
.headline b { display: block; font-size: 26px; line-height: 1.2; }
.headline span { color: var(--soft); font-size: 13px; }
.highlight, .jp-OutputArea-output pre, .output pre { margin: 10px 0; }
div.input .highlight pre, .highlight pre { padding: 12px 14px; border-radius: 6px; background: var(--shade);
      overflow-x: auto; border: 1px solid var(--line); }
pre { font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; overflow-x: auto; margin: 0; }
.output_subarea pre { padding: 4px 14px; border-left: 3px solid var(--line); color: #333; }
.prompt { display: none; } .anchor-link { display: none; }
@media (max-width: 900px) { nav { position: static; width: auto; } main { margin: 0; padding: 20px; } }
"""

HEADLINE = {"mAP": "mAP, all classes"} | ava.CATEGORIES


def write_report(results: Mapping[str, Any], notebooks: Sequence[Path], path: Path) -> None:
    """Write the page of `results` (the dict of results.json) and of the executed `notebooks` to `path`."""
    from lart_mini.runs.answers import FOLDS, answers_of, answers_page  # draws: seconds of imports

    contents, sections = "", ""
    for notebook in notebooks:
        place, body = escape(notebook.stem), notebook_body(notebook)
        contents += f'<a href="#{place}">{escape(heading(body) or notebook.stem)}</a>'
        sections += f'<section class="notebook" id="{place}">{body}</section>'
    for notebook in notebooks:  # what leads to another notebook leads to its section here
        sections = sections.replace(f'href="{escape(notebook.name)}"', f'href="#{escape(notebook.stem)}"')
    title, found = f"lart_mini: {results['profile']} run", answers_of(path.parent)
    if found is not None:
        sections = f'<section class="notebook" id="folds">{answers_page(*found)}</section>{sections}'
        contents = f'<a href="#folds">{FOLDS}</a>{contents}'
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{code_colours()}</style></head><body>"
        f'<nav><strong>lart_mini</strong><a href="#results">Results</a>{contents}</nav>'
        f'<main><section id="results">{results_page(results)}</section>{sections}</main></body></html>\n'
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def results_page(results: Mapping[str, Any]) -> str:
    """The first page: headline, ladder, data, seconds, versions."""
    validation = results["validation"]
    boxes = "".join(
        f"<div><b>{percent(validation.get(key))}</b><span>{escape(name)}</span></div>"
        for key, name in HEADLINE.items()
    )
    counts = " · ".join(
        f"{validation[key]:,} {key}" for key in ("frames", "boxes", "classes") if key in validation
    )
    rest = {name: how for name, how in results["shown_as"].items() if how["shown"]}
    return "".join(
        [
            f"<h1>Results of the {escape(results['profile'])} run</h1>",
            f"<p>LART after fine-tuning, AVA-style mAP at IoU 0.5 on the validation takes: {counts}.</p>",
            f'<div class="headline">{boxes}</div>',
            ladder_section(results.get("ladder", [])),
            "<p>Below, of what was measured with several seeds: the mean (lowest to highest).</p>",
            "".join(
                part(shown["title"], in_percent(results[name], shown["percent"]))
                for name, shown in rest.items()
            ),
            "<h2>Time</h2>",
            table(
                {**results.get("notebook_seconds", {}), "all notebooks": results["seconds"]}, unit="seconds"
            ),
            "<h2>Made with</h2>",
            table({"commit": results.get("commit") or "no git", **results.get("versions", {})}),
        ]
    )


ELSEWHERE = """On AVA's own videos: other films, 60 classes, another tracker. Its levels cannot be
compared with ours; the steps from row to row can, in sign and size."""
MOST_COLUMNS = 8  # a grid of more is turned on its side


def ladder_section(rungs: Sequence[Mapping[str, Any]]) -> str:
    """Figure and table of the ladder; a rung is {name, mAP} and low, high, paper, note where known.

    The paper's rungs are of AVA's videos: they stand in a table apart, and are drawn on no axis of ours.
    """
    own = [rung for rung in rungs if not rung.get("paper")]
    theirs = [rung for rung in rungs if rung.get("paper")]
    return (_own_ladder(own) if own else "") + (_papers_ladder(theirs) if theirs else "")


def _own_ladder(rungs: Sequence[Mapping[str, Any]]) -> str:
    from lart_mini.figures.base import to_html
    from lart_mini.figures.model import ladder

    rows = "".join(
        f'<tr><td>{escape(rung["name"])}</td><td class="number">{percent(rung["mAP"])}</td>'
        f'<td class="number">{interval(rung)}</td><td>{escape(rung.get("note") or "")}</td></tr>'
        for rung in rungs
    )
    figure = ladder(
        [rung["name"] for rung in rungs],
        [math.nan if rung["mAP"] is None else rung["mAP"] for rung in rungs],
        [rung.get("low") for rung in rungs],
        [rung.get("high") for rung in rungs],
        title="Ladder of mean average precision, on mini_ava",
    )
    alt = "Bars of mAP: " + ", ".join(f"{rung['name']} {percent(rung['mAP'])}" for rung in rungs)
    return (
        f"<h2>Ladder</h2>{to_html(figure, alt)}<table><tr><th>method</th><th class='number'>mAP</th>"
        f"<th class='number'>interval</th><th></th></tr>{rows}</table>"
    )


def _papers_ladder(rungs: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td>{escape(rung["name"])}</td><td class="number">{percent(rung["mAP"])}</td></tr>'
        for rung in rungs
    )
    return (
        f"<h2>The paper's ladder, not run here</h2><p>{ELSEWHERE}</p>"
        f"<table><tr><th>method</th><th class='number'>mAP on AVA</th></tr>{rows}</table>"
    )


def in_percent(value: Any, percent_of: bool | Sequence[str]) -> Any:
    """The same nested mappings with fractions as text in percent, and lists of numbers as their mean.

    percent_of: True where all numbers with a point are fractions, else the keys below which they are.
    """
    fraction = percent_of is True
    if isinstance(value, Mapping):
        keys = () if isinstance(percent_of, bool) else percent_of
        return {key: in_percent(item, True if key in keys else percent_of) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, int | float) for item in value):
        return over_seeds([100 * item for item in value], " %") if fraction else over_seeds(value)
    return percent(value) if fraction and (isinstance(value, float) or value is None) else value


def over_seeds(values: Sequence[float], unit: str = "") -> str:
    """Mean of what was measured several times, and the least and the most."""
    spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.1f}{unit}{spread}"


def interval(rung: Mapping[str, Any]) -> str:
    """The ends of a rung's interval in percent, or nothing."""
    if rung.get("low") is None or rung.get("high") is None:
        return ""
    return f"{100 * rung['low']:.1f} – {100 * rung['high']:.1f}"


def part(name: str, value: Any, level: int = 2) -> str:
    """A heading, and below it what was recorded: plain values in a table, each further mapping as a part."""
    title = f"<h{level}>{escape(name.replace('_', ' '))}</h{level}>"
    if not isinstance(value, Mapping) or _is_grid(value):
        return title + table(value)
    plain = {key: item for key, item in value.items() if not isinstance(item, Mapping)}
    inner = "".join(part(key, item, level + 1) for key, item in value.items() if key not in plain)
    return title + (table(plain) if plain else "") + inner


def table(value: Any, unit: str = "") -> str:
    """A recorded value as HTML: a mapping becomes a table (of like mappings: a grid), text stays as it is."""
    if not isinstance(value, Mapping):
        return f"<pre>{escape(str(value))}</pre>"
    head, rows = [], list(value.items())
    if _is_grid(value):
        head, rows = ["", *next(iter(value.values()))], [(key, *item.values()) for key, item in value.items()]
        if len(head) > MOST_COLUMNS:
            head, *rows = zip(head, *rows, strict=True)  # type: ignore[assignment]
    top = "".join(f"<th class=number>{escape(str(name))}</th>" for name in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    caption = f"<caption>{escape(unit)}</caption>" if unit else ""
    return f"<table>{caption}{f'<tr>{top}</tr>' if top else ''}{body}</table>"


def _is_grid(value: Mapping[str, Any]) -> bool:
    """Mappings with the same keys to plain values, as rows of one table."""
    keys = {tuple(item) if isinstance(item, Mapping) else None for item in value.values()}
    nested = (isinstance(cell, Mapping) for item in value.values() if item for cell in dict(item).values())
    return len(keys) == 1 and None not in keys and not any(nested)


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
        return f'<td class="number">{text}</td>'
    if value is None:
        return '<td class="number">–</td>'
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    kind = ' class="number"' if re.match(r"-?[\d.]+( %| \()", text) else ""
    return f"<td{kind}>{escape(text)}</td>"


FOLDED = """{%- extends 'index.html.j2' -%}
{% block input_group %}
{% if 'plot' in cell.metadata.get('tags', []) %}
<details><summary>Code of the figure</summary>{{ super() }}</details>
{% else %}{{ super() }}{% endif %}
{% endblock %}"""  # what only draws is shown on a click


def notebook_body(path: Path) -> str:
    """An executed notebook as an HTML fragment: alt texts kept, formulas drawn, nothing from a network."""
    return _body(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)  # what has run is drawn while others run
def _body(path: Path, changed: int) -> str:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", raw_template=FOLDED, exclude_anchor_links=True)
    # Half of nbconvert's time, for code that its highlighter has escaped already, and for what it then drops.
    exporter.register_filter("clean_html", lambda html: html.decode() if isinstance(html, bytes) else html)
    body, _ = exporter.from_notebook_node(read_notebook(path))
    return draw_formulas(body)


def heading(body: str) -> str | None:
    """Text of the first H1 of a fragment."""
    found = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", "", found.group(1))).strip() if found else None


def draw_formulas(body: str) -> str:
    """Replace $…$ and $$…$$ outside code by pictures, since MathJax would have to come from a network."""
    parts = re.split(
        r"(<pre.*?</pre>|<code.*?</code>|<script.*?</script>|<style.*?</style>|<[^>]*>)",
        body,
        flags=re.DOTALL,
    )
    # Odd places are tags and code; formulas stand in the text between them.
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", _formula, parts[place], flags=re.DOTALL)
    return "".join(parts)


def _formula(found: re.Match[str]) -> str:
    """One formula as SVG on its line of text; what matplotlib's mathtext cannot read stays as source."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    display = found.group(1) is not None
    source = " ".join(unescape(found.group(1) or found.group(2)).split())
    drawn, size = io.StringIO(), FontProperties(size=15 if display else 13)
    try:
        depth = math_to_image(f"${source}$", drawn, prop=size, dpi=72, format="svg")
    except ValueError:
        return f"<code>{escape(source)}</code>"
    encoded = base64.b64encode(drawn.getvalue().encode()).decode()
    style = "display:block;margin:14px auto" if display else f"vertical-align:-{depth * 4 / 3:.1f}px"
    alt = escape(source)
    return f'<img class="formula" style="{style}" alt="{alt}" src="data:image/svg+xml;base64,{encoded}">'


def code_colours() -> str:
    """Pygments' style sheet for the code cells."""
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

    return str(HtmlFormatter(style="friendly").get_style_defs(".highlight"))
