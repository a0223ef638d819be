"""The tables. Times are whole milliseconds since the epoch (UTC); labels and the like are JSON text."""

import sqlalchemy as sa

from router.core.rows import OPEN_FATES

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


# Texts are compared by bytes, not by the collation of a language. So an index stays valid when an upgrade of the server's
# operating system changes collations.
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _id() -> sa.Column[int]:
    # The router numbers all rows itself. In SQLite a key of this type is the rowid.
    return sa.Column(
        "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False
    )


def _ref(name: str, target: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, sa.ForeignKey(target), nullable=nullable)


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=False, server_default=default)


def _number(name: str, default: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default=default)


def _time(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


meta = sa.Table("meta", metadata, sa.Column("key", _TEXT, primary_key=True), _text("value"))

# How each destination is reached, with its secrets, as long as a conversation may need it. A destination that was notified
# of an alert is notified of its end, even when routes.yaml no longer names it.
destinations = sa.Table("destinations", metadata, sa.Column("key", _TEXT, primary_key=True), _text("options"))

# The text of included files as it was last in force.
fragments = sa.Table("fragments", metadata, sa.Column("name", _TEXT, primary_key=True), _text("text"))

# The configurations by which decisions were made.
configurations = sa.Table(
    "configurations",
    metadata,
    _id(),  # derived from the hash
    _text("sha256"),
    _time("at"),  # when it came into force last
    sa.Column("positions", sa.LargeBinary, nullable=False),  # the position of each rule: packed JSON
)

# Bodies: accepted ones, packed; and quarantined ones, as they were received.
webhooks = sa.Table(
    "webhooks",
    metadata,
    _id(),
    _text("source"),
    _time("received_at"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("quarantined", _TEXT),  # why it can't be used; null: accepted
    sa.Column("content_encoding", _TEXT),  # of a quarantined body; null: not compressed
    sa.Column(
        "undecided", sa.BigInteger
    ),  # how many alerts it has, if it is decided in pieces and not finished; null: it is decided
    _text("sender", ""),  # of an undecided webhook
)
sa.Index("ix_webhooks_quarantined", webhooks.c.id, sqlite_where=webhooks.c.quarantined.is_not(None),
         postgresql_where=webhooks.c.quarantined.is_not(None))  # fmt: skip
sa.Index("ix_webhooks_undecided", webhooks.c.id, sqlite_where=webhooks.c.undecided.is_not(None),
         postgresql_where=webhooks.c.undecided.is_not(None))  # fmt: skip

groups = sa.Table(
    "groups",
    metadata,
    _id(),
    _text("source"),
    _text("receiver"),
    _text("group_key"),
    _text("labels"),
    _text("external_url"),
    _number("truncated"),
    sa.UniqueConstraint("source", "receiver", "group_key").ddl_if(dialect="sqlite"),
)
# A group's key may have any length, and PostgreSQL accepts at most 2.7 KB in a B-tree index. So the index is a hash.
sa.Index("ix_groups_key", groups.c.group_key, postgresql_using="hash").ddl_if(dialect="postgresql")

alerts = sa.Table(
    "alerts",
    metadata,
    _id(),
    _text("source"),
    _text("identity"),  # a hash of its label set
    _ref("group_id", "groups.id"),  # the group of the last webhook that reported it
    _text("labels"),
    sa.Column("annotations", sa.LargeBinary, nullable=False, server_default=sa.text("''")),  # packed JSON
    _text("links"),
    _text("generator_url"),
    _text("status"),
    _text("level"),
    _time("starts_at", nullable=True),
    _time("ends_at", nullable=True),
    _text("peer"),
    _time("changed_at"),
    _time("seen_at"),
    _text("note", ""),  # why it counts as ended although no sender resolved it
    sa.Column(
        "withheld", _TEXT
    ),  # why Alertmanager's answer delays its notification (silenced, inhibited); null: it does not
    _time("absent_at", nullable=True),  # since when it is missing in Alertmanager's answers
    _text("fingerprint", ""),  # the sender's, for people
    sa.Column(
        "about", _TEXT
    ),  # of a self-alert: the destinations that can't be notified; null: it is a sender's alert
    _time("latest_start", nullable=True),  # the latest start that was reported in its episode
    _time(
        "doubt_until", nullable=True
    ),  # when a doubtful firing counts, which contradicts its end; null: there is none
    sa.Column("doubt", _TEXT),  # the doubtful firing, and the groups that reported it
    _text("listed_by", ""),  # the URLs of the peers whose answers had it, one a line
    _time("fires_until", nullable=True),  # when it ends, if its sender gave no status but an end
    _time("claimed_firing_at", nullable=True),  # since when its sender repeats it as firing after its end
    _time("last_change_id", nullable=True),
    _number("arrival", "0"),  # the latest webhook that reported it
    # Its name has the former name of the column.
    sa.UniqueConstraint("source", "identity", name=sa.schema.conv("uq_alerts_source_fingerprint")),
)
sa.Index(
    "ix_alerts_fingerprint", alerts.c.fingerprint, postgresql_using="hash"
)  # the sender may give any length
sa.Index("ix_alerts_doubt", alerts.c.doubt_until, sqlite_where=alerts.c.doubt_until.is_not(None),
         postgresql_where=alerts.c.doubt_until.is_not(None))  # fmt: skip
sa.Index("ix_alerts_group", alerts.c.group_id)
sa.Index("ix_alerts_firing", alerts.c.id, sqlite_where=alerts.c.status == "firing",
         postgresql_where=alerts.c.status == "firing")  # fmt: skip
sa.Index("ix_alerts_firing_source", alerts.c.source, alerts.c.id, sqlite_where=alerts.c.status == "firing",
         postgresql_where=alerts.c.status == "firing")  # fmt: skip
sa.Index("ix_alerts_doubted", alerts.c.source, alerts.c.id, sqlite_where=alerts.c.doubt_until.is_not(None),
         postgresql_where=alerts.c.doubt_until.is_not(None))  # fmt: skip
# Self-alerts.
sa.Index("ix_alerts_own", alerts.c.status, sqlite_where=alerts.c.about.is_not(None),
         postgresql_where=alerts.c.about.is_not(None))  # fmt: skip
sa.Index("ix_alerts_contradicted", alerts.c.claimed_firing_at, sqlite_where=alerts.c.claimed_firing_at.is_not(None),
         postgresql_where=alerts.c.claimed_firing_at.is_not(None))  # fmt: skip
sa.Index("ix_alerts_fires_until", alerts.c.fires_until, sqlite_where=alerts.c.fires_until.is_not(None),
         postgresql_where=alerts.c.fires_until.is_not(None))  # fmt: skip

# Which firing alert is a source of which inhibit rule, with which `equal` values.
inhibitors = sa.Table(
    "inhibitors",
    metadata,
    sa.Column("key", _TEXT, primary_key=True),
    sa.Column("alert_id", sa.BigInteger, sa.ForeignKey("alerts.id"), primary_key=True),
    _number("two_sided"),
    sa.Index("ix_inhibitors_alert", "alert_id"),
)

conversations = sa.Table(
    "conversations",
    metadata,
    _id(),
    _text("destination"),
    _text("source"),
    _text("kind", "group"),  # group | alert | digest | storm
    _text("subject"),  # of a digest or a storm; empty: the group or the alert of its token
    _number("episode"),
    _ref("group_id", "groups.id", nullable=True),  # null: a digest or a storm
    _text("token"),  # a hash of destination, source and subject, by which the store finds it
    _text("state"),  # open | closed
    _number("urgency"),  # the rank of its most urgent alert
    _number("priority", "2"),  # 0: critical, 1: it has ends to send, 2: all others
    _number("generation"),  # the number of changes that concern it
    _number("observed_generation"),  # the generation that was last delivered
    _time("due_at", nullable=True),  # null: it has no news
    _time("not_before"),  # the end of the backoff after a failed attempt
    _time(
        "next_at", nullable=True
    ),  # the later of due_at and not_before; null: it has no news, or a delivery is under way
    _number("attempts"),  # failed attempts in a row
    _time("tried_since", nullable=True),  # when the first of these attempts began
    _number("partly", "0"),  # 1: only some recipients failed; news do not wait for their retry
    _text("remote"),
    _number("own_message", "0"),  # 1: the channel keeps a reference to a message of its own in ``remote``
    _time("since", nullable=True),  # a digest's period: [since, slot)
    _time("slot", nullable=True),
    _time("created_at"),
    _text("key", ""),  # its id at providers: the token and the database's random id at that time
    _text("revision", ""),  # the id at providers of the state that was sent last
    _time("notified_at", nullable=True),  # when the last successful delivery ended
    _time("delivery_id", nullable=True),  # the delivery that is under way
    # How many of its members: fire; were last notified as firing; both; were last notified as ended; have a due time;
    # are ends that have a due time.
    *(_number(name, "0") for name in ("firing", "known", "shown", "ended", "waiting", "ends")),
    _number("size", "0"),  # how many members it has ever had
    _time(
        "deciding", nullable=True
    ),  # the undecided webhook that may have more alerts for it; null: there is none
    _time("storm_id", nullable=True),  # the storm (a conversation) whose message covered it last
    _number("shown_groups", "0"),  # of a storm: how many firing groups its message shows
    sa.UniqueConstraint("token", "episode"),
    sa.Index("ix_conversations_group", "group_id"),
)
# Thousands of conversations may be due at the same time, when a route opens. The id orders them within the index. The columns
# after it decide whether a storm's message covers a conversation, so that no row has to be read for that.
sa.Index("ix_conversations_next", conversations.c.destination, conversations.c.priority, conversations.c.next_at,
         conversations.c.id, conversations.c.urgency, conversations.c.storm_id, conversations.c.own_message,
         conversations.c.waiting, conversations.c.ends, conversations.c.due_at,
         sqlite_where=conversations.c.next_at.is_not(None),
         postgresql_where=conversations.c.next_at.is_not(None))  # fmt: skip
sa.Index("ix_conversations_closing", conversations.c.id, sqlite_where=conversations.c.state == "closing",
         postgresql_where=conversations.c.state == "closing")  # fmt: skip
sa.Index("ix_conversations_deciding", conversations.c.deciding, sqlite_where=conversations.c.deciding.is_not(None),
         postgresql_where=conversations.c.deciding.is_not(None))  # fmt: skip
sa.Index("ix_conversations_of_group", conversations.c.group_id,
         sqlite_where=sa.and_(conversations.c.state == "open", conversations.c.kind == "group"),
         postgresql_where=sa.and_(conversations.c.state == "open", conversations.c.kind == "group"))  # fmt: skip
PUT_OFF = conversations.c.not_before > conversations.c.due_at
"""An attempt failed, and the next one waits. A storm never fulfils this, because it has no ``due_at``."""
sa.Index("ix_conversations_put_off", conversations.c.destination, conversations.c.next_at,
         sqlite_where=sa.and_(conversations.c.next_at.is_not(None), PUT_OFF),
         postgresql_where=sa.and_(conversations.c.next_at.is_not(None), PUT_OFF))  # fmt: skip
# For how much is due at a destination, and since when.
sa.Index("ix_conversations_due", conversations.c.destination, conversations.c.due_at,
         sqlite_where=conversations.c.due_at.is_not(None), postgresql_where=conversations.c.due_at.is_not(None))  # fmt: skip
# The columns after the first one are those that a storm counts about its conversations.
sa.Index("ix_conversations_storm", conversations.c.storm_id, conversations.c.own_message, conversations.c.state,
         conversations.c.urgency, conversations.c.id, conversations.c.shown, conversations.c.firing,
         conversations.c.known, conversations.c.ended, conversations.c.delivery_id, conversations.c.next_at,
         conversations.c.waiting, conversations.c.ends,
         sqlite_where=conversations.c.storm_id.is_not(None),
         postgresql_where=conversations.c.storm_id.is_not(None))  # fmt: skip
# For the destinations that were notified of an alert that still fires.
sa.Index("ix_conversations_known", conversations.c.destination,
         sqlite_where=sa.and_(conversations.c.state == "open", conversations.c.known > 0),
         postgresql_where=sa.and_(conversations.c.state == "open", conversations.c.known > 0))  # fmt: skip
sa.Index("ix_conversations_open", conversations.c.id, sqlite_where=conversations.c.state == "open",
         postgresql_where=conversations.c.state == "open")  # fmt: skip
sa.Index("ix_conversations_slots", conversations.c.slot,
         sqlite_where=sa.and_(conversations.c.state == "open", conversations.c.slot.is_not(None)),
         postgresql_where=sa.and_(conversations.c.state == "open", conversations.c.slot.is_not(None)))  # fmt: skip

# One alert in one conversation: the decision of the rules, and what the destination was notified of.
members = sa.Table(
    "members",
    metadata,
    _id(),
    _ref("conversation_id", "conversations.id"),
    _ref("alert_id", "alerts.id"),
    _number("open", "1"),  # whether its conversation is open
    _text("status"),  # the status of the alert: firing | resolved
    _text(
        "notified"
    ),  # nothing | unknown (an attempt is under way, or its answer was lost) | firing | resolved
    _text("decision"),  # send | hold | digest | inhibited | drop | given_up
    _time("at", nullable=True),  # when it is due; null: it has no news
    _text("rule"),
    _text("reason"),
    sa.Column("inhibitor", _TEXT),
    _time("held_since", nullable=True),
    _number("failover", "0"),  # 1: it is sent here because another destination failed
    sa.UniqueConstraint("conversation_id", "alert_id"),
    sa.Index("ix_members_alert", "alert_id", "open"),
)
# A firing alert that the destination was not notified of. Queries use this expression, so that they match the index.
WAITS = sa.and_(
    members.c.open == sa.literal_column("1"),
    members.c.status == sa.literal_column("'firing'"),
    members.c.notified != sa.literal_column("'firing'"),
    members.c.decision != sa.literal_column("'drop'"),
)
sa.Index("ix_members_waiting", members.c.id, sqlite_where=WAITS, postgresql_where=WAITS)
sa.Index("ix_members_inhibitor", members.c.inhibitor, sqlite_where=members.c.inhibitor.is_not(None),
         postgresql_where=members.c.inhibitor.is_not(None))  # fmt: skip

# The ledger: every accepted change, and one fate for each of its destinations.
changes = sa.Table(
    "changes",
    metadata,
    _id(),
    _ref("webhook_id", "webhooks.id"),
    _ref("alert_id", "alerts.id"),
    _text("kind"),  # fired | resolved | repeated
    _text("level"),
    _time("at"),
    _number("destinations"),  # how many fates it has: the other side of the ledger
    sa.Index("ix_changes_alert", "alert_id", "at"),
    sa.Index("ix_changes_webhook", "webhook_id"),
)

fates = sa.Table(
    "fates",
    metadata,
    _id(),
    _ref("change_id", "changes.id"),
    _text("destination"),
    _ref("member_id", "members.id", nullable=True),  # null: dropped, or obsolete from the start
    _text("fate"),
    _text("rule"),
    _text("reason"),
    _number("generation"),  # the conversation's generation when the change was accepted
    _time("at"),  # when the change was accepted
    _time("updated_at"),
    sa.Column("configuration", sa.BigInteger),  # by which its decision was made
    _time("decided_at", nullable=True),  # null: when the change was accepted
    sa.Column("decision", _TEXT),  # the fate that its decision gave it; null: written by a former version
    sa.Column("because", _TEXT),  # the reason of that decision
    sa.CheckConstraint(
        "fate IN ('pending','held','inhibited','digest','delivered','obsolete','dropped','dead')",
        name="one_fate",
    ),
    sa.Index("ix_fates_change", "change_id"),
    sa.Index("ix_fates_member", "member_id"),
)
sa.Index("ix_members_held", members.c.at,
         sqlite_where=sa.and_(members.c.decision == "hold", members.c.open == 1),
         postgresql_where=sa.and_(members.c.decision == "hold", members.c.open == 1))  # fmt: skip
sa.Index("ix_fates_dead_member", fates.c.member_id, sqlite_where=fates.c.fate == "dead",
         postgresql_where=fates.c.fate == "dead")  # fmt: skip
sa.Index("ix_fates_open", fates.c.member_id, sqlite_where=fates.c.fate.in_(OPEN_FATES),
         postgresql_where=fates.c.fate.in_(OPEN_FATES))  # fmt: skip
sa.Index("ix_fates_obsolete", fates.c.updated_at, sqlite_where=fates.c.fate == "obsolete",
         postgresql_where=fates.c.fate == "obsolete")  # fmt: skip

# The former states of fates that were decided again.
former_fates = sa.Table(
    "former_fates",
    metadata,
    _id(),
    _ref("fate_id", "fates.id"),
    _time("at"),  # since when
    _text("fate"),
    _text("rule"),
    _text("reason"),
    sa.Column("configuration", sa.BigInteger),
    sa.Index("ix_former_fates_fate", "fate_id"),
)

# Dead letters: what was given up, until an operator settles it. A conversation has one open dead letter, or one for each of
# its recipients.
dead_letters = sa.Table(
    "dead_letters",
    metadata,
    _id(),
    _ref("conversation_id", "conversations.id"),
    _text("destination"),
    _time("at"),  # when it was last given up
    _text("reason"),
    _text("state"),  # dead | retried | discarded
    _time("settled_at", nullable=True),
    _text(
        "notices"
    ),  # [{member, status, notified}]: the status that was not sent, and the one that was sent before
    _text("recipient", ""),  # the only recipient that was not notified; empty: no recipient was
    sa.Index("ix_dead_letters_conversation", "conversation_id"),
)
sa.Index("ix_dead_letters_dead", dead_letters.c.id, sqlite_where=dead_letters.c.state == "dead",
         postgresql_where=dead_letters.c.state == "dead")  # fmt: skip

# Destinations at which no delivery has succeeded since an attempt failed.
troubles = sa.Table(
    "troubles",
    metadata,
    sa.Column("destination", _TEXT, primary_key=True),
    _time("since"),  # the first attempt that failed
    _text("cause"),  # the same for all destinations that fail for the same cause
    _text("reason"),
    _number("gave_up"),  # whether a delivery was given up since then
    _number("broken"),  # whether an operator has to repair it
)

# The append-only log of attempts.
deliveries = sa.Table(
    "deliveries",
    metadata,
    _id(),
    _ref("conversation_id", "conversations.id"),
    _text("destination"),
    _number("generation"),
    _number("attempt"),
    _time("started_at"),
    _time("finished_at", nullable=True),
    sa.Column("outcome", _TEXT),  # null: under way; interrupted: the process ended before the answer
    _text("reason", ""),
    _text("words", ""),  # the provider's answer, for people
    sa.Index("ix_deliveries_conversation", "conversation_id"),
)
sa.Index("ix_deliveries_under_way", deliveries.c.id, sqlite_where=deliveries.c.outcome.is_(None),
         postgresql_where=deliveries.c.outcome.is_(None))  # fmt: skip

# How many rows there are, including pruned ones. A counter changes in the same transaction as the rows. See counters.py.
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("what", _TEXT, primary_key=True),
    sa.Column("destination", _TEXT, primary_key=True),  # empty: of no destination
    sa.Column("value", _TEXT, primary_key=True),
    _number("count"),
)

# The messages that deliveries sent, packed.
messages = sa.Table(
    "messages",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        sa.ForeignKey("deliveries.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

# The dictionaries that bodies and messages were packed with.
dictionaries = sa.Table(
    "dictionaries",
    metadata,
    _id(),
    _time("at"),
    sa.Column("words", sa.LargeBinary, nullable=False),
)

# The label index: a hash of each label, and an alert that has it.
alert_labels = sa.Table(
    "alert_labels",
    metadata,
    sa.Column("label", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("alert_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# The sums of pruned rows. A day is stored as its midnight in UTC (epoch ms). A fate counts on the day when its change was
# accepted.
fate_sums = sa.Table(
    "fate_sums",
    metadata,
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("destination", _TEXT, primary_key=True),
    sa.Column("kind", _TEXT, primary_key=True),
    sa.Column("fate", _TEXT, primary_key=True),
    _number("count"),
)
delivery_sums = sa.Table(
    "delivery_sums",
    metadata,
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("destination", _TEXT, primary_key=True),
    sa.Column("outcome", _TEXT, primary_key=True),
    _number("count"),
)
day_sums = sa.Table(
    "day_sums",
    metadata,
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
    # webhooks: accepted | quarantined; changes: fired | resolved | repeated; destinations: of these changes
    sa.Column("what", _TEXT, primary_key=True),
    _number("count"),
)
