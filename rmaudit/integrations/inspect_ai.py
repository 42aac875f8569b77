"""A reward as a scorer of Inspect.

In a task, ``scorer=reward_scorer("org/reward-model")``; on a log that is there already::

    inspect score logs/RUN.eval --scorer rmaudit/reward_scorer -S model=org/reward-model
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from inspect_ai.model import ChatMessage
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from rmaudit.api import Model
from rmaudit.data.types import Message, Prompt
from rmaudit.errors import UsageError
from rmaudit.integrations.asking import Reward

Conversation = Literal["input", "messages"]


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]
def reward_scorer(model: Model, prompt: Conversation = "input", **options: Any) -> Scorer:
    """Score the model's completion with a reward model; metrics: mean and its standard error.

    A sample without a finite reward stays unscored, with the reason, and is in no metric. Rewards
    that read columns find the sample's metadata, and its target as the reference answer.

    Parameters
    ----------
    model
        A loaded reward model, or whatever `rmaudit.load_reward_model` takes.
    prompt
        What the response answers: "input", the sample's input; or "messages", the conversation
        before the last response as solvers made it, system prompt and tool calls included.
    options
        How the model is loaded: fields of `rmaudit.settings.ModelSettings`, ``device="cuda"``.

    Raises
    ------
    UsageError
        If the model gives a single response no number, or `prompt` is neither.
    """
    if prompt not in ("input", "messages"):
        raise UsageError(f'prompt is {prompt!r}: "input" or "messages" is wanted')
    reward = Reward(model, "an Inspect scorer", **options)

    async def score(state: TaskState, target: Target) -> Score:
        asked = _input(state) if prompt == "input" else _before_response(state)
        response = state.output.completion
        columns = dict(state.metadata or {})
        found = await asyncio.to_thread(reward, asked, response, columns, target.text or None)
        about = {"reward_model": reward.name}
        if found.reason:
            return Score.unscored(explanation=found.reason, answer=response, metadata=about)
        return Score(value=found.reward, answer=response, metadata=about)

    return score


def _input(state: TaskState) -> Prompt:
    given = state.input
    return given if isinstance(given, str) else [_turn(message) for message in given]


def _before_response(state: TaskState) -> Prompt:
    """The turns before the last one of the assistant."""
    turns = [_turn(message) for message in state.messages]
    responses = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
    return turns[: responses[-1]] if responses else turns


def _turn(message: ChatMessage) -> Message:
    turn: Message = {"role": message.role, "content": message.text}
    calls = getattr(message, "tool_calls", None)
    if calls:
        turn["tool_calls"] = [
            {"type": "function", "function": {"name": call.function, "arguments": call.arguments}}
            for call in calls
        ]
    return turn
