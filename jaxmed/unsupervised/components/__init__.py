"""Components: principal components and random projections."""
