"""The gate: counted memory against declared orders, a committed baseline and reference methods.

``harness check`` runs it (:func:`harness.gate.run.run_gate`). The rules (:mod:`harness.gate.rules`) are pure
functions over counted records.
"""
