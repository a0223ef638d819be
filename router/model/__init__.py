"""The words of the glossary as frozen data: webhook, alert, destination, decision, conversation, outcome.

Other packages import these names from here, whichever module defines them.
"""

from router.model.access_settings import AccessSettings, TrustedProxy, User
from router.model.alert import OWN_SOURCE, Alert, Change, Labels, Status, Webhook, identity_of
from router.model.conversation import (
    MAX_INHIBITED_COUNTED,
    Conversation,
    DigestLine,
    DigestView,
    ShownAlert,
    StormLine,
    StormNews,
    StormView,
)
from router.model.destination import (
    Call,
    Decision,
    DecisionKind,
    Destination,
    Fate,
    LaneLimits,
    Rate,
    SharedLimits,
)
from router.model.millis import DAY, HOUR, MINUTE, SECOND, Millis
from router.model.outcome import (
    KNOWN_FIRING,
    KNOWN_OVER,
    LATE,
    Broken,
    Delivered,
    Message,
    Outcome,
    Refusal,
    Rejected,
    Retry,
)
from router.model.settings import Alertmanager, Configuration, Retention, Role, Source
from router.model.telemetry_settings import SAMPLE_RATE, SentrySettings, TelemetrySettings, TracingSettings

__all__ = [
    "DAY",
    "HOUR",
    "KNOWN_FIRING",
    "KNOWN_OVER",
    "LATE",
    "MAX_INHIBITED_COUNTED",
    "MINUTE",
    "OWN_SOURCE",
    "SAMPLE_RATE",
    "SECOND",
    "AccessSettings",
    "Alert",
    "Alertmanager",
    "Broken",
    "Call",
    "Change",
    "Configuration",
    "Conversation",
    "Decision",
    "DecisionKind",
    "Delivered",
    "Destination",
    "DigestLine",
    "DigestView",
    "Fate",
    "Labels",
    "LaneLimits",
    "Message",
    "Millis",
    "Outcome",
    "Rate",
    "Refusal",
    "Rejected",
    "Retention",
    "Retry",
    "Role",
    "SentrySettings",
    "SharedLimits",
    "ShownAlert",
    "Source",
    "Status",
    "StormLine",
    "StormNews",
    "StormView",
    "TelemetrySettings",
    "TracingSettings",
    "TrustedProxy",
    "User",
    "Webhook",
    "identity_of",
]
