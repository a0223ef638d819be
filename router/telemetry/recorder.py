"""What the path of an alert calls to be observed. These classes do nothing: they are in use while nothing is configured,
so that the path needs no conditions.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from router.core.accept import Receipt
from router.core.claimed_delivery import ClaimedDelivery
from router.decide import Policy
from router.model import Destination, Outcome, Webhook

_NOTHING: AbstractContextManager[None] = nullcontext()


class ReceiveObserver:
    """Observes one webhook, from its request to the answer."""

    __slots__ = ()

    def deciding(self) -> None:
        """Record that the webhook is parsed, and goes to the store."""

    def decided(self, webhook: Webhook, source: str, receipt: Receipt, policy: Policy) -> None:
        """Record that the webhook is stored. :param source: the name of the source that posted it"""

    def kept(self, webhook: Webhook, source: str, number: int) -> None:
        """Record that a large webhook is stored and will be decided later. :param number: its id"""

    def answered(self, status: int) -> None:
        """Record the answer. :param status: of HTTP; 0: there was none"""


class DeliveryObserver:
    """Observes one delivery, from its start to its outcome."""

    __slots__ = ()

    def sending(self) -> AbstractContextManager[None]:
        """Return a context in which the channel sends the message."""
        return _NOTHING

    def ended(self, outcome: Outcome | None) -> None:
        """Record the outcome. None: it is not known"""


_NO_RECEIVE = ReceiveObserver()
_NO_DELIVERY = DeliveryObserver()


class Recorder:
    """Makes the observers, and takes errors."""

    def receive(self, headers: Mapping[str, str]) -> ReceiveObserver:  # noqa: ARG002
        """Return the observer of a webhook. :param headers: of its request"""
        return _NO_RECEIVE

    def deliver(
        self,
        work: ClaimedDelivery,  # noqa: ARG002
        destination: Destination,  # noqa: ARG002
        policy: Policy,  # noqa: ARG002
    ) -> DeliveryObserver:
        """Return the observer of a delivery."""
        return _NO_DELIVERY

    def error(self, action: str, logger: str, error: BaseException) -> None:
        """Report an error of the router itself. It can come from any thread, and never waits.

        :param action: what failed: a fixed text of the router's source code
        :param logger: the name of the module that logs it
        """
