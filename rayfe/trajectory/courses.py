"""The kind of trajectory that a configuration asks for."""

from __future__ import annotations

from rayfe.config import LOSSES, RunConfig
from rayfe.trajectory.baseline import BaselineCourse
from rayfe.trajectory.conditioned import ConditionedCourse
from rayfe.trajectory.course import Course
from rayfe.trajectory.free_walk import FreeCourse
from rayfe.trajectory.losses_walk import LossesCourse
from rayfe.trajectory.process_registry import process_class
from rayfe.trajectory.seek import SeekCourse
from rayfe.trajectory.walk import WalkCourse


def course_of(config: RunConfig) -> Course:
    """The kind of trajectory.

    Raises:
        UsageError: there is no such process.
    """
    if config.method is not None:
        return BaselineCourse()
    if config.asked.seek:
        return SeekCourse()
    if config.box is not None:
        return ConditionedCourse()
    if config.process == LOSSES:
        return LossesCourse()
    return WalkCourse() if process_class(config.process).moved_by else FreeCourse()
