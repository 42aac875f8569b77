"""Scoring by a pool of Ray workers: ``--engine ray``.

The texts that the store lacks are written to Parquet files. Ray Data deals the files out to a pool
of actors, each with a model of its own, and each file comes back as a Parquet file of rewards,
which is taken into the store at once. The files lie in a folder beside the store, on a disk that
all machines see. A worker that dies is started again and its file goes to whoever is free, so a
text is scored twice at worst. Rewards equal those of one machine up to what another composition of
batches does to float32 (about 1e-6 of a reward; a model without padding: nothing).
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Dataset
from rmaudit.errors import RewardModelError, RmauditError, StoreError, UsageError
from rmaudit.rewards.base import RewardModel, leaves
from rmaudit.scoring.engine import plan_passes, score_shard
from rmaudit.scoring.progress import Progress
from rmaudit.scoring.requests import Cost, Request
from rmaudit.scoring.shards import Collected, read_rewards, read_texts, write_rewards, write_texts
from rmaudit.scoring.store import ScoreStore
from rmaudit.scoring.texts import Texts

_MOST_TEXTS, _FEWEST_TEXTS = 4096, 64  # a file; what a dying worker can lose
_FILES_A_WORKER = 8  # so that none waits long for the last one
_ATTEMPTS = 4  # at one file: what kills four workers would kill them all


@dataclass(frozen=True, slots=True)
class Job:
    """A model and what it is to score."""

    load: Callable[[], RewardModel]  # on the worker; sent there by pickle
    model: RewardModel  # the same one here: tells what is stored, and that the worker's is equal
    requests: Sequence[Request]
    datasets: Mapping[str, Dataset] = field(default_factory=dict)  # for models that read rows


@dataclass(frozen=True, slots=True)
class Pool:
    """How many workers there are, one model each, and what each takes.

    Attributes
    ----------
    workers
        None: as many as the cluster's GPUs (or, without any, its processors) have room for.
    gpus_per_worker
        May be a fraction, so that several small models share a GPU. None: 1 where the cluster has
        GPUs.
    """

    workers: int | None = None
    gpus_per_worker: float | None = None


def score_on_ray(
    jobs: Sequence[Job], pool: Pool, *, store: ScoreStore, progress: Callable[[], Progress]
) -> Cost:
    """Score with many workers what the store lacks; it goes to the store.

    Runs on the cluster that ``RAY_ADDRESS`` names ("auto": that this machine belongs to); without
    it, on this machine alone.

    Parameters
    ----------
    jobs
        Scored one after the other. Members of a model score all modes.
    pool
        The workers.
    store
        Of rewards; its folder must be seen by all machines.
    progress
        Makes what is told of a job.

    Returns
    -------
    Cost
        Of all jobs.

    Raises
    ------
    UsageError
        If Ray is not installed, the cluster has no such GPUs, or there is no model that can score.
    RewardModelError
        If a worker cannot load its model, loads another one than this machine does, fails on a
        text, or dies again and again.
    StoreError
        If the workers' files are not seen here.
    """
    if not any(member.scores_new_text for job in jobs for member in leaves(job.model)):
        raise UsageError(
            "--engine ray has nothing to score: the rewards are recorded; leave it out"
        )
    cost, ray = Cost(), _import_ray()
    with _cluster(ray):
        workers, resources = _resources(ray.cluster_resources(), pool)
        for job in jobs:
            if any(member.scores_new_text for member in leaves(job.model)):
                cost += _run(ray, job, workers, resources, store, progress())
    return cost


def _run(
    ray: Any,
    job: Job,
    workers: int,
    resources: dict[str, float],
    store: ScoreStore,
    progress: Progress,
) -> Cost:
    start = time.perf_counter()
    passes = plan_passes(job.model, job.requests, store, job.datasets)
    asked, lacking = sum(p.wanted for p in passes), sum(len(p.missing) for p in passes)
    scored = tokens = 0
    beside = store.path.resolve()
    try:
        estimate = sum(p.estimate() for p in passes)
        progress.plan(asked, lacking, estimate, job.model.length_unit)
        with tempfile.TemporaryDirectory(prefix=f"{beside.name}.ray-", dir=beside.parent) as folder:
            files: list[Path] = []
            for texts in {id(p.texts): p.texts for p in passes}.values():
                missing = [p.missing for p in passes if p.texts is texts]
                numbers = np.unique(np.concatenate(missing))
                ordered = _in_order(texts, numbers, job.model)
                files += _write_files(texts, ordered, workers, Path(folder), len(files))
            for done in _results(ray, job, files, workers, resources):
                if done["rewards"]:
                    _take(Path(done["rewards"]), store)
                if done["failure"]:
                    raise RewardModelError(done["failure"])
                progress.advance(done["texts"], done["tokens"])
                scored += done["texts"]
                tokens += done["tokens"]
    finally:
        progress.close()
    return Cost(asked, scored, tokens, time.perf_counter() - start)


def _in_order(texts: Texts, numbers: NDArray[np.int64], model: RewardModel) -> NDArray[np.int64]:
    """Longest first, so that texts of a batch are alike; those of a prompt together if it pays."""
    numbers = numbers[np.argsort(-texts.characters(numbers), kind="stable")]
    if leaves(model)[0].shares_prefixes:
        numbers = numbers[np.argsort(texts.prompts(numbers), kind="stable")]
    return numbers


def _write_files(
    texts: Texts, numbers: NDArray[np.int64], workers: int, folder: Path, written: int
) -> list[Path]:
    size = -(-len(numbers) // (workers * _FILES_A_WORKER))
    size = min(max(size, _FEWEST_TEXTS), _MOST_TEXTS)
    files: list[Path] = []
    for start in range(0, len(numbers), size):
        files.append(folder / f"texts-{written + len(files):06d}.parquet")
        write_texts(files[-1], texts.excerpt(numbers[start : start + size]))
    return files


def _results(
    ray: Any, job: Job, files: Sequence[Path], workers: int, resources: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """What each file came to, as the workers are done with it.

    The workers read the files: Ray Data's own readers would need processors beside those that the
    workers hold, and wait for ever on a machine that has no more.
    """
    if not files:
        return
    fingerprints = frozenset(member.fingerprint for member in leaves(job.model))
    rows = [{"texts": str(path)} for path in files]
    dealt = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Worker,
        fn_constructor_args=(job.load, fingerprints, str(Path.cwd())),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
        **resources,
    )
    try:
        yield from dealt.iter_rows()
    except ray.exceptions.RayError as error:
        message = " ".join(str(error).split())
        raise RewardModelError(
            f"{job.model.name}: Ray gave up ({message[:300]}); what was scored before is kept"
        ) from error


class _Worker:
    """An actor: scores one file after the other with a model that it loads for the first.

    What goes wrong is told, not raised: Ray would wrap it, and some errors cannot be sent.
    """

    def __init__(
        self, load: Callable[[], RewardModel], fingerprints: frozenset[str], folder: str
    ) -> None:
        self._load, self._fingerprints, self._folder = load, fingerprints, folder

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, list[Any]]:
        """The file of rewards of a file of texts, and what it cost."""
        path = Path(str(batch["texts"][0]))
        collected, failure = Collected(), ""
        try:
            _count_attempt(path)
            score_shard(self._model, read_texts(path), store=collected)
        except RmauditError as error:
            failure = str(error)
        except OSError as error:
            failure = (
                f"a Ray worker does not see what this machine does ({error}); start in a folder, "
                "and name a --store, on a disk that all machines share"
            )
        rewards = path.with_name(path.name.replace("texts", "rewards"))
        if collected.parts:
            write_rewards(rewards, collected)
        scored = [rows for _, _, rows in collected.parts]
        return {
            "rewards": [str(rewards) if scored else ""],
            "failure": [failure],
            "texts": [sum(map(len, scored))],
            "tokens": [sum(int(rows["tokens"].sum()) for rows in scored)],
        }

    @cached_property
    def _model(self) -> RewardModel:
        """Loaded here and not at the start, so that dying of it counts as an attempt."""
        os.chdir(self._folder)  # where relative paths and python: modules are found
        try:
            model = self._load()
        except RmauditError as error:
            raise RewardModelError(f"a Ray worker could not load the model: {error}") from error
        if {member.fingerprint for member in leaves(model)} != self._fingerprints:
            raise RewardModelError(
                f"a Ray worker loaded another {model.name} than this machine: its files or module "
                "must be the same on all of them"
            )
        return model


def _count_attempt(path: Path) -> None:
    """Ray tries for ever: a file that workers die over must not have it do so."""
    earlier = len(list(path.parent.glob(f"{path.name}.attempt-*")))
    if earlier == _ATTEMPTS:
        raise RewardModelError(
            f"Ray workers died {_ATTEMPTS} times over the same texts, perhaps out of memory; lower "
            "--max-length, or --workers, or raise --gpus-per-worker"
        )
    path.with_name(f"{path.name}.attempt-{earlier}").touch()


def _take(path: Path, store: ScoreStore) -> None:
    """The rewards of a file into the store; the file goes."""
    if not path.is_file():
        raise StoreError(
            f"{path}, which a Ray worker wrote, is not seen here: name a --store on a disk that "
            "all machines share"
        )
    for fingerprint, keys, rows in read_rewards(path):
        store.add(fingerprint, keys, rows)
    path.unlink()


def _resources(cluster: dict[str, float], pool: Pool) -> tuple[int, dict[str, float]]:
    """How many workers, and what Ray reserves for each."""
    gpus = pool.gpus_per_worker
    there = cluster.get("GPU", 0.0)
    if gpus is None:
        gpus = 1.0 if there else 0.0
    if gpus > there:
        raise UsageError(
            f"--gpus-per-worker {gpus:g}: the Ray cluster has {there:g} GPUs; start Ray where "
            "they are (ray start), or name its head with RAY_ADDRESS"
        )
    room = there / gpus if gpus else cluster.get("CPU", 1.0)
    return pool.workers or max(1, int(room)), {"num_cpus": 1.0, "num_gpus": gpus}


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Connected to a cluster, which may be this machine alone."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if "RAY_ADDRESS" in os.environ:
        ray.init(**quiet)
    else:
        # Only paths go through the object store, bytes. Ray's own niceness, 15, would have the
        # workers stand still for as long as anything else keeps the processors busy.
        own = {"include_dashboard": False, "object_store_memory": 128 << 20}
        ray.init(address="local", _system_config={"worker_niceness": 0}, **own, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    if "RAY_ADDRESS" not in os.environ:  # by its name for this: listen on the loopback only
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError("--engine ray needs Ray: pip install 'ray[data]'") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray
