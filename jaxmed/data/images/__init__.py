"""Images in patient space: grids, resampling, normalising."""
