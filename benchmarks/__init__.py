"""Side-by-side timings of jaxmed and its peers, their records, and the tables made from them.

``python -m benchmarks NAME`` runs a suite, ``python -m benchmarks tables --write`` renders the
committed records into README and docs. A timing is never a unit test; that the tables say what
the records say is one.
"""
