"""The state table of a member (one alert in one conversation). Tests compare the transitions with it, cell by cell.

The state of a member is in four columns:

- ``decision``: what the rules say. ``send`` now, ``hold`` until an opening, ``digest``, ``inhibited`` by another alert,
  ``drop``; ``given_up``: there is a dead letter.
- ``notified``: what the destination was notified of. ``unknown``: an attempt is under way, or its answer was lost.
- ``status``: whether the alert fires or is resolved.
- ``due``: when the member is to be sent. ``none``: it is not due; ``now``: its time has come; ``later``: its time is in
  the future.

The first row that matches an event applies. The columns to the left of the double bar show the state before the event:

- ``*`` is any value; ``a, b`` is one of these.
- ``knew`` is what the destination was notified of before the attempt, or before the dead letter.

The columns to the right show the state after the event:

- ``=`` is the value before; ``judged`` is what the rules say now, and the time that they give; ``earlier`` is the
  earlier one of both times; ``knew`` is the value of that column; ``sent`` is the status that the attempt sent.
- ``change`` is the fate of the reported change.
- ``fates`` is what the open fates of the member become. ``since`` is the same for fates that were added during the
  attempt. Where a dead letter is settled, ``fates`` is what the dead fates become, and ``since`` the open ones.

The events:

- ``fires``: the rules judge a firing alert that a change reports. ``repeats``: the same, and repeats are sent again.
  ``judged``: the rules judge a firing alert without a change, because an inhibitor ended, an hour came, or the rules
  changed. ``fires: drop``: the same as ``fires``, if the rules decide ``drop``.
- ``resolves``: a change reports the end. ``resolves: given up``: the same, and an end is in an unsettled dead letter.
  ``unrouted``: the rules do not name the destination any more.
- ``claimed``: an attempt begins, and the rules would send the alert.
- ``delivered``, ``failed`` (for certain), ``in doubt`` (the answer was lost), ``given up``: how the attempt ends.
  ``delivered late``, ``given up late``: the same, and the status of the alert has changed since the attempt began.
- ``again: firing``, ``again: end``: a dead letter of this status is retried. ``again: recipient``: a dead letter of a
  single recipient is retried. ``discarded``: a dead letter is discarded.
- ``shown whole``: Alertmanager shows a group without leaving alerts out, and nothing of it fires.

Two cases are not in the table, because they depend on more than the member. A failover destination that the rules do not
name keeps its member. A retried dead letter is obsolete if its conversation is over, and dropped if its destination is
gone.
"""

MESSAGE_CELLS = """
| event | decision | notified | status | due | knew || decision | notified | status | due | change | fates | since |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
| fires, repeats, judged | * | firing | resolved | * | * || = | = | firing | none | delivered | obsolete | obsolete |
| repeats | * | firing | firing | * | * || = | = | = | now | pending | = | = |
| fires | * | firing | firing | * | * || = | = | = | = | delivered | = | = |
| fires, repeats, judged | * | unknown | resolved | * | * || send | = | firing | now | pending | = | = |
| fires, repeats | given_up | unknown | firing | * | * || send | = | = | now | pending | = | = |
| fires, repeats | * | unknown | firing | * | * || = | = | = | = | pending | = | = |
| judged | * | firing, unknown | firing | * | * || = | = | = | = | | = | = |
| judged | given_up | nothing, resolved | * | * | * || = | = | = | = | | = | = |
| fires: send, repeats: send, judged: send | send, hold | nothing, resolved | firing | * | * || send | = | = | earlier | pending | pending | pending |
| fires, repeats, judged | * | nothing, resolved | * | * | * || judged | = | firing | judged | judged | judged | judged |
| resolves | * | firing, unknown | firing | * | * || = | = | resolved | now | pending | = | = |
| resolves | * | firing, unknown | resolved | * | * || = | = | = | = | pending | = | = |
| resolves: given up | given_up | resolved | resolved | * | * || send | unknown | = | now | pending | = | = |
| resolves | * | resolved | resolved | * | * || = | = | = | = | delivered | = | = |
| resolves | * | nothing, resolved | * | * | * || = | = | resolved | none | obsolete | obsolete | obsolete |
| unrouted | send, hold, inhibited | nothing, resolved | firing | * | * || drop | = | = | none | | dropped | dropped |
| unrouted | * | * | * | * | * || = | = | = | = | | = | = |
| claimed | * | nothing, resolved | firing | now | * || send | unknown | = | = | | pending | pending |
| claimed | * | firing, unknown | * | now | * || = | unknown | = | = | | = | = |
| claimed | * | * | * | none, later | * || = | = | = | = | | = | = |
| delivered | * | unknown | * | * | * || = | sent | = | none | | delivered | delivered |
| delivered late | * | unknown | * | * | * || = | sent | = | now | | delivered | = |
| failed | * | unknown | resolved | * | nothing, resolved || = | knew | = | none | | obsolete | obsolete |
| failed | * | unknown | * | * | * || = | knew | = | = | | = | = |
| in doubt | * | unknown | * | * | * || = | = | = | = | | = | = |
| given up | * | unknown | firing | * | * || given_up | knew | = | none | | dead | dead |
| given up | * | unknown | resolved | * | * || given_up | resolved | = | none | | dead | dead |
| given up late | * | unknown | firing | * | * || = | resolved | = | now | | dead | = |
| given up late | * | unknown | resolved | * | nothing, resolved || given_up | knew | = | none | | dead | obsolete |
| given up late | * | unknown | resolved | * | * || = | knew | = | now | | dead | = |
| again: firing | * | firing | firing | * | * || = | = | = | = | | delivered | = |
| again: firing | * | unknown | firing | * | * || send | = | = | now | | pending | = |
| again: firing | * | nothing, resolved | firing | * | * || send | knew | = | now | | pending | = |
| again: end | inhibited | resolved | firing | * | firing || send | knew | = | none | | obsolete | delivered |
| again: end | inhibited | resolved | firing | * | unknown || send | knew | = | now | | obsolete | pending |
| again: end | * | resolved | firing | * | firing, unknown || = | knew | = | = | | obsolete | = |
| again: firing, again: end | * | resolved | resolved | * | firing, unknown || send | knew | = | now | | pending | = |
| again: firing, again: end | * | * | * | * | * || = | = | = | = | | obsolete | = |
| again: recipient | * | firing | firing | * | * || = | = | = | now | | = | = |
| again: recipient | * | * | * | * | * || = | = | = | = | | = | = |
| discarded | * | * | * | * | * || = | = | = | = | | dropped | = |
| shown whole | * | resolved | resolved | * | * || = | unknown | = | now | | = | = |
"""
"""A member of a conversation about a group or about a single alert."""

WITHOUT_ENDS = """
| event | decision | notified | status | due | knew || decision | notified | status | due | change | fates | since |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
| resolves: under way | * | unknown | firing | * | * || = | = | resolved | now | dropped | = | = |
| resolves: under way | * | unknown | resolved | * | * || = | = | = | = | dropped | = | = |
| resolves | * | firing, unknown | * | * | * || = | resolved | resolved | none | dropped | obsolete | obsolete |
| resolves | * | resolved | resolved | * | * || = | = | = | = | dropped | = | = |
| claimed | * | firing, unknown | resolved | now | * || = | resolved | = | none | | obsolete | obsolete |
| delivered late | * | unknown | resolved | * | * || = | resolved | = | none | | delivered | delivered |
| failed | * | unknown | resolved | * | firing, unknown || = | resolved | = | none | | obsolete | obsolete |
| in doubt | * | unknown | resolved | * | * || = | resolved | = | none | | obsolete | obsolete |
| given up late | * | unknown | resolved | * | firing, unknown || given_up | resolved | = | none | | dead | obsolete |
| again: firing | * | resolved | resolved | * | firing, unknown || = | = | = | = | | obsolete | = |
| again: end | * | * | resolved | * | * || = | = | = | = | | dropped | = |
| shown whole | * | resolved | resolved | * | * || = | = | = | = | | = | = |
"""
"""The same at a destination with ``send_resolved: false``: no message is sent for an end alone. These rows come before
those of :data:`MESSAGE_CELLS`. The open fates of ends become ``dropped``; ``fates`` and ``since`` show what those of firings
become. Before a ``resolves: under way`` an attempt began; otherwise none is under way.
"""

DIGEST_CELLS = """
| event | decision | notified | status | due | knew || decision | notified | status | due | change | fates | since |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
| fires: drop, repeats: drop | * | * | * | * | * || = | = | = | = | dropped | = | = |
| fires, repeats, judged | * | * | * | * | * || judged | = | firing | = | judged | judged | judged |
| resolves | digest | * | * | * | * || = | = | resolved | = | digest | = | = |
| resolves | * | * | * | * | * || = | = | resolved | = | obsolete | obsolete | obsolete |
| unrouted | digest, inhibited | * | firing | * | * || drop | = | = | = | | dropped | dropped |
| unrouted | * | * | * | * | * || = | = | = | = | | = | = |
| claimed | digest, inhibited | * | firing | * | * || digest | = | = | = | | digest | digest |
| claimed | * | * | * | * | * || = | = | = | = | | = | = |
| delivered | * | * | * | * | * || = | = | = | = | | delivered | = |
| failed, in doubt | * | * | * | * | * || = | = | = | = | | = | = |
| given up | * | * | * | * | * || = | = | = | = | | dead | = |
| again: firing, again: end | * | * | * | * | * || = | = | = | = | | digest | = |
| again: recipient | * | * | * | * | * || = | = | = | = | | = | = |
| discarded | * | * | * | * | * || = | = | = | = | | dropped | = |
"""
"""A member of a slot of a digest. Alerts that still fire go on in the next slot, and so do open fates."""

NEVER_IN_MESSAGES = """
| event | decision | notified | status | due | knew | why it can't be |
|---|---|---|---|---|---|---|
| * | digest | * | * | * | * | only a slot of a digest takes it |
| fires: digest, repeats: digest, judged: digest | * | * | * | * | * | only a slot of a digest takes it |
| * | * | * | resolved | later | * | an end waits for no hour |
| * | * | nothing, resolved | resolved | now | * | an end is due only where the firing was, or may have been, notified |
| * | * | firing, unknown | resolved | none | * | who was notified of a firing is notified of its end |
| * | send, hold | nothing, resolved | firing | none | * | what is to go out has a time |
| * | inhibited, drop, given_up | nothing, resolved | firing | now, later | * | no destination is to be notified of it |
| * | send, hold | unknown | firing | none | * | an attempt leaves the time as it is until its outcome is recorded |
| * | inhibited | firing, unknown | firing | * | * | an inhibitor delays a first notification only |
| * | given_up | * | * | later | * | it waits for no hour: it is not due, or an end or a repeat is due immediately |
| delivered, failed, in doubt, given up, delivered late, given up late | * | nothing, firing, resolved | * | * | * | a claim makes it unknown, and it stays so until the outcome is recorded |
| shown whole | * | * | firing | * | * | then something of the group fires |
| shown whole | * | nothing, firing, unknown | * | * | * | only what was notified as resolved is notified once more |
"""

NEVER_IN_DIGESTS = """
| event | decision | notified | status | due | knew | why it can't be |
|---|---|---|---|---|---|---|
| * | send, hold, given_up | * | * | * | * | a slot takes what the rules put into a digest |
| fires: send, fires: hold, repeats: send, repeats: hold, judged: send, judged: hold | * | * | * | * | * | a slot takes what the rules put into a digest |
| * | * | firing, unknown, resolved | * | * | * | a digest goes out once: its slot says whether it has |
| * | * | * | * | now, later | * | it is due with its slot |
"""
