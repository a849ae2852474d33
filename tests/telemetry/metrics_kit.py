"""Reading metrics as a test wants them: one number for a name and some attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import DataPointT, Metric

Attributes = dict[str, object]


class Collected:
    """What one collection gave."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        data = reader.get_metrics_data()
        scopes = () if data is None else (scope for each in data.resource_metrics for scope in each.scope_metrics)
        self.metrics: dict[str, Metric] = {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name: str) -> Iterator[tuple[Attributes, DataPointT]]:
        """Each point of a metric, with its attributes."""
        metric = self.metrics.get(name)
        for point in metric.data.data_points if metric is not None else ():
            yield dict(point.attributes or {}), point

    def value(self, name: str, **wanted: object) -> float:
        """The sum of the points whose attributes end in these names and have these values; a histogram's count."""
        total = 0.0
        for attributes, point in self.points(name):
            short = {key.replace(".", "_"): value for key, value in attributes.items()}
            if all(short.get(f"resilio_{key}", short.get(key)) == value for key, value in wanted.items()):
                total += point.value if isinstance(point, NumberDataPoint) else point.count
        return total

    def attribute_values(self) -> set[str]:
        """Every value of every attribute, as text."""
        return {str(value) for name in self.metrics for told, _ in self.points(name) for value in told.values()}
