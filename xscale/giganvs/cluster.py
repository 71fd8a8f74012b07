"""The benchmark's jobs on a Ray cluster: a task is a job, into the folder that all machines see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from xscale.giganvs.jobs import Job, Recipe, attempt
from xscale.render.ray_engine import connect
from xscale.render.sinks import module

_RETRIES = 5
"""How often the job of a lost machine is given to another; it goes on from its checkpoint."""


def attempt_on_ray(
    jobs: Sequence[Job], recipe: Recipe, address: str, say: Callable[[str], None]
) -> dict[Job, str | None]:
    """Do jobs on a cluster; return what went wrong with each.

    Args:
        jobs: The jobs.
        recipe: What they have in common.
        address: Of the cluster.
        say: Called with a line when a job is done.

    Raises:
        SetupError: Ray is not installed.
        ClusterError: There is no cluster at that address.
    """
    ray = module("ray", "--engine ray", "cluster")
    started = not ray.is_initialized()
    if started:
        connect(ray, address)
    try:
        gpus = bool(ray.cluster_resources().get("GPU")) and recipe.device != "cpu"
        needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        task = ray.remote(max_retries=_RETRIES, **needs)(_task)
        shared = replace(recipe, out=recipe.out.resolve(), lpips_weights=_absolute(recipe))
        waiting = {task.remote(replace(job, scene=job.scene.resolve()), shared): job
                   for job in jobs}  # fmt: skip
        errors: dict[Job, str | None] = {}
        try:
            while waiting:
                (ready,), _ = ray.wait(list(waiting), num_returns=1)
                job = waiting.pop(ready)
                try:
                    errors[job] = ray.get(ready)
                except ray.exceptions.RayError as error:
                    errors[job] = f"the cluster lost it: {str(error).splitlines()[0]}"
                say(f"{job.name}: {errors[job] or 'done'} ({len(waiting)} to go)")
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)
        return errors
    finally:
        if started:
            ray.shutdown()


def _absolute(recipe: Recipe) -> Path | None:
    return None if recipe.lpips_weights is None else Path(recipe.lpips_weights).resolve()


def _task(job: Job, recipe: Recipe) -> str | None:
    """Do a job in a worker."""
    return attempt(job, recipe, lambda line: None)
