"""The comparison as Markdown, CSV, JSON, LaTeX and HTML."""

from __future__ import annotations

import json
from collections.abc import Callable

import pandas as pd
from jinja2 import Environment

from acesim.records.manifest import plain
from acesim.report.layout import Block, Page
from acesim.scenario.errors import AcesimError


def to_json(table: pd.DataFrame) -> str:
    """Return a list of rows, one per label; what was never reached, or does not apply, is null."""
    return json.dumps(plain(table.to_dict("records")), indent=1, ensure_ascii=False, allow_nan=False)


def to_csv(table: pd.DataFrame) -> str:
    """Return the tidy table; what was never reached, or does not apply, is empty."""
    return str(table.to_csv(index=False, lineterminator="\n")).rstrip("\n")


def to_markdown(page: Page) -> str:
    """Return the page as Markdown tables."""
    return "\n\n".join([*map(_markdown, page.blocks), *page.lines])


def _markdown(block: Block) -> str:
    rule = ["---", *["---" if block.prose else "---:"] * (len(block.header) - 1)]
    lines = [block.header, rule, *block.rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return f"**{block.title}**\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in cells)


_LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
          "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--"}


def latex_text(text: str) -> str:
    """Spell text for LaTeX.

    >>> latex_text("top_k 97 %")
    'top\\\\_k 97 \\\\%'
    """
    return "".join(_LATEX.get(letter, letter) for letter in text)


def to_latex(page: Page) -> str:
    """Return the page as LaTeX tables; needs the package booktabs."""
    notes = [f"% {note}" for note in page.lines]
    return "\n\n".join([*map(_latex, page.blocks), "\n".join(notes)])


def _latex(block: Block) -> str:
    def line(cells: list[str]) -> str:
        return " & ".join(map(latex_text, cells)) + r" \\"
    spec = "l" + ("p{0.4\\textwidth}" if block.prose else "r") * (len(block.header) - 1)
    return "\n".join([r"\begin{table}", r"\centering", rf"\caption{{{latex_text(block.title)}}}",
                      rf"\begin{{tabular}}{{{spec}}}", r"\toprule", line(block.header), r"\midrule",
                      *map(line, block.rows), r"\bottomrule", r"\end{tabular}", r"\end{table}"])


_HTML = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<style>
.acesim { border-collapse: collapse; margin: 0 0 1.2em; white-space: nowrap }
.acesim caption { font-weight: bold; text-align: left }
.acesim th, .acesim td { padding: 0 0 0 1.2em; text-align: right }
.acesim thead { border-bottom: 1px solid }
.acesim :first-child:is(th, td), .acesim.prose :is(th, td) { padding-right: 1.2em; padding-left: 0; text-align: left }
.acesim.prose { white-space: normal }
</style>
{% macro line(tag, cells) %}<tr>{% for cell in cells %}<{{ tag }}>{{ cell }}</{{ tag }}>{% endfor %}</tr>{% endmacro %}
{% for block in page.blocks %}
<table class="acesim{{ " prose" if block.prose }}">
<caption>{{ block.title }}</caption>
<thead>{{ line("th", block.header) }}</thead>
<tbody>
{% for row in block.rows %}
{{ line("td", row) }}
{% endfor %}
</tbody>
</table>
{% endfor %}
{% for note in page.lines %}
<p>{{ note }}</p>
{% endfor %}""")


def to_html(page: Page) -> str:
    """Return the page as HTML tables and their style, without a document around them; ASCII, so that no server's or
    page's encoding spoils it."""
    return _HTML.render(page=page).rstrip().encode("ascii", "xmlcharrefreplace").decode("ascii")


def _carrying(table: pd.DataFrame, page: Page) -> pd.DataFrame:
    """Return a table whose rows carry the fidelity card: tidy formats have no place below them."""
    return table.assign(fidelity=" | ".join(page.card)) if page.card else table


FORMATS: dict[str, Callable[[pd.DataFrame, Page], str]] = {
    "markdown": lambda _, page: to_markdown(page),
    "csv": lambda table, page: to_csv(_carrying(table, page)),
    "json": lambda table, page: to_json(_carrying(table, page)),
    "latex": lambda _, page: to_latex(page),
    "html": lambda _, page: to_html(page),
}
"""By the name a user gives; "text" is the terminal's."""


def render(table: pd.DataFrame, page: Page, form: str) -> str:
    """Return the comparison in one of FORMATS.

    raises   AcesimError for an unknown format
    """
    if form not in FORMATS:
        raise AcesimError(f"format = {form}: unknown format (knows: text, {', '.join(FORMATS)})")
    return FORMATS[form](table, page)
