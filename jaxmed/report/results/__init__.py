"""Results: from predictions to metrics with intervals."""
