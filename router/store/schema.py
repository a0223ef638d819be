"""The tables as data. Times are whole milliseconds since the epoch (UTC); labels and similar values are JSON text.

They are in one file, because most of them refer to each other, and because it is where one looks a table up.

The conditions in capitals are those of partial indexes. A query with such a condition can use its index; a database does
not recognize the same condition with a parameter in place of the text.
"""

import sqlalchemy as sa

from router.core.rows import FAILED_OUTCOMES, OPEN_FATES
from router.store.columns import (
    blob,
    id_column,
    number,
    number_key,
    optional_number,
    optional_text,
    optional_time,
    partial_index,
    reference,
    text,
    text_key,
    time,
)  # fmt: skip

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = sa.Table("meta", metadata, text_key("key"), text("value"))

# How each destination is reached, with its secrets, as long as a conversation may need it. A destination that was notified
# of an alert is notified of its end, even when routes.yaml no longer names it.
destinations = sa.Table("destinations", metadata, text_key("key"), text("options"))

# The text of included files as it was last in force.
fragments = sa.Table("fragments", metadata, text_key("name"), text("text"))

# The configurations by which decisions were made.
configurations = sa.Table(
    "configurations",
    metadata,
    id_column(),  # derived from the hash
    text("sha256"),
    time("at"),  # when it came into force last
    blob("positions"),  # the position of each rule: packed JSON
)

# Bodies: accepted ones, packed; and quarantined ones, as they were received.
webhooks = sa.Table(
    "webhooks",
    metadata,
    id_column(),
    text("source"),
    time("received_at"),
    blob("body"),
    optional_text("quarantined"),  # why it can't be used; null: accepted
    optional_text("content_encoding"),  # of a quarantined body; null: not compressed
    # how many alerts it has, if it is decided in pieces and not finished; null: it is decided
    optional_number("undecided"),
    text("sender", ""),  # of an undecided webhook
    optional_time("settled_at"),  # when an operator settled a quarantined body; null: it waits for that
)
IS_QUARANTINED = webhooks.c.quarantined.is_not(None)
partial_index("ix_webhooks_quarantined", webhooks, "id", where=IS_QUARANTINED)
WAITS_IN_QUARANTINE = sa.and_(IS_QUARANTINED, webhooks.c.settled_at.is_(None))
partial_index("ix_webhooks_unsettled", webhooks, "id", where=WAITS_IN_QUARANTINE)
partial_index("ix_webhooks_unsettled_source", webhooks, "source", "id", where=WAITS_IN_QUARANTINE)
partial_index("ix_webhooks_undecided", webhooks, "id", "undecided", where=webhooks.c.undecided.is_not(None))

groups = sa.Table(
    "groups",
    metadata,
    id_column(),
    text("source"),
    text("receiver"),
    text("group_key"),
    text("labels"),
    text("external_url"),
    number("truncated"),
    sa.UniqueConstraint("source", "receiver", "group_key").ddl_if(dialect="sqlite"),
)
# A group's key may have any length, and PostgreSQL accepts at most 2.7 KB in a B-tree index. So the index is a hash.
sa.Index("ix_groups_key", groups.c.group_key, postgresql_using="hash").ddl_if(dialect="postgresql")

alerts = sa.Table(
    "alerts",
    metadata,
    id_column(),
    text("source"),
    text("identity"),  # a hash of its label set
    reference("group_id", "groups.id"),  # the group of the last webhook that reported it
    text("labels"),
    sa.Column("annotations", sa.LargeBinary, nullable=False, server_default=sa.text("''")),  # packed JSON
    text("links"),
    text("generator_url"),
    text("status"),
    text("level"),
    optional_time("starts_at"),
    optional_time("ends_at"),
    text("peer"),
    time("changed_at"),
    time("seen_at"),
    text("note", ""),  # why it counts as ended although no sender resolved it
    # why Alertmanager's answer delays its notification (silenced, inhibited); null: it does not
    optional_text("withheld"),
    optional_time("absent_at"),  # since when it is missing in Alertmanager's answers
    text("fingerprint", ""),  # the sender's, for people
    # of a self-alert: the destinations that can't be notified; null: it is a sender's alert
    optional_text("about"),
    optional_time("latest_start"),  # the latest start that was reported for its present or last firing
    # when a doubtful firing counts, which contradicts its end; null: there is none
    optional_time("doubt_until"),
    optional_text("doubt"),  # the doubtful firing, and the groups that reported it
    text("listed_by", ""),  # the URLs of the peers whose answers had it, one a line
    optional_time("fires_until"),  # when it ends, if its sender gave no status but an end
    optional_time("claimed_firing_at"),  # since when its sender repeats it as firing after its end
    optional_number("last_change_id"),
    number("arrival", "0"),  # the latest webhook that reported it
    # Its name has the former name of the column.
    sa.UniqueConstraint("source", "identity", name=sa.schema.conv("uq_alerts_source_fingerprint")),
)
# A sender's fingerprint may have any length.
sa.Index("ix_alerts_fingerprint", alerts.c.fingerprint, postgresql_using="hash")
partial_index("ix_alerts_doubt", alerts, "doubt_until", where=alerts.c.doubt_until.is_not(None))
sa.Index("ix_alerts_group", alerts.c.group_id)
IS_FIRING = alerts.c.status == sa.literal_column("'firing'")
partial_index("ix_alerts_firing", alerts, "id", where=IS_FIRING)
# For lists that begin with the most urgent level.
partial_index("ix_alerts_firing_level", alerts, "level", "id", where=IS_FIRING)
# For lists of groups that begin with the most urgent level. The start is in it for the earliest and the latest start.
partial_index("ix_alerts_firing_group", alerts, "level", "group_id", "id", "starts_at", where=IS_FIRING)
partial_index("ix_alerts_firing_source", alerts, "source", "id", where=IS_FIRING)
partial_index("ix_alerts_doubted", alerts, "source", "id", where=alerts.c.doubt_until.is_not(None))
# Self-alerts.
partial_index("ix_alerts_own", alerts, "status", where=alerts.c.about.is_not(None))
partial_index(
    "ix_alerts_contradicted", alerts, "claimed_firing_at", where=alerts.c.claimed_firing_at.is_not(None)
)
partial_index("ix_alerts_fires_until", alerts, "fires_until", where=alerts.c.fires_until.is_not(None))

# Which firing alert is a source of which inhibit rule, with which `equal` values.
inhibitors = sa.Table(
    "inhibitors",
    metadata,
    text_key("key"),
    sa.Column("alert_id", sa.BigInteger, sa.ForeignKey("alerts.id"), primary_key=True),
    number("two_sided"),
    sa.Index("ix_inhibitors_alert", "alert_id"),
)

conversations = sa.Table(
    "conversations",
    metadata,
    id_column(),
    text("destination"),
    text("source"),
    text("kind", "group"),  # group | alert | digest | storm
    text("subject"),  # of a digest or a storm; empty: the group or the alert of its token
    number("episode"),
    reference("group_id", "groups.id", nullable=True),  # null: a digest or a storm
    text("token"),  # a hash of destination, source and subject, by which the store finds it
    text("state"),  # open | closed
    number("urgency"),  # the rank of its most urgent alert
    number("priority", "2"),  # 0: critical, 1: it has ends to send, 2: all others
    number("generation"),  # the number of changes that concern it
    number("observed_generation"),  # the generation that was last delivered
    optional_time("due_at"),  # null: it has no news
    time("not_before"),  # the end of the backoff after a failed attempt
    # the later of due_at and not_before; null: it has no news, or a delivery is under way
    optional_time("next_at"),
    number("attempts"),  # failed attempts in a row
    optional_time("tried_since"),  # when the first of these attempts began
    number("partly", "0"),  # 1: only some recipients failed; news do not wait for their retry
    text("remote"),
    number("own_message", "0"),  # 1: the channel keeps a reference to a message of its own in ``remote``
    optional_time("since"),  # a digest's period: [since, slot)
    optional_time("slot"),
    time("created_at"),
    text("key", ""),  # its id at providers: the token and the database's random id at that time
    text("revision", ""),  # the id at providers of the state that was sent last
    optional_time("notified_at"),  # when the last successful delivery ended
    optional_number("delivery_id"),  # the delivery that is under way
    # How many of its members: fire; were last notified as firing; both; were last notified as ended; have a due time;
    # are ends that have a due time.
    *(number(name, "0") for name in ("firing", "known", "shown", "ended", "waiting", "ends")),
    number("size", "0"),  # how many members it has ever had
    # the undecided webhook that may have more alerts for it; null: there is none
    optional_number("deciding"),
    optional_number("storm_id"),  # the storm (a conversation) whose message covered it last
    number("shown_groups", "0"),  # of a storm: how many firing groups its message shows
    sa.UniqueConstraint("token", "episode"),
    sa.Index("ix_conversations_group", "group_id"),
)
partial_index(
    "ix_conversations_under_way", conversations, "delivery_id", where=conversations.c.delivery_id.is_not(None)
)
IS_OPEN = conversations.c.state == sa.literal_column("'open'")
# Thousands of conversations may be due at the same time, when a route opens. The id orders them within the index. The columns
# after it decide whether a storm's message covers a conversation, so that no row has to be read for that.
partial_index(
    "ix_conversations_next", conversations, "destination", "priority", "next_at", "id",
    "urgency", "storm_id", "own_message", "waiting", "ends", "due_at",
    where=conversations.c.next_at.is_not(None),
)  # fmt: skip
partial_index("ix_conversations_closing", conversations, "id", where=conversations.c.state == "closing")
partial_index(
    "ix_conversations_deciding", conversations, "deciding", where=conversations.c.deciding.is_not(None)
)
partial_index(
    "ix_conversations_of_group",
    conversations,
    "group_id",
    where=sa.and_(IS_OPEN, conversations.c.kind == "group"),
)
PUT_OFF = conversations.c.not_before > conversations.c.due_at
"""The condition of conversations that wait because an attempt failed. A storm never fulfils it, because a storm has no
``due_at``.
"""
partial_index(
    "ix_conversations_put_off",
    conversations,
    "destination",
    "next_at",
    where=sa.and_(conversations.c.next_at.is_not(None), PUT_OFF),
)
# For how much is due at a destination, and since when.
partial_index(
    "ix_conversations_due", conversations, "destination", "due_at", where=conversations.c.due_at.is_not(None)
)
# The columns after the first one are those that a storm counts about its conversations.
partial_index(
    "ix_conversations_storm", conversations, "storm_id", "own_message", "state", "urgency", "id",
    "shown", "firing", "known", "ended", "delivery_id", "next_at", "waiting", "ends",
    where=conversations.c.storm_id.is_not(None),
)  # fmt: skip
# For the destinations that were notified of an alert that still fires.
partial_index(
    "ix_conversations_known",
    conversations,
    "destination",
    where=sa.and_(IS_OPEN, conversations.c.known > 0),
)
partial_index("ix_conversations_open", conversations, "id", where=IS_OPEN)
partial_index(
    "ix_conversations_slots",
    conversations,
    "slot",
    where=sa.and_(IS_OPEN, conversations.c.slot.is_not(None)),
)

# One alert in one conversation: the decision of the rules, and what the destination was notified of.
members = sa.Table(
    "members",
    metadata,
    id_column(),
    reference("conversation_id", "conversations.id"),
    reference("alert_id", "alerts.id"),
    number("open", "1"),  # whether its conversation is open
    text("status"),  # the status of the alert: firing | resolved
    # nothing | unknown (an attempt is under way, or its answer was lost) | firing | resolved
    text("notified"),
    text("decision"),  # send | hold | digest | inhibited | drop | given_up
    optional_time("at"),  # when it is due; null: it has no news
    text("rule"),
    text("reason"),
    optional_text("inhibitor"),
    optional_time("held_since"),
    number("failover", "0"),  # 1: it is sent here because another destination failed
    optional_text(
        "muted_destination"
    ),  # the destination of its conversation, while the inhibitor mutes it there
    sa.UniqueConstraint("conversation_id", "alert_id"),
    sa.Index("ix_members_alert", "alert_id", "open"),
)
# A firing alert that the destination was not notified of.
WAITS = sa.and_(
    members.c.open == sa.literal_column("1"),
    members.c.status == sa.literal_column("'firing'"),
    members.c.notified != sa.literal_column("'firing'"),
    members.c.decision != sa.literal_column("'drop'"),
)
partial_index("ix_members_waiting", members, "id", where=WAITS)
# The columns after the first one count the alerts that a key mutes at one destination, without reading rows.
partial_index(
    "ix_members_inhibitor", members, "inhibitor", "muted_destination", "alert_id",
    where=members.c.inhibitor.is_not(None),
)  # fmt: skip
IS_HELD = sa.and_(members.c.decision == sa.literal_column("'hold'"), members.c.open == sa.literal_column("1"))
partial_index("ix_members_held", members, "at", where=IS_HELD)

# The ledger: every accepted change, and one fate for each of its destinations.
changes = sa.Table(
    "changes",
    metadata,
    id_column(),
    reference("webhook_id", "webhooks.id"),
    reference("alert_id", "alerts.id"),
    text("kind"),  # fired | resolved | repeated
    text("level"),
    time("at"),
    number("destinations"),  # how many fates it has: the other side of the ledger
    text("tenant", ""),  # empty: no tenants were configured
    sa.Index("ix_changes_alert", "alert_id", "at"),
    sa.Index("ix_changes_webhook", "webhook_id"),
)

fates = sa.Table(
    "fates",
    metadata,
    id_column(),
    reference("change_id", "changes.id"),
    text("destination"),
    reference("member_id", "members.id", nullable=True),  # null: dropped, or obsolete from the start
    text("fate"),
    text("rule"),
    text("reason"),
    number("generation"),  # the conversation's generation when the change was accepted
    time("at"),  # when the change was accepted
    time("updated_at"),
    optional_number("configuration"),  # by which its decision was made
    optional_time("decided_at"),  # null: when the change was accepted
    optional_text("decision"),  # the fate that its decision gave it; null: written by a former version
    optional_text("because"),  # the reason of that decision
    # when it was or will be due; null: it is not; 0: it was given up before and is not counted again
    optional_time("due_at"),
    number("urgency", "0"),  # the rank of the change's level
    text("tenant", ""),  # of the change
    sa.CheckConstraint(
        "fate IN ('pending','held','inhibited','digest','delivered','obsolete','dropped','dead')",
        name="one_fate",
    ),
    sa.Index("ix_fates_change", "change_id"),
    sa.Index("ix_fates_member", "member_id"),
)
partial_index("ix_fates_dead_member", fates, "member_id", where=fates.c.fate == "dead")
partial_index("ix_fates_open", fates, "member_id", where=fates.c.fate.in_(OPEN_FATES))
IS_OBSOLETE = fates.c.fate == sa.literal_column("'obsolete'")
partial_index("ix_fates_obsolete", fates, "updated_at", where=IS_OBSOLETE)

# The former states of fates that were decided again.
former_fates = sa.Table(
    "former_fates",
    metadata,
    id_column(),
    reference("fate_id", "fates.id"),
    time("at"),  # since when
    text("fate"),
    text("rule"),
    text("reason"),
    optional_number("configuration"),
    sa.Index("ix_former_fates_fate", "fate_id"),
)

# Dead letters: what was given up, until an operator settles it. A conversation has one open dead letter, or one for each of
# its recipients.
dead_letters = sa.Table(
    "dead_letters",
    metadata,
    id_column(),
    reference("conversation_id", "conversations.id"),
    text("destination"),
    time("at"),  # when it was last given up
    text("reason"),
    text("state"),  # dead | retried | discarded
    optional_time("settled_at"),
    # [{member, status, notified}]: the status that was not sent, and the one that was sent before
    text("notices"),
    text("recipient", ""),  # the only recipient that was not notified; empty: no recipient was
    number("urgency", "0"),  # the rank of the most urgent alert of its conversation
    sa.Index("ix_dead_letters_conversation", "conversation_id"),
)
IS_UNSETTLED = dead_letters.c.state == sa.literal_column("'dead'")
# For lists that begin with the most urgent dead letters, of all destinations or of one.
partial_index("ix_dead_letters_dead", dead_letters, "urgency", "id", where=IS_UNSETTLED)
partial_index(
    "ix_dead_letters_dead_destination", dead_letters, "destination", "urgency", "id", where=IS_UNSETTLED
)

# Destinations at which no delivery has succeeded since an attempt failed.
troubles = sa.Table(
    "troubles",
    metadata,
    text_key("destination"),
    time("since"),  # the first attempt that failed
    text("cause"),  # the same for all destinations that fail for the same cause
    text("reason"),
    number("gave_up"),  # whether a delivery was given up since then
    number("broken"),  # whether an operator has to repair it
)

# The append-only log of attempts.
deliveries = sa.Table(
    "deliveries",
    metadata,
    id_column(),
    reference("conversation_id", "conversations.id"),
    text("destination"),
    number("generation"),
    number("attempt"),
    time("started_at"),
    optional_time("finished_at"),
    optional_text("outcome"),  # null: under way; interrupted: the process ended before the answer
    text("reason", ""),
    text("words", ""),  # the provider's answer, for people
    text("replica", ""),  # the session of the replica that made it; empty: made by a version without replicas
    sa.Index("ix_deliveries_conversation", "conversation_id"),
    sa.Index("ix_deliveries_destination", "destination", "id"),
)
HAS_FAILED = deliveries.c.outcome.in_([sa.literal_column(f"'{each}'") for each in FAILED_OUTCOMES])
# For lists of failed deliveries, of all destinations or of one.
partial_index("ix_deliveries_failed", deliveries, "outcome", "id", where=HAS_FAILED)
partial_index(
    "ix_deliveries_failed_destination", deliveries, "destination", "outcome", "id", where=HAS_FAILED
)
partial_index("ix_deliveries_under_way", deliveries, "id", where=deliveries.c.outcome.is_(None))

# How many rows there are, including pruned ones. A counter changes in the same transaction as the rows. See counters.py.
counters = sa.Table(
    "counters",
    metadata,
    text_key("what"),
    text_key("destination"),  # empty: of no destination
    text_key("value"),
    number("count"),
)

# The messages that deliveries sent, packed.
messages = sa.Table(
    "messages",
    metadata,
    id_column("deliveries.id"),
    blob("body"),
)

# The dictionaries that bodies and messages were packed with.
dictionaries = sa.Table(
    "dictionaries",
    metadata,
    id_column(),
    time("at"),
    blob("words"),
)

# The label index: a hash of each label, and an alert that has it.
alert_labels = sa.Table(
    "alert_labels",
    metadata,
    number_key("label"),
    number_key("alert_id"),
    sqlite_with_rowid=False,
)

# The sums of pruned rows. A day is stored as its midnight in UTC (epoch ms). A fate counts on the day when its change was
# accepted.
fate_sums = sa.Table(
    "fate_sums",
    metadata,
    number_key("day"),
    text_key("destination"),
    text_key("kind"),
    text_key("fate"),
    text_key("tenant"),  # empty: no tenants were configured
    number("count"),
)
delivery_sums = sa.Table(
    "delivery_sums",
    metadata,
    number_key("day"),
    text_key("destination"),
    text_key("outcome"),
    number("count"),
)
day_sums = sa.Table(
    "day_sums",
    metadata,
    number_key("day"),
    # webhooks: accepted | quarantined; changes: fired | resolved | repeated; destinations: of these changes;
    # due and delivered: fates of these changes that objectives count as good
    text_key("what"),
    text_key("tenant"),  # empty: of webhooks, or no tenants were configured
    number("count"),
)

# How many deliveries ended in each hour. An hour is stored as its first moment (epoch ms); 0: all hours that are no longer
# kept. See delivery_hours.py.
delivery_hours = sa.Table(
    "delivery_hours",
    metadata,
    number_key("hour"),
    text_key("destination"),
    text_key("outcome"),
    number("count"),
)

# The good and bad events of objectives in each hour. An hour is stored as its first moment (epoch ms); 0: all hours that are
# no longer kept. See objective_hours.py.
objective_hours = sa.Table(
    "objective_hours",
    metadata,
    number_key("hour"),
    text_key("tenant"),  # empty: of webhooks, or no tenants were configured
    text_key("objective"),
    number("good"),
    number("bad"),
)

# The log of actions: who did what, on a page, with a command or through the API.
actions = sa.Table(
    "actions",
    metadata,
    id_column(),
    time("at"),
    text("actor"),
    text("via"),  # how the actor was recognized
    text("action"),
    text("target"),  # what it acted on; empty: nothing in particular
    optional_text("outcome"),  # done | refused | failed; null: it has not ended, or its end was not recorded
    text("reason", ""),
    optional_time("ended_at"),
)

# The history of routes.yaml: each load that put other files in force, and each that failed for another reason than the one before.
loads = sa.Table(
    "loads",
    metadata,
    id_column(),
    time("at"),
    text("actor"),  # who asked for it: a user, a signal, a changed file, or the start
    text("sha256"),  # of the files; empty: they could not be read
    text("error", ""),  # empty: they came into force
    blob("files"),  # packed JSON: [{name, text, size}], secrets masked; of a failed load empty
    sa.Index("ix_loads_sha256", "sha256"),
)

# The replicas that run, and what each of them may do. Their times are the database's. See replicas.py.
replicas = sa.Table(
    "replicas",
    metadata,
    text_key("id"),  # random, new at each start
    text("name"),
    text("version"),
    text("process"),  # which process of which machine it is, see router/replicas/process_mark.py
    time("started_at"),
    time("renewed_at"),
    time("expires_at"),
    text("rules", ""),  # the fingerprint of the rules that it judges by; empty: it has not loaded any yet
    text("sha256", ""),  # of the files of these rules
    number("takes_leases", "0"),  # 1: it takes leases; 0: it starts or stops
)
# The last batch of each process that writes to a database that others share, so that it can be found out whether a commit
# without an answer succeeded.
writers = sa.Table(
    "writers",
    metadata,
    text_key("id"),  # random, new at each start
    number("batch"),  # grows with each batch
    time("at"),
)
leases = sa.Table(
    "leases",
    metadata,
    text_key("name"),
    optional_text("replica"),  # the replica that holds it; null: nobody does
    number("fence"),  # grows with each grant
    time("since"),  # when it was granted or given up last
    text("passed_on", ""),  # how it left its last holder: released | expired; empty: it had none
)

# The state of each lane as its holder published it last, for all replicas and for the next holder. See stored_lanes.py.
lanes = sa.Table(
    "lanes",
    metadata,
    text_key("name"),  # the key of the destination; or the name of a lease, for what its lanes share
    text("replica"),  # which replica published it
    text("state"),  # JSON
    time("at"),
)

# What people ask of lanes. The holder of the lane's lease answers.
lane_requests = sa.Table(
    "lane_requests",
    metadata,
    id_column(),
    time("at"),
    text("destination"),
    text("action"),  # pause | resume
    text("actor"),
    optional_text("answer"),  # JSON; empty: closed without an answer; null: the holder has not answered yet
    optional_time("answered_at"),
)
partial_index("ix_lane_requests_open", lane_requests, "id", where=lane_requests.c.answer.is_(None))
