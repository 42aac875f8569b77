"""A model card brought up to date on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rmaudit.errors import RmauditError, StoreError, UsageError
from rmaudit.export.card import card_text, model_card, updated_card

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from rmaudit.report.document import Report

README = "README.md"


def push_card(report: Report, repo: str, *, pull_request: bool = False) -> str:
    """Write the audit into the card of a model on the hub; returns the address of the commit.

    The card that is there keeps all that is not rmaudit's (`updated_card`). The token is the one
    of ``hf auth login`` or HF_TOKEN; HF_ENDPOINT names another hub.

    Parameters
    ----------
    report
        An audit or a benchmark run.
    repo
        ``org/name`` of a model.
    pull_request
        Propose the change instead of making it.

    Raises
    ------
    UsageError
        If the name is no model's.
    DataError
        If the card that is there cannot be read.
    StoreError
        If the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    api = HfApi()
    try:
        old = _card_there(api, repo)
        card = model_card(report) if old is None else updated_card(old, report)
        done = api.upload_file(
            path_or_fileobj=card_text(card).encode(),
            path_in_repo=README,
            repo_id=repo,
            commit_message="Audit of the reward model by rmaudit",
            create_pr=pull_request,
        )
    except HFValidationError as error:
        raise UsageError(f"--push {repo}: name a model as org/name ({error})") from None
    except RmauditError:
        raise
    except Exception as error:  # the hub's own errors, and those of whatever it sends with
        reason = " ".join(str(error).split())[:200]
        raise StoreError(
            f"--push {repo}: {reason}; check the name, the network and the token (hf auth login)"
        ) from error
    return str(done.pr_url or done.commit_url)


def _card_there(api: HfApi, repo: str) -> str | None:
    """The text of a model's card; None where the model has none."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        path = api.hf_hub_download(repo, README, force_download=True)
    except LocalEntryNotFoundError:  # the hub was not reached: no statement about the card
        raise
    except EntryNotFoundError:
        return None
    return Path(path).read_text(encoding="utf-8")
