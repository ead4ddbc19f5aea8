"""Settings of the properties: no verdict depends on how fast the machine is."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

calm = settings(
    derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
