"""Density: kernel estimates."""
