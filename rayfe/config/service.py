"""Where a run works and what it leaves besides rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rayfe.config.checks import at_least, positive, require


@dataclass(frozen=True, kw_only=True)
class Service:
    """Backend, evaluators, placement, budget: few of these change a row, and then by rounding."""

    backend: Literal["inline", "ray"] = "ray"
    """ray: Ray Tune trials and a pool of evaluator actors; inline: the same requests in this process, without Ray."""
    evaluators: int | None = None
    """Evaluator actors (backend ray) at most; without it as many as are of use, and as the cluster can hold at the time."""
    placement: Literal["shared", "isolated"] = "shared"
    """shared: all trajectories send their work to one pool of evaluators, which is never idle while there is work;
    isolated: each trajectory has evaluators of its own in a placement group (backend ray)."""
    autoscale: Literal["cpu", "gpu"] | None = None
    """Ask the cluster's autoscaler for machines for the evaluators, and wait for them (backend ray): gpu for machines with GPUs, also
    where none is up yet."""
    train_workers: int = 0
    """Workers that share each mini-batch of first equilibria and baselines (Ray Train); 0: an evaluator trains them."""
    log_format: Literal["text", "json"] = "text"
    """text: a table or a line a step for people; json: one JSON object a line on stderr for each event, instead."""
    only_start: bool = False
    """Train and store the start of each trajectory, then stop; the same command without it goes on from there."""
    time_budget: float | None = None
    """Seconds after which a trajectory starts no further step."""
    threads: int = 2
    """Threads of one evaluator."""
    replicas_per_evaluator: int | Literal["all", "auto"] = "auto"
    """Neighbours trained together on one evaluator, 1 to all. auto: as the run began, all for new runs. 1 needs an evaluator
    for each and pays where one model fills a GPU and others are idle. Rows differ by rounding."""
    keep_states: str = "all"
    """Weight files to keep: all, last, or a number."""

    def __post_init__(self) -> None:
        if self.time_budget is not None:
            positive("time_budget", self.time_budget, " of seconds")
        at_least("threads", self.threads, 1)
        for name in ("evaluators", "replicas_per_evaluator"):
            if isinstance(getattr(self, name), int):
                at_least(name, getattr(self, name), 1)
        at_least("train_workers", self.train_workers, 0)
        for name in ("train_workers", "autoscale"):
            value = getattr(self, name)
            require(not value or self.backend == "ray", name, value, "needs ``backend=ray``")
        shared = self.placement == "shared" or not self.train_workers
        require(shared, "train_workers", self.train_workers, "borrows from the shared pool, needs ``placement=shared``")
        known = self.keep_states in ("all", "last") or (self.keep_states.isdecimal() and int(self.keep_states) >= 1)
        require(known, "keep_states", self.keep_states, "give all, last or a number of steps")
