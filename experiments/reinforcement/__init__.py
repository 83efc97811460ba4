"""Agents that look for something in images."""
