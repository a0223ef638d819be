"""Tools for people who write rules: check, explain, test, draw time intervals, import an alertmanager.yml."""
