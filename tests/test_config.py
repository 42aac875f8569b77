"""`audit.toml` and flags: one set of settings, checked, and kept in the report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import rmaudit
from rmaudit.cli import app
from rmaudit.config import AuditConfig, flag_of
from rmaudit.errors import SchemaError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.settings import PANELS, ModelSettings

PAIRS = [
    {"prompt": f"Q{i // 2}?", "chosen": f"A careful answer {i}.", "rejected": f"No {i}."}
    for i in range(20)
]


def toml(folder: Path, text: str) -> Path:
    path = folder / "audit.toml"
    path.write_text(text)
    return path


def options_of(command: str) -> dict[str, Any]:
    """Every option of a command by its longest flag."""
    group = typer.main.get_command(app)
    parameters = group.commands[command].params  # type: ignore[attr-defined]
    return {max(p.opts, key=len): p for p in parameters if p.param_type_name == "option"}


def test_every_setting_is_an_option_of_audit_in_its_panel_and_shows_no_python_type() -> None:
    parameters = options_of("audit")
    described = AuditConfig.options()
    assert set(AuditConfig.model_fields) - set(described) == {"schema_version"}
    for name, each in described.items():
        parameter = parameters.pop(flag_of(name, each))
        assert each.help in parameter.help
        assert parameter.rich_help_panel == each.panel
    assert set(parameters) == {"--config", "--quiet", "--json-logs", "--debug"}


def test_help_is_grouped_and_speaks_no_python() -> None:
    for command in ("audit", "score", "doctor", "overopt", "gate", "validate", "verify", "demo"):
        shown = CliRunner().invoke(app, [command, "--help"]).stdout
        assert not re.search(r"<(str|int|float|path|list)|int range|float range", shown, re.I)
    for group in ([], ["train"], ["probes"]):
        shown = CliRunner().invoke(app, [*group, "--help"]).stdout
        assert not re.search(r"\w\.\.\.", shown), "a command is described by half a phrase"
    shown = CliRunner().invoke(app, ["audit", "--help"]).stdout
    places = [shown.index(f"{panel}:") for panel in PANELS]
    assert places == sorted(places)
    assert "[default: 2000; at least 100]" in " ".join(shown.split())


def test_a_setting_reaches_every_door(tmp_path: Path) -> None:
    shared = set(ModelSettings.options())
    for command in ("score", "doctor"):
        assert {flag_of(n, AuditConfig.options()[n]) for n in shared} <= set(options_of(command))
    with pytest.raises(SchemaError, match=r"no setting is named 'devise'; did you mean .*device"):
        load_reward_model("recorded", devise="cpu")
    with pytest.raises(SchemaError, match=r"rmaudit\.audit: resamples: .*greater than or equal"):
        rmaudit.audit("recorded", PAIRS, resamples=5)


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = toml(
        tmp_path,
        'model = "a/b"\neval = "e"\nseed = 7\nno-cache = true\nonly = "length, style"\n'
        'http-format = "vllm"\nprobe-path = "mine"\nensemble = ["c/d", "e/f"]\n',
    )
    settings = AuditConfig.resolve({"seed": 0, "limit": None, "no_cache": False}, file)
    assert settings.seed == 0  # a flag that says 0 was given
    assert settings.no_cache
    assert settings.only == ("length", "style")
    assert settings.http_format == "vllm"
    assert settings.probe_paths == (Path("mine"),)
    assert settings.ensemble == ("c/d", "e/f")
    assert (settings.confidence, settings.limit) == (0.95, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sed = 3\n", r"audit\.toml: no setting is named 'sed'; did you mean .*seed"),
        ('api_key = "x"\n', r"no setting is named 'api_key'; did you mean api_key_env"),
        ("seed = -1\n", r"audit\.toml: seed: .*greater than or equal to 0"),
        ('http_format = "grpc"\n', r"http_format: .*'json', 'vllm', 'tei', 'openai'"),
        ('format = "{prompt}"\n', r"format: must contain \{output\}"),
        ("seed = \n", r"audit\.toml: not TOML"),
        ("seed = " + "9" * 5000, r"audit\.toml: not TOML: Exceeds the limit"),
    ],
)
def test_a_fault_names_the_file_and_the_setting(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=said):
        AuditConfig.resolve({"model": "m", "eval": "e"}, toml(tmp_path, text))


def test_model_and_eval_are_needed() -> None:
    with pytest.raises(UsageError, match="no model given: say --model MODEL"):
        AuditConfig.resolve({"eval": "e"}, None)


def test_what_is_recorded_leaves_out_paths_of_results_and_the_query_of_a_url() -> None:
    settings = AuditConfig.resolve(
        {
            "model": "https://host:1/score?tenant=secret-name",
            "ensemble": ("http://h/x?y=1", "a/b"),
            "eval": "e.jsonl",
            "out": Path("/home/me/out"),
            "store": Path("/home/me/store"),
            "api_key_env": "SOME_KEY",
        },
        None,
    )
    recorded = settings.recorded()
    assert recorded["model"] == "https://host:1/score"
    assert recorded["ensemble"] == ["http://h/x", "a/b"]
    assert recorded["api_key_env"] == "SOME_KEY"
    assert not {"out", "store"} & recorded.keys()
    assert recorded["resamples"] == 2000
    assert "secret-name" not in json.dumps(recorded)


def test_the_report_keeps_the_resolved_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "prefs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    (tmp_path / "length_reward.py").write_text(
        "def score(pairs):\n    return [len(output) for _, output in pairs]\n"
    )
    toml(
        tmp_path,
        'model = "python:length_reward:score"\neval = "prefs.jsonl"\nonly = ["preference"]\n'
        'seed = 4\nresamples = 200\nno_cache = true\nout = "o"\n',
    )
    done = CliRunner().invoke(
        app, ["audit", "--config", "audit.toml", "--seed", "5", "--trust-code"]
    )
    assert done.exit_code == 0, done.stderr
    config = json.loads((tmp_path / "o" / "report.json").read_text())["config"]
    assert (config["seed"], config["resamples"], config["only"]) == (5, 200, ["preference"])
    assert config["model"] == "python:length_reward:score"
    assert config["beta"] == 0.1  # what nobody said is kept too


@pytest.mark.parametrize(
    "text", ["a." * 400_000 + "a = 1", f"[{'a.' * 300}a]", f"a = {{{'b.' * 300}b = 1}}"]
)
def test_a_key_of_many_parts_is_refused_before_it_is_parsed(text: str, tmp_path: Path) -> None:
    # The parser would take minutes for the first.
    (tmp_path / "audit.toml").write_text(text)
    with pytest.raises(SchemaError, match="nested too deeply"):
        AuditConfig.resolve({}, tmp_path / "audit.toml")
