"""`rmaudit overopt`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rmaudit.cli import command
from rmaudit.config import AuditConfig
from rmaudit.console import Console
from rmaudit.errors import UsageError
from rmaudit.files import check_writable
from rmaudit.settings import ModelSettings

if TYPE_CHECKING:
    from rmaudit.overoptimization import Overopt

T = TypeVar("T", int, float)
Key = Annotated[str | None, typer.Option(help="Key of the log's records, if not a known one.")]
SETTINGS = (
    *(name for name in ModelSettings.options() if name not in ("beta", "reference_model")),
    *("limit", "seed", "resamples", "store", "no_cache"),
)
SOURCES = "a run's folder or log, or one of --samples, --log, --world"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "overopt", overopt, settings=SETTINGS)


def overopt(
    console: Console,
    given: dict[str, Any],
    run: Annotated[
        list[str] | None, typer.Argument(help="Folder or log of an RL run, as with --log.")
    ] = None,
    samples: Annotated[str | None, typer.Option(help="Policy responses, k per prompt.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="What selects [default: recorded]; may be repeated."),
    ] = None,
    gold: Annotated[str | None, typer.Option(help="A reward model taken as the truth.")] = None,
    gold_held_out: Annotated[
        bool,
        typer.Option("--gold-held-out", help="Gold: trained on disjoint feedback."),
    ] = False,
    gold_column: Annotated[str, typer.Option(help="Gold rewards in --samples.")] = "gold_rewards",
    aggregates: Annotated[
        bool, typer.Option("--aggregates", help="Also mean, WCO and UWO of the models.")
    ] = False,
    method: Annotated[str, typer.Option(help="Of bon, tilted: a,b.")] = "bon,tilted",
    n: Annotated[str | None, typer.Option(help="Values of n: 1,2,4. Default: to the pool.")] = None,
    beta: Annotated[str | None, typer.Option(help="Values of beta: 1,0.5.")] = None,
    log: Annotated[
        list[str] | None, typer.Option(help="Log of an RL run, or its folder; may be repeated.")
    ] = None,
    log_kl: Key = None,
    log_proxy: Key = None,
    log_gold: Key = None,
    log_length: Annotated[
        str | None,
        typer.Option(
            help="Response length of a KL per token: a key or a number; none: KL is per sequence."
        ),
    ] = None,
    pooled: Annotated[
        bool, typer.Option("--pooled", help="The logs are seeds of one run: one curve.")
    ] = False,
    world: Annotated[
        str | None, typer.Option(help="dose or clinic: train proxies and optimise them there.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=50, help="Feedback pairs of --world.")] = 800,
    noise: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.5, help="Share of flipped labels in --world dose [default: 0.25]."
        ),
    ] = None,
    venue: Annotated[
        list[str] | None, typer.Option(help="Width of the figures; default: all venues.")
    ] = None,
    x: Annotated[str, typer.Option(help="Axes of the figures, of kl,sqrt,log,step.")] = "kl",
    out: Annotated[Path, typer.Option(help="Folder of curve.csv and figures.")] = Path(
        "reports/overopt"
    ),
) -> None:
    """Over-optimisation: gold and proxy reward against KL, fits, peak, safe budget, figures."""
    log = [*(run or []), *(log or [])]
    if sum(bool(source) for source in (samples, log, world)) != 1:
        raise UsageError(f"give {SOURCES}")
    from rmaudit.overoptimization import VENUES, from_logs
    from rmaudit.overoptimization.result import SUMMARY

    check_writable(out)
    settings = AuditConfig.resolve({**given, "model": "recorded", "eval": "none"}, None)
    shared: dict[str, Any] = {"seed": settings.seed, "resamples": settings.resamples}
    if log:
        keys: dict[str, Any] = {"kl": log_kl, "proxy": log_proxy, "gold": log_gold}
        keys["length"] = log_length
        keys["gold_reward"] = None if gold is None else _gold_reward(gold, settings)
        result = from_logs(log, pooled=pooled, **keys, **shared)
    elif world:
        result = _world(world, out, pairs, noise, console, shared)
    else:
        result = _samples(
            str(samples),
            model or ["recorded"],
            gold,
            settings,
            gold_column=gold_column,
            held_out=gold_held_out,
            with_aggregates=aggregates,
            methods=_methods(method),
            ns=_numbers(n, int, "--n"),
            betas=_numbers(beta, float, "--beta"),
            store=settings.store,
            cache=not settings.no_cache,
            progress=console.progress(),
            **shared,
        )
    for note in result.notes:
        console.warn(note)
    console.table(f"Over-optimisation ({result.unit_words})", list(SUMMARY), result.summary())
    for line in result.sentences():
        console.say(line)
    axes = tuple(part.strip() for part in x.split(",") if part.strip())
    written = result.save(out, tuple(venue) if venue else VENUES, axes)
    console.say(f"{len(written)} files: {out}", path=str(out))


def _gold_reward(gold: str, settings: AuditConfig) -> Callable[..., Any]:
    """What scores the completions of a run as gold."""
    from rmaudit.rewards import load_reward_model
    from rmaudit.rewards.base import Text
    from rmaudit.training.policy.reward import score

    model = load_reward_model(gold, settings.of_gold())
    return lambda prompts, responses: score(
        model, [Text(p, r) for p, r in zip(prompts, responses, strict=True)]
    )


def _samples(
    path: str,
    models: list[str],
    gold: str | None,
    settings: AuditConfig,
    *,
    gold_column: str,
    **how: Any,
) -> Overopt:
    from rmaudit.data import load
    from rmaudit.overoptimization import from_samples
    from rmaudit.rewards import load_reward_model

    return from_samples(
        load(path, "samples", settings.limit),
        [load_reward_model(one, settings) for one in models],
        gold=gold_column if gold is None else load_reward_model(gold, settings.of_gold()),
        **how,
    )


def _world(
    name: str, out: Path, pairs: int, noise: float | None, console: Console, shared: dict[str, Any]
) -> Overopt:
    if name == "dose":
        from rmaudit.overoptimization.dose_curves import NOISE, from_dose

        flipped = NOISE if noise is None else noise
        return from_dose(out / "dose", pairs=pairs, noise=flipped, say=console.say, **shared)
    if name != "clinic":
        raise UsageError(f"no world is named {name!r}; known: clinic, dose")
    if noise is not None:
        raise UsageError("--noise belongs to --world dose; the clinic's annotators err by design")
    from rmaudit.overoptimization.clinic_curves import from_clinic

    return from_clinic(out / "clinic", pairs=pairs, say=console.say, **shared)


def _methods(given: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    unknown = [name for name in names if name not in ("bon", "tilted")]
    if unknown or not names:
        raise UsageError(f"--method {given!r}: say bon, tilted or both, as in bon,tilted")
    return names


def _numbers(given: str | None, kind: Callable[[str], T], option: str) -> list[T] | None:
    if given is None:
        return None
    try:
        return [kind(part) for part in given.split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"{option} {given!r}: give numbers, as in 1,2,4") from None
