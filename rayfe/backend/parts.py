"""Requests in parts of a few replicas, and their answers joined."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rayfe.records import Answer, Equilibrated, EquilibrateRequest, Measured, MeasureRequest, Outcome, Request


def split(request: Request, per_part: int | None) -> list[Request]:
    """Parts of a request that may be answered side by side: how it is spread follows from the configuration alone."""
    if isinstance(request, EquilibrateRequest):
        return [*split_replicas(request, per_part)]
    return [*split_measure(request, per_part)] if isinstance(request, MeasureRequest) else [request]


def join(answers: Sequence[Any]) -> Answer:
    """One answer from the answers to the parts, of one kind."""
    if len(answers) == 1:
        return answers[0]
    return join_replicas([*answers]) if isinstance(answers[0], Equilibrated) else join_measured([*answers])


def split_replicas(request: EquilibrateRequest, per_part: int | None) -> list[EquilibrateRequest]:
    """Parts of a request of at most `per_part` replicas each."""
    replicas, size = request.replicas, per_part or len(request.replicas)
    return [dataclasses.replace(request, replicas=replicas[i : i + size]) for i in range(0, len(replicas), size)]


def split_measure(request: MeasureRequest, per_part: int | None) -> list[MeasureRequest]:
    """Parts of a request of at most `per_part` replicas each: replicas are read apart anyway, so no byte changes."""
    size = per_part or len(request.replicas)
    return [
        dataclasses.replace(request, replicas=request.replicas[i : i + size]) for i in range(0, len(request.replicas), size)
    ]


def join_measured(parts: list[Measured]) -> Measured:
    """One answer from the answers to the parts."""
    return Measured(
        readings=tuple(reading for part in parts for reading in part.readings),
        weights=tuple(weights for part in parts for weights in part.weights),
        examples=sum(part.examples for part in parts),
    )


def join_replicas(parts: list[Equilibrated]) -> Equilibrated:
    """One answer from the answers to the parts; the first failure is the outcome of the whole."""
    failed = next((part.outcome for part in parts if part.outcome is not Outcome.OK), Outcome.OK)
    return Equilibrated(
        outcome=failed,
        weights=tuple(weights for part in parts for weights in part.weights),
        preconditioner=parts[0].preconditioner,
        readings=tuple(reading for part in parts for reading in part.readings),
        examples=sum(part.examples for part in parts),
    )
