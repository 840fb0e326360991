"""Checks for what comes from outside: ``check_fusion_method`` and ``assert_memory_order`` for a method,
``check_task`` for a task.

They need neither a test framework nor trained weights, and take some seconds on a CPU.
"""

from harness.testing.check import STREAMS, check_fusion_method
from harness.testing.failures import PropertyError
from harness.testing.memory import assert_memory_order
from harness.testing.properties import PROPERTIES, Property
from harness.testing.subjects import BACKBONES
from harness.testing.task_properties import TASK_PROPERTIES, TaskProperty
from harness.testing.tasks import TaskPropertyError, check_task

__all__ = [
    "BACKBONES",
    "PROPERTIES",
    "STREAMS",
    "TASK_PROPERTIES",
    "Property",
    "PropertyError",
    "TaskProperty",
    "TaskPropertyError",
    "assert_memory_order",
    "check_fusion_method",
    "check_task",
]
