"""Times have one unit everywhere, in memory and in the store: whole milliseconds since the epoch (UTC).

Durations are milliseconds, too.
"""

Millis = int
SECOND: Millis = 1_000
MINUTE: Millis = 60 * SECOND
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR
