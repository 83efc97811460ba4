"""One task after another: earlier ones are kept by importance, by examples, by answers."""
