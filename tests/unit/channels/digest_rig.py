"""What the shared tests ask about digests, which are mails."""

from router.model import DAY, DigestLine, DigestView
from tests.unit.channels import email_rig
from tests.unit.channels.rigs import ChannelRig
from tests.unit.channels.talk import NOW, alert, conversation

_DIGEST = DigestView(NOW - DAY, NOW, firing=(DigestLine(alert(), "critical", 1),))

RIG = ChannelRig(
    make=email_rig.RIG.make,
    settings=email_rig.smarthost_settings,
    options=lambda _: {"to": email_rig.TO, "at": "09:00"},
    secrets=(email_rig.PASSWORD,),
    fake=email_rig.RIG.fake,
    answers=tuple(email_rig.answers_at(["GREETING", "AUTH", "MAIL", "RCPT", "DATA"])),
    success=email_rig.RIG.success,
    conversations=(conversation(alerts=(), digest=_DIGEST),),
    speaks_smtp=True,
)
