"""Diagnostics of a node that has one thing to say."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node


def one_status(
    node: Node, what: str, level: bytes, words: str, figures: Mapping[str, object]
) -> DiagnosticArray:
    """An array of one entry, `node: what`, stamped with the time of the node's clock."""
    name = node.get_fully_qualified_name().lstrip('/')
    status = DiagnosticStatus(
        level=level, name=f'{name}: {what}', hardware_id=name, message=words,
        values=[KeyValue(key=key, value=str(value)) for key, value in figures.items()],
    )  # fmt: skip
    array = DiagnosticArray(status=[status])
    array.header.stamp = node.get_clock().now().to_msg()
    return array
