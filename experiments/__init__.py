"""Studies that `jaxmed train` runs: a folder a task, a file an experiment, found by its name."""
