"""Results: from predictions to metrics with intervals, one record a task."""
