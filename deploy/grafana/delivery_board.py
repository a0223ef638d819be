"""The dashboard *Delivery overview*: is everybody notified, in time, and within the objectives?"""

from deploy.grafana.panels import (
    BAD_IF_ANY,
    WARN_IF_ANY,
    Panel,
    Query,
    Row,
    dashboard,
    falling,
    query,
    rising,
    variable,
)

_I = 'instance=~"$instance"'
_T = 'tenant=~"$tenant"'
_RATE = "[$__rate_interval]"


def _quantile(share: float, by: str, histogram: str) -> str:
    return f"histogram_quantile({share}, sum by (le{by}) (rate({histogram}_bucket{{{_I}}}{_RATE})))"


_NOW = Row("Now", (
    Panel("Broken destinations", "Destinations that nothing reaches. The runbook is AlertRouterDestinationDown.",
          query(f"sum(max by (destination) (alert_router_destination_broken{{{_I}}}))"),
          "stat", width=4, height=4, steps=BAD_IF_ANY),
    Panel("Oldest pending", "How long the oldest message that is due has waited, at any destination.",
          query(f"max(alert_router_oldest_pending_age_seconds{{{_I}}})"),
          "stat", "s", 4, 4, rising(60, 300)),
    Panel("Backlog", "Messages that are due and not sent yet.",
          query(f"sum(max by (destination) (alert_router_backlog{{{_I}}}))"),
          "stat", width=4, height=4, steps=rising(20, 200)),
    Panel("Dead letters", "Messages that were given up and that nobody has settled yet.",
          query(f"sum(max by (destination) (alert_router_dead_letters{{{_I}}}))"),
          "stat", width=4, height=4, steps=WARN_IF_ANY),
    Panel("Delivered, last hour", "The share of attempts that succeeded in the last hour.",
          query(f'sum(rate(alert_router_deliveries_total{{{_I}, outcome=~"delivered|unfinished"}}[1h])) / sum(rate(alert_router_deliveries_total{{{_I}}}[1h]))'),
          "stat", "percentunit", 4, 4, falling(0.9, 0.99), decimals=1),
    Panel("Undecided alerts", "Alerts of kept webhooks that are not judged yet.",
          query(f"max(alert_router_undecided_alerts{{{_I}}})"),
          "stat", width=4, height=4, steps=WARN_IF_ANY),
))  # fmt: skip

_OBJECTIVES = Row("Objectives (30 days)", (
    Panel("Error budget left", "1 is the whole budget of 30 days, 0 means that it is spent. See docs/monitoring.md.",
          query(f"objective:alert_router_slo_budget_left:ratio30d{{{_T}}}", "{{objective}} {{tenant}}"),
          "bargauge", "percentunit", 8, 8, falling(0, 0.25), minimum=0, maximum=1),
    Panel("Burn rate, last hour", "How many times faster than allowed the budget is spent. 14.4 wakes somebody, 1 is just allowed.",
          query(f"objective:alert_router_slo_bad:ratio_rate1h{{{_T}}} / objective:alert_router_slo_budget:ratio{{{_T}}}", "{{objective}} {{tenant}}"),
          steps=rising(1, 14.4), minimum=0, shows_thresholds=True),
    Panel("Targets and results", "The target of each objective, and the share of good events in the last 30 days.",
          (Query(f"1 - objective:alert_router_slo_budget:ratio{{{_T}}}"),
           Query(f"1 - objective:alert_router_slo_bad:ratio30d{{{_T}}}"),
           Query(f"objective:alert_router_slo_budget_left:ratio30d{{{_T}}}")),
          "table", "percentunit", decimals=3,
          columns={"objective": "Objective", "tenant": "Tenant", "Value #A": "Target", "Value #B": "Good", "Value #C": "Budget left"}),
    Panel("Error budget left over time", "The budget of the 30 days before each moment.",
          query(f"objective:alert_router_slo_budget_left:ratio30d{{{_T}}}", "{{objective}} {{tenant}}"),
          unit="percentunit", width=12, steps=falling(0, 0.25), shows_thresholds=True),
    Panel("Good and bad events", "What the objectives count.",
          query(f"sum by (objective, outcome) (rate(alert_router_slo_events_total{{{_I}, {_T}}}{_RATE}))", "{{objective}} {{outcome}}"),
          unit="ops", width=12),
))  # fmt: skip

_IN = Row("What comes in", (
    Panel("Webhooks by outcome", "Everything but accepted needs a look: quarantined, unauthorized, too_large, unsupported, unavailable.",
          query(f"sum by (outcome) (rate(alert_router_webhooks_total{{{_I}}}{_RATE}))", "{{outcome}}"),
          unit="reqps", stacked=True),
    Panel("Changes by kind and level", "Alerts that fired, were repeated, or resolved.",
          query(f"sum by (kind, level) (rate(alert_router_changes_total{{{_I}}}{_RATE}))", "{{kind}} {{level}}"),
          unit="ops", stacked=True),
    Panel("Changes by tenant", "The same, by tenant.",
          query(f"sum by (tenant) (rate(alert_router_tenant_changes_total{{{_I}, {_T}}}{_RATE}))", "{{tenant}}"),
          unit="ops", stacked=True),
    Panel("Decisions", "What the rules decided: send, hold, inhibited, digest, drop.",
          query(f"sum by (decision) (rate(alert_router_decisions_total{{{_I}}}{_RATE}))", "{{decision}}"),
          unit="ops", stacked=True),
    Panel("Fates by tenant", "What became of the changes, for the chosen tenants.",
          query(f"sum by (fate) (rate(alert_router_tenant_fates_total{{{_I}, {_T}}}{_RATE}))", "{{fate}}"),
          unit="ops", stacked=True),
    Panel("Alerts without a known severity", "They get the default level. Their rules should set the label.",
          query(f"sum by (source) (rate(alert_router_unknown_severity_total{{{_I}}}{_RATE}))", "{{source}}"),
          unit="ops"),
))  # fmt: skip

_OUT = Row("What goes out", (
    Panel("Deliveries by outcome", "Attempts at all destinations.",
          query(f"sum by (outcome) (rate(alert_router_deliveries_total{{{_I}}}{_RATE}))", "{{outcome}}"),
          unit="ops", stacked=True),
    Panel("From accepted to delivered", "Without changes that were held back on purpose.",
          (Query(_quantile(0.5, "", "alert_router_accept_to_delivered_seconds"), "median"),
           Query(_quantile(0.95, "", "alert_router_accept_to_delivered_seconds"), "95 %"),
           Query(_quantile(0.99, "", "alert_router_accept_to_delivered_seconds"), "99 %")),
          unit="s", steps=rising(30, 300), shows_thresholds=True),
    Panel("From due to delivered, 95 %", "By level. The objectives are 30 s for the most urgent level and 5 min for all.",
          query(_quantile(0.95, ", level", "alert_router_due_to_delivered_seconds"), "{{level}}"),
          unit="s", steps=rising(30, 300), shows_thresholds=True),
    Panel("Failures by reason", "The reasons come from a table; docs/channels.md says what each one means.",
          query(f"sum by (channel, reason) (rate(alert_router_delivery_failures_total{{{_I}}}{_RATE}))", "{{channel}}: {{reason}}"),
          unit="ops"),
    Panel("Possible duplicates", "Sent again because the answer was lost, at a provider without deduplication.",
          query(f"sum by (destination) (increase(alert_router_possible_duplicates_total{{{_I}}}[1h]))", "{{destination}}"),
          decimals=0),
    Panel("Fallback messages", "Sent in the fallback layout because a template failed.",
          query(f"sum by (channel) (increase(alert_router_template_fallbacks_total{{{_I}}}[1h]))", "{{channel}}"),
          decimals=0),
))  # fmt: skip

DELIVERY = dashboard(
    "alert-router-delivery", "Alert router / Delivery overview",
    "Is everybody notified, in time, and within the objectives?",
    (variable("instance", "Instance", "label_values(alert_router_build_info, instance)"),
     variable("tenant", "Tenant", "label_values(alert_router_slo_events_total, tenant)")),
    (_NOW, _OBJECTIVES, _IN, _OUT),
)  # fmt: skip
