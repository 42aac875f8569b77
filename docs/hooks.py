"""Fills pages from the registry, so that what is documented is what runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from rmaudit.audits.base import Audit
from rmaudit.audits.base import audits as registered_audits

HEAD = re.compile(r"<!-- audit: (\w+) -->")
OVERVIEW = "<!-- audits -->"
NAVIGATION = "Audits"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List every registered audit in the navigation, in the order of the report."""
    for entry in config.nav or []:
        if NAVIGATION in entry:
            pages = [{audit.name: f"audits/{audit.name}.md"} for audit in registered_audits()]
            entry[NAVIGATION] = [*entry[NAVIGATION], *pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the committed example page beside the documents, and pages of audits that have none."""
    page = Path(config.config_file_path).parent / "reports" / "example" / "report.html"
    files.append(File.generated(config, "example.html", abs_src_path=str(page)))
    for audit in registered_audits():
        path = f"audits/{audit.name}.md"
        if path not in files.src_uris:
            content = f"# {audit.title}\n\n<!-- audit: {audit.name} -->\n"
            files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of an audit's page and of the overview."""
    audits = {audit.name: audit for audit in registered_audits()}
    if OVERVIEW in markdown:
        rows = [f"| [`{a.name}`]({a.name}.md) | {a.question} |" for a in audits.values()]
        table = "\n".join(["| audit | asks |", "| --- | --- |", *rows])
        markdown = markdown.replace(OVERVIEW, table)
    return HEAD.sub(lambda found: head(audits[found[1]]), markdown)


def head(audit: Audit) -> str:
    """Question, reading, metrics and source of one audit."""
    rows = [
        f"| **{spec.name}** `{id_}` | {spec.meaning} | {spec.unit} | {spec.better} |"
        for id_, spec in audit.metrics.items()
    ]
    return "\n".join(
        [
            f"**{audit.question}**",
            "",
            audit.meaning,
            "",
            "| metric | definition | unit | better |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"Source: {audit.source}.",
        ]
    )
