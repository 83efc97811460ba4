"""Tests of explanations, one number a case."""
