"""Handlers of the reference cases, one module a topic: ``run(case)`` gives what jaxmed says."""
