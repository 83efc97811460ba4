"""Images with their place in the patient: reading, writing, resampling, normalising."""
