"""How the network is reached: in time, over warm connections, and never twice where that could harm.

``pool`` opens connections through ``network``; ``outgoing`` and ``upload`` make requests; ``calling``
sends them, with ``token_auth``, ``retry`` and a ``bulkhead``; ``outage``, ``flight`` and ``server_clock``
keep what was found out.
"""
