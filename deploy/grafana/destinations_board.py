"""The dashboard *Destinations*: how is each one, what waits there, and what do providers answer?"""

from deploy.grafana.panels import Panel, Query, Row, dashboard, found_in_background, query, rising, variable

_D = 'instance=~"$instance", destination=~"$destination"'
_I = 'instance=~"$instance"'
_RATE = "[$__rate_interval]"
_STATES = {"0": ("healthy", "green"), "1": ("paused", "yellow"), "2": ("broken", "red")}


def _max(gauge: str) -> str:
    """Return a gauge of destinations. Every replica of a database shows the same."""
    return f"max by (destination) ({gauge}{{{_D}}})"


_HOW = Row("How each destination is", (
    Panel("State", "Broken: nothing reaches it. Paused: by an operator.",
          query(f"2 * {_max('alert_router_destination_broken')} > 0 or {_max('alert_router_destination_paused')}", "{{destination}}"),
          "state-timeline", width=24, height=9, words=_STATES),
    Panel("Now", "Each destination with what waits there.",
          (Query(_max("alert_router_backlog")),
           Query(_max("alert_router_oldest_pending_age_seconds")),
           Query(_max("alert_router_backlog_seconds")),
           Query(_max("alert_router_dead_letters")),
           Query(_max("alert_router_destination_broken")),
           Query(_max("alert_router_destination_paused"))),
          "table", width=24, height=9,
          columns={"destination": "Destination", "Value #A": "Backlog", "Value #B": "Oldest pending", "Value #C": "Time to send all",
                   "Value #D": "Dead letters", "Value #E": "Broken", "Value #F": "Paused"},
          units={"Oldest pending": "s", "Time to send all": "s", "Broken": "bool_yes_no", "Paused": "bool_yes_no"}),
))  # fmt: skip

_WAITING = Row("What waits", (
    Panel("Backlog", "Messages that are due and not sent yet.",
          query(_max("alert_router_backlog"), "{{destination}}"),
          minimum=0),
    Panel("Oldest pending", "How long the oldest message has been due.",
          query(_max("alert_router_oldest_pending_age_seconds"), "{{destination}}"),
          unit="s", steps=rising(60, 300), shows_thresholds=True),
    Panel("Dead letters", "What was given up, until somebody settles it.",
          query(_max("alert_router_dead_letters"), "{{destination}}"),
          minimum=0),
))  # fmt: skip

_DELIVERIES = Row("Deliveries", (
    Panel("Delivered", "Attempts that succeeded.",
          query(f'sum by (destination) (rate(alert_router_deliveries_total{{{_D}, outcome="delivered"}}{_RATE}))', "{{destination}}"),
          unit="ops"),
    Panel("Not delivered", "Attempts that failed. Most are repeated.",
          query(f'sum by (destination, outcome) (rate(alert_router_deliveries_total{{{_D}, outcome!~"delivered|unfinished"}}{_RATE}))', "{{destination}} {{outcome}}"),
          unit="ops"),
    Panel("From accepted to delivered, 95 %", "Without changes that were held back on purpose.",
          query(f"histogram_quantile(0.95, sum by (destination, le) (rate(alert_router_accept_to_delivered_seconds_bucket{{{_D}}}{_RATE})))", "{{destination}}"),
          unit="s", steps=rising(30, 300), shows_thresholds=True),
    Panel("Failures of the last day", "By reason, the most frequent first.",
          query(f"sort_desc(sum by (destination, reason) (increase(alert_router_delivery_failures_total{{{_D}}}[1d])) > 0)"),
          "table", width=16, decimals=0,
          columns={"destination": "Destination", "reason": "Reason", "Value": "Failures"}),
    Panel("Possible duplicates", "Sent again because the answer was lost.",
          query(f"sum by (destination) (increase(alert_router_possible_duplicates_total{{{_D}}}[1h]))", "{{destination}}"),
          decimals=0),
))  # fmt: skip

_PROVIDERS = Row("Providers", (
    Panel("Time of an attempt, 95 %", "All calls of an attempt at the provider, without waiting for the rate.",
          query(f"histogram_quantile(0.95, sum by (channel, le) (rate(alert_router_provider_call_seconds_bucket{{{_I}}}{_RATE})))", "{{channel}}"),
          unit="s", steps=rising(2.5, 10), shows_thresholds=True),
    Panel("Attempts", "How many a second, by channel.",
          query(f"sum by (channel) (rate(alert_router_provider_call_seconds_count{{{_I}}}{_RATE}))", "{{channel}}"),
          unit="ops"),
    Panel("Rate limits", "Attempts that the provider refused because of its rate limit.",
          query(f'sum by (channel) (increase(alert_router_delivery_failures_total{{{_D}, reason=~"ratelimited|http 429.*"}}[15m]))', "{{channel}}"),
          decimals=0),
))  # fmt: skip

_DRILLS = Row("Drills", (
    Panel("Last drill", "Whether the last test reached every destination of the receiver.",
          query(f"min by (receiver) {found_in_background(f'alert_router_drill_last_successful{{{_I}}}')}", "{{receiver}}"),
          "state-timeline", width=12, words={"0": ("failed", "red"), "1": ("reached everybody", "green")}),
    Panel("Time since the last good drill", "By receiver.",
          query(f"time() - max by (receiver) {found_in_background(f'alert_router_drill_last_success_timestamp_seconds{{{_I}}}')}", "{{receiver}}"),
          "stat", "s", 4),
    Panel("Tests by outcome", "Drills and tests by hand, in the last day.",
          query(f"sum by (receiver, outcome) (increase(alert_router_tests_total{{{_D}}}[1d]))", "{{receiver}} {{outcome}}"),
          width=8, decimals=0),
))  # fmt: skip

DESTINATIONS = dashboard(
    "alert-router-destinations", "Alert router / Destinations",
    "How each destination is, what waits there, and what providers answer.",
    (variable("instance", "Instance", "label_values(alert_router_build_info, instance)"),
     variable("destination", "Destination", "label_values(alert_router_backlog, destination)")),
    (_HOW, _WAITING, _DELIVERIES, _PROVIDERS, _DRILLS),
)  # fmt: skip
