"""`rmaudit audit` and `rmaudit score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmaudit.cli import command
from rmaudit.console import Console
from rmaudit.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from rmaudit.report.document import Report

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Directory or hub id (org/name[@revision]), python:module:callable, a server's URL, "
        "prm:PATH or recorded.",
    ),
]
Data = Annotated[str | None, typer.Option(help="Preference data: file, folder or org/name:split.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str | None, typer.Option(help="auto, float32 or bfloat16.")]
Backend = Annotated[
    str | None, typer.Option(help="torch (default) or openvino: what runs the model.")
]
Head = Annotated[int | None, typer.Option(help="Which head of a model that has several.")]
TextFormat = Annotated[
    str | None, typer.Option("--format", help="How a text is made without a chat template.")
]
MaxLength = Annotated[int | None, typer.Option(help="Tokens a text, at most.")]
TokenBudget = Annotated[
    int | None,
    typer.Option(min=64, help="Padded tokens a batch, at most; doctor finds a machine's best."),
]
Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that the model's folder carries.")
]
Pickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Load pickled weights, which can run code.")
]
Reference = Annotated[
    str | None,
    typer.Option("--reference-model", help="Makes the model a DPO policy: its implicit reward."),
]
Beta = Annotated[float | None, typer.Option(help="Of the DPO policy [default: 0.1].")]
HttpFormat = Annotated[
    str | None, typer.Option(help="What a server speaks: json (default), vllm, tei or openai.")
]
HttpModel = Annotated[str | None, typer.Option(help="The model's name at the server.")]
ApiKeyEnv = Annotated[
    str | None, typer.Option(help="Environment variable that holds the server's key.")
]
Rubric = Annotated[Path | None, typer.Option(help="Rubric of a judge (openai), a text file.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds a server may take [default: 60].")]
Concurrency = Annotated[
    int | None, typer.Option(min=1, help="Requests to a server at once [default: 8].")
]
Store = Annotated[
    Path | None, typer.Option(help="Score store shared by all audits [default: user cache].")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor write the store.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first N rows only.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command.add(app, "audit", audit)
    command.add(app, "score", score)


def audit(
    console: Console,
    model: Model = None,
    eval: Annotated[str | None, typer.Option(help="Evaluation preferences.")] = None,
    feedback: Annotated[str | None, typer.Option(help="What the model was trained on.")] = None,
    deployment: Annotated[str | None, typer.Option(help="Contexts it will meet.")] = None,
    samples: Annotated[str | None, typer.Option(help="Policy samples, k a prompt.")] = None,
    ensemble: Annotated[
        list[str] | None, typer.Option(help="A further member; may be repeated.")
    ] = None,
    gold: Annotated[str | None, typer.Option(help="A reward model taken as the truth.")] = None,
    only: Annotated[str | None, typer.Option(help="Audits to run: a,b,c.")] = None,
    config: Annotated[Path | None, typer.Option(help="audit.toml; flags win over it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Default: reports/<model>-<time>.")] = None,
    limit: Limit = None,
    seed: Annotated[int | None, typer.Option(help="Of every random choice.")] = None,
    resamples: Annotated[
        int | None, typer.Option(min=100, help="Bootstrap resamples [default: 2000].")
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            help="Coverage embeddings: tfidf, reward-model or a sentence-transformers id."
        ),
    ] = None,
    probe_path: Annotated[
        list[Path] | None,
        typer.Option(help="A further folder of probe suites; may be repeated."),
    ] = None,
    search_texts: Annotated[
        int | None,
        typer.Option(
            min=0, help="Texts that each search for what fools the model may score [default: 1000]."
        ),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    backend: Backend = None,
    head: Head = None,
    format: TextFormat = None,
    max_length: MaxLength = None,
    token_budget: TokenBudget = None,
    trust_remote_code: Trust = False,
    allow_pickle: Pickle = False,
    reference_model: Reference = None,
    beta: Beta = None,
    http_format: HttpFormat = None,
    http_model: HttpModel = None,
    api_key_env: ApiKeyEnv = None,
    rubric: Rubric = None,
    timeout: Timeout = None,
    concurrency: Concurrency = None,
    store: Store = None,
    no_cache: NoCache = False,
    shard: Annotated[
        str | None,
        typer.Option(help="I/N: only score share I of N into the store; see merge."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="What scores: local (default) or ray, a pool of workers.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of ray [default: what the cluster has room for].")
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="Of ray, such as 0.5 [default: 1 if there are any].")
    ] = None,
) -> int:
    """Audit one reward model: writes report.json, report.html, figures/ and tables/."""
    given = {k: v for k, v in locals().items() if k not in ("console", "config")}
    from rmaudit.api import run_audit
    from rmaudit.config import AuditConfig

    given["probe_paths"] = tuple(given.pop("probe_path") or ()) or None
    settings = AuditConfig.resolve(given, config)
    if settings.shard is not None:
        from rmaudit.sharding import Shard, run_shard

        cost = run_shard(settings, Shard.parse(settings.shard), console)
        console.say(
            f"share {settings.shard}: {cost.texts_scored:,} of {cost.texts:,} rewards scored",
            scored=cost.texts_scored,
        )
        return EXIT_OK
    report, folder = run_audit(settings, console)
    show(console, report, folder)
    return EXIT_FAILED if report.failed else EXIT_OK


def show(console: Console, report: Report, folder: Path) -> None:
    """The verdict, key numbers and findings on stdout; where the page is, and what comes next."""
    from rmaudit.report.verdict import key_numbers, verdict
    from rmaudit.report.wording import slice_words, words

    answer = verdict(report)
    console.result(
        f"Can I optimise against this model? {answer.answer} {' '.join(answer.sentences)}",
        verdict=answer.answer,
    )
    names = {id_: name for audit in report.audits.values() for id_, name in audit.names.items()}
    rows = []
    for metric in key_numbers(report):
        shown, of = words(metric), slice_words(metric.slice)
        name = f"{names.get(metric.id, metric.id)}{f', {of}' if of else ''}"
        rows.append([name, f"{shown.value} {shown.unit}".strip(), shown.interval, shown.better])
    if rows:
        console.table("Key numbers", ["number", "value", "interval", "better"], rows)
    findings = [[f.severity, f.audit, f.title] for f in report.findings if f.severity != "info"]
    console.table("Findings", ["severity", "audit", "what"], findings or [["-", "-", "no finding"]])
    for name, result in report.audits.items():
        if result.status != "ok":
            console.warn(f"{name} {result.status.replace('_', ' ')}: {result.reason}")
    console.say(f"page: {folder / 'report.html'}", page=str(folder / "report.html"))
    console.say(f"next: rmaudit gate {folder} --policy gate.toml")


def score(
    console: Console,
    model: Model = None,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Parquet file.")] = Path("scores.parquet"),
    limit: Limit = None,
    device: Device = None,
    dtype: Dtype = None,
    backend: Backend = None,
    head: Head = None,
    format: TextFormat = None,
    max_length: MaxLength = None,
    token_budget: TokenBudget = None,
    trust_remote_code: Trust = False,
    allow_pickle: Pickle = False,
    reference_model: Reference = None,
    beta: Beta = None,
    http_format: HttpFormat = None,
    http_model: HttpModel = None,
    api_key_env: ApiKeyEnv = None,
    rubric: Rubric = None,
    timeout: Timeout = None,
    concurrency: Concurrency = None,
    store: Store = None,
    no_cache: NoCache = False,
) -> None:
    """Score every text of a data set; writes one row a text."""
    given: dict[str, Any] = {
        k: v for k, v in locals().items() if k not in ("console", "data", "out")
    }
    from rmaudit.api import run_score
    from rmaudit.config import AuditConfig

    settings = AuditConfig.resolve({**given, "eval": data}, None)
    frame = run_score(settings, out, console)
    console.say(f"{len(frame)} rewards: {out}", rows=len(frame), path=str(out))
