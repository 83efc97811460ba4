"""Side-by-side timings of jaxmed and its peers, their records, and the tables made from them.

``python -m benchmarks NAME`` runs a suite, ``python -m benchmarks tables --write`` renders the
committed records into README and docs. Timings are never unit tests; that the tables match the
records is one.
"""
