"""`rmaudit overopt`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmaudit.cli import command
from rmaudit.cli.command import offered
from rmaudit.config import AuditConfig
from rmaudit.console import Console
from rmaudit.errors import UsageError
from rmaudit.files import check_writable
from rmaudit.overoptimization.settings import NOISE, OveroptSettings
from rmaudit.settings import ModelSettings

if TYPE_CHECKING:
    from pathlib import Path

    from rmaudit.overoptimization import Overopt

NOT_OF_A_MODEL = ("beta", "reference_model")  # of a DPO policy, which is not what selects here
SETTINGS = {
    **offered(OveroptSettings),
    **offered(AuditConfig, set(ModelSettings.options()) - set(NOT_OF_A_MODEL)),
    **offered(AuditConfig, ("limit", "seed", "resamples", "store", "no_cache")),
}
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
) -> None:
    """Over-optimisation: gold and proxy reward against KL, fits, peak, safe budget, figures."""
    wanted = OveroptSettings(**OveroptSettings.said(given))
    wanted = wanted.but(log=(*(run or ()), *wanted.log))
    if sum(bool(source) for source in (wanted.samples, wanted.log, wanted.world)) != 1:
        raise UsageError(f"give {SOURCES}")
    from rmaudit.overoptimization import VENUES
    from rmaudit.overoptimization.result import SUMMARY
    from rmaudit.plots.paper import NO_TEX, has_tex
    from rmaudit.rewards.kinds import refuse_without_effect

    scoring = {name: given[name] for name in SETTINGS if SETTINGS[name][0] is AuditConfig}
    settings = AuditConfig.resolve({**scoring, "model": "recorded", "eval": "none"}, None)
    refuse_without_effect(settings, _opened(wanted))
    check_writable(wanted.out)
    if wanted.log:
        result = _from_logs(wanted, settings)
    elif wanted.world:
        result = _from_world(wanted, settings, console)
    else:
        result = _from_samples(wanted, settings, console)
    for note in result.notes:
        console.warn(note)
    console.table(f"Over-optimisation ({result.unit_words})", list(SUMMARY), result.summary())
    for line in result.sentences():
        console.say(line)
    written = result.save(wanted.out, wanted.venue or VENUES, wanted.x)
    if wanted.log:
        _write_report(result, wanted.out, settings)
    console.say(f"{len(written)} files: {wanted.out}", path=str(wanted.out))
    if not has_tex():
        console.say(NO_TEX)


def _opened(wanted: OveroptSettings) -> list[str | None]:
    """The reward models that are opened; a world trains its own."""
    if wanted.world:
        return []
    return [*(wanted.models or ("recorded",) if wanted.samples else ()), wanted.gold]


def _from_logs(wanted: OveroptSettings, settings: AuditConfig) -> Overopt:
    from rmaudit.overoptimization import from_logs

    return from_logs(
        wanted.log,
        kl=wanted.log_kl,
        proxy=wanted.log_proxy,
        gold=wanted.log_gold,
        length=wanted.log_length,
        gold_reward=None if wanted.gold is None else _gold_reward(wanted.gold, settings),
        pooled=wanted.pooled,
        seed=settings.seed,
        resamples=settings.resamples,
    )


def _write_report(result: Overopt, out: Path, settings: AuditConfig) -> None:
    """report.json and its page beside the curves, as an audit has them: for gates, for diffs."""
    from rmaudit.provenance import provenance
    from rmaudit.report.runs import run_report

    run_report(result, seed=settings.seed, config={}, provenance=provenance()).save(out)


def _gold_reward(gold: str, settings: AuditConfig) -> Callable[..., Any]:
    """What scores the completions of a run as gold."""
    from rmaudit.rewards import load_reward_model
    from rmaudit.rewards.base import Text, one_number
    from rmaudit.training.policy.reward import score

    model = one_number(load_reward_model(gold, settings.of_gold()), "a gold score")
    return lambda prompts, responses: score(
        model, [Text(p, r) for p, r in zip(prompts, responses, strict=True)]
    )


def _from_samples(wanted: OveroptSettings, settings: AuditConfig, console: Console) -> Overopt:
    from rmaudit.data import load
    from rmaudit.overoptimization import from_samples
    from rmaudit.rewards import load_reward_model
    from rmaudit.rewards.base import one_number

    proxies = [load_reward_model(one, settings) for one in wanted.models or ("recorded",)]
    gold = None if wanted.gold is None else load_reward_model(wanted.gold, settings.of_gold())
    return from_samples(
        [load(path, "samples", settings.limit) for path in wanted.samples],
        [one_number(proxy, "best of n") for proxy in proxies],
        gold=wanted.gold_column if gold is None else one_number(gold, "a gold score"),
        held_out=wanted.gold_held_out,
        with_aggregates=wanted.aggregates,
        pooled=wanted.pooled,
        methods=wanted.method,
        ns=wanted.n,
        betas=wanted.beta,
        seed=settings.seed,
        resamples=settings.resamples,
        store=settings.store,
        cache=not settings.no_cache,
        progress=console.progress(),
    )


def _from_world(wanted: OveroptSettings, settings: AuditConfig, console: Console) -> Overopt:
    shared: dict[str, Any] = {"seed": settings.seed, "resamples": settings.resamples}
    shared |= {"pairs": wanted.pairs, "say": console.say}
    if wanted.world == "dose":
        from rmaudit.overoptimization.dose_curves import from_dose

        noise = NOISE if wanted.noise is None else wanted.noise
        return from_dose(wanted.out / "dose", noise=noise, **shared)
    if wanted.noise is not None:
        raise UsageError("--noise belongs to --world dose; the clinic's annotators err by design")
    from rmaudit.overoptimization.clinic_curves import from_clinic

    return from_clinic(wanted.out / "clinic", **shared)
