"""Why networks answer as they do, where the answer is known."""
