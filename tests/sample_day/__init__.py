"""A day with the sample incident, run fast on a clock that the test moves. Its reports are examples in the documentation."""
