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
  earlier one of the two times; ``knew`` is the value of that column; ``sent`` is the status that the attempt sent.
- ``change`` is the fate of the reported change.
- ``fates`` is the new fate of the member's open changes, see :data:`~router.core.rows.OPEN_FATES`. ``since`` is the new
  fate of open changes that arrived during the attempt. Where a dead letter is settled, ``fates`` is the new fate of the
  dead changes, and ``since`` that of the open ones.

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
- ``shown whole``: Alertmanager shows the group without leaving alerts out, and nothing in it fires.

Two cases are not in the table, because they depend on more than the member. If a destination was notified because
another one failed, ``unrouted`` does not change its member. If a dead letter is retried after its conversation is over,
its dead changes become obsolete; if its destination is gone, they become dropped.
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
"""The same at a destination with ``send_resolved: false``, which gets no message that reports only ends. These rows
come before those of :data:`MESSAGE_CELLS`. The open changes that report an end become ``dropped``; ``fates`` and
``since`` are about the open changes that report a firing. ``resolves: under way`` is ``resolves`` while an attempt is
under way.
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
| * | digest | * | * | * | * | only a member of a digest has this decision |
| fires: digest, repeats: digest, judged: digest | * | * | * | * | * | only a member of a digest has this decision |
| * | * | * | resolved | later | * | an end is due immediately or not at all |
| * | * | nothing, resolved | resolved | now | * | an end is due only if the destination was, or may have been, notified of the firing |
| * | * | firing, unknown | resolved | none | * | a destination that was notified of a firing is notified of its end |
| * | send, hold | nothing, resolved | firing | none | * | a member that is to be sent has a time |
| * | inhibited, drop, given_up | nothing, resolved | firing | now, later | * | the destination is not to be notified of the alert |
| * | send, hold | unknown | firing | none | * | the time stays as it is until the outcome of the attempt is recorded |
| * | inhibited | firing, unknown | firing | * | * | an inhibitor delays only a first notification |
| * | given_up | * | * | later | * | such a member is not due, or its end or a repeat is due immediately |
| delivered, failed, in doubt, given up, delivered late, given up late | * | nothing, firing, resolved | * | * | * | a claim makes `notified` unknown until the outcome is recorded |
| shown whole | * | * | firing | * | * | the event means that nothing in the group fires |
| shown whole | * | nothing, firing, unknown | * | * | * | only a member that was notified as resolved is sent once more |
"""

NEVER_IN_DIGESTS = """
| event | decision | notified | status | due | knew | why it can't be |
|---|---|---|---|---|---|---|
| * | send, hold, given_up | * | * | * | * | a digest has only members that the rules put into it |
| fires: send, fires: hold, repeats: send, repeats: hold, judged: send, judged: hold | * | * | * | * | * | a digest has only members that the rules put into it |
| * | * | firing, unknown, resolved | * | * | * | a digest is sent once; its slot says whether it was sent |
| * | * | * | * | now, later | * | a member of a digest is due when its slot is |
"""
