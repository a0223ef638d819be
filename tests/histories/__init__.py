"""Random histories of the store and what it made of them, recorded: another store has to make the same of them.

``generate`` invents a history, of the events of ``invent``; ``play`` plays it on a store, and ``seen`` writes down what the
store shows; ``data`` keeps it; ``compare`` compares, and ``differences`` lists what may differ, and why. The command is in
``__main__``.
"""
