"""Scripts that tests run in processes of their own."""

collect_ignore = ["forks.py"]
