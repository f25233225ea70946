"""Search for networks within a budget: FLOPs, parameters, latency.

``space`` (in ``detectors/damofd``) says what can be built, ``budgets`` and ``latency`` what it costs, ``ddsar`` and
``zero_cost`` what it may be worth, ``evolution`` is the loop, ``damofd`` joins them, ``plan`` turns a user's limits
into a search, ``record`` keeps it on disk, ``results`` and ``pareto`` show how it ended.
"""
