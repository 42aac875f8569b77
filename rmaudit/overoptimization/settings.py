"""Settings of `rmaudit overopt`: what is optimised, how, and which figures come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from rmaudit.settings import CallSettings, names_in, option

# The groups of the help text.
CURVES = "Curves from samples"
LOGS = "Curves from logs of RL"
WORLDS = "Curves from a world whose true reward is known"
FIGURES = "Figures and tables"

PAIRS = 800  # of feedback: few enough that the gold reward turns
NOISE = 0.25  # share of flipped labels: feedback of the dose world's initial policy shows little


class OveroptSettings(CallSettings):
    """What `rmaudit overopt` is asked for, beside how its reward models are loaded.

    Raises
    ------
    UsageError
        If a value is outside its range.
    """

    samples: tuple[str, ...] = option(
        (), "Policy responses, k per prompt; may be repeated.", CURVES, metavar="DATA"
    )
    models: tuple[str, ...] = option(
        (),
        "Reward model that selects; may be repeated.",
        CURVES,
        flag="model",
        short="-m",
        metavar="MODEL",
        unset="recorded",
    )
    gold: str | None = option(None, "A reward model taken as gold.", CURVES, metavar="MODEL")
    gold_held_out: bool = option(False, "The gold reward was trained on disjoint feedback.", CURVES)
    gold_column: str = option(
        "gold_rewards", "Column of --samples with the gold rewards.", CURVES, metavar="NAME"
    )
    aggregates: bool = option(
        False, "Also the models' mean, worst case (WCO) and penalised mean (UWO).", CURVES
    )
    method: tuple[Literal["bon", "tilted"], ...] = option(
        ("bon", "tilted"),
        "Methods, of bon (best of n) and tilted.",
        CURVES,
        metavar="NAMES",
        unset="bon,tilted",
        limits={"min_length": 1},
    )
    n: tuple[int, ...] | None = option(
        None, "Values of n: 1,2,4.", CURVES, metavar="N,N,...", unset="to the pool"
    )
    beta: tuple[float, ...] | None = option(
        None, "Values of beta: 1,0.5.", CURVES, metavar="NUMBER,...", unset="by octaves"
    )
    log: tuple[str, ...] = option(
        (), "Log of an RL run, or its folder; may be repeated.", LOGS, metavar="PATH"
    )
    log_kl: str | None = option(
        None, "Key of the KL in the log's records.", LOGS, metavar="KEY", unset="a known one"
    )
    log_proxy: str | None = option(
        None, "Key of the proxy reward.", LOGS, metavar="KEY", unset="a known one"
    )
    log_gold: str | None = option(
        None, "Key of the gold reward.", LOGS, metavar="KEY", unset="a known one"
    )
    log_length: str | None = option(
        None,
        "Response length of a KL per token: a key or a number; none: KL is per sequence.",
        LOGS,
        metavar="KEY|N|none",
        unset="a known key",
    )
    pooled: bool = option(
        False, "The logs, pools or models are seeds of one: one curve, a band over seeds.", LOGS
    )
    world: Literal["clinic", "dose"] | None = option(
        None, "Train proxies in this world and optimise them there.", WORLDS
    )
    pairs: int = option(PAIRS, "Feedback pairs of --world.", WORLDS, limits={"ge": 50})
    noise: float | None = option(
        None,
        "Share of flipped labels in --world dose.",
        WORLDS,
        limits={"ge": 0, "le": 0.5},
        unset=f"{NOISE}",
    )
    venue: tuple[str, ...] = option(
        (), "Width of the figures; may be repeated.", FIGURES, metavar="NAME", unset="all venues"
    )
    x: tuple[str, ...] = option(
        ("kl",),
        "What gains are drawn against: kl,sqrt,log,step.",
        FIGURES,
        metavar="NAMES",
        unset="kl",
    )
    out: Path = option(
        Path("reports/overopt"),
        "Folder of curve.csv and figures.",
        FIGURES,
        unset="reports/overopt",
    )

    @field_validator("method", "n", "beta", "x", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(names_in(value)) if isinstance(value, str | list | tuple) else value
