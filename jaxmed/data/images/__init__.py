"""Images in patient space: reading, writing, resampling, normalising."""
