"""Random histories of the store with recorded results. The present store must produce the same results.

``generate`` makes a history from the events of ``invent``. ``play`` plays it on a store, and ``seen`` converts what the store
shows into plain data. ``data`` saves and loads histories. ``compare`` compares results, and ``differences`` lists intended
differences with their reasons. The command is in ``__main__``.
"""
