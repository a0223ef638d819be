"""Invents histories as plain data, the same for the same seed: scenes with a goal, and single events in between."""

from collections.abc import Callable

from tests.histories.data import History
from tests.histories.invent import Inventor

_HOUR, _DAY = 3_600, 86_400
_EVENTS = {
    "fire": 24, "repeat": 6, "end": 12, "late": 5, "peer": 4, "wait": 16, "deliver": 14, "claim": 2, "finish": 2,
    "restart": 3, "reload": 4, "answered": 3, "unanswered": 1, "expire": 2, "settle": 2, "step": 2, "retry": 3,
    "discard": 2, "resume": 1,
}  # fmt: skip
_POSTS = {"fire", "repeat", "end", "late", "peer"}


def history(seed: int) -> History:
    inventor = Inventor(seed)
    dice = inventor.dice
    inventor.fire()
    for _ in range(dice.randint(1, 2)):
        for _ in range(dice.randint(1, 4)):
            _happen(inventor, dice.choices(tuple(_EVENTS), tuple(_EVENTS.values()))[0])
        dice.choice(_SCENES)(inventor)
    if dice.random() < 0.4:
        _come_to_an_end(inventor)
    return inventor.history


def _happen(inventor: Inventor, what: str) -> None:
    getattr(inventor, what)()
    if what in _POSTS and inventor.dice.random() < 0.5:
        inventor.let_pass(inventor.dice.choice((5, 10, 30)))
        inventor.deliver()


def _sent(inventor: Inventor, outcomes: tuple[str, ...] = ()) -> None:
    """An alert fires, and is sent."""
    inventor.fire()
    inventor.let_pass(30)
    inventor.do("deliver", **({"outcomes": list(outcomes)} if outcomes else {}))


def _under_way(inventor: Inventor) -> None:
    """A change arrives while a delivery is under way."""
    getattr(inventor, inventor.dice.choice(("fire", "end")))()
    inventor.let_pass(30)
    for _ in range(inventor.dice.randint(1, 3)):
        inventor.claim()
    news = ("fire", "end", "end", "repeat", "late", "wait", "restart", "reload", "retry", "expire")
    getattr(inventor, inventor.dice.choice(news))()
    if inventor.dice.random() < 0.8:
        inventor.finish()
    inventor.deliver()


def _given_up(inventor: Inventor) -> None:
    _sent(
        inventor,
        tuple(
            inventor.dice.choices(("rejected", "rejected in doubt", "lost", "delivered"), (4, 1, 1, 1), k=4)
        ),
    )
    if inventor.dice.random() < 0.5:
        getattr(inventor, inventor.dice.choice(("end", "repeat", "reload", "deliver")))()
    inventor.let_pass(60)
    for _ in range(inventor.dice.randint(1, 2)):
        getattr(inventor, inventor.dice.choice(("retry", "retry", "discard")))()
    inventor.deliver()


def _half_sent(inventor: Inventor) -> None:
    """Some recipients of a mail do not get what the others get."""
    _sent(inventor, tuple(inventor.dice.choices(("late", "late and refused", "refused", "delivered"), k=4)))
    if inventor.dice.random() < 0.5:
        getattr(inventor, inventor.dice.choice(("end", "fire", "retry")))()
    inventor.let_pass(60)
    inventor.do("deliver", outcomes=inventor.dice.choices(("late", "refused", "delivered"), k=3))
    inventor.retry()
    inventor.let_pass(60)
    inventor.deliver()


def _gone(inventor: Inventor) -> None:
    """Alertmanager had an alert and no longer has it; later it may have it again."""
    _sent(inventor)
    for lacking in (False, True, True):
        inventor.let_pass(60)
        inventor.answer(lacking=lacking)
    inventor.deliver()
    if inventor.dice.random() < 0.5:
        inventor.let_pass(60)
        getattr(inventor, inventor.dice.choice(("answer", "repeat")))()
        inventor.deliver()


def _muted(inventor: Inventor) -> None:
    """Alertmanager has an alert and mutes it."""
    inventor.fire()
    inventor.let_pass(1)
    inventor.answer(muted=True)
    inventor.let_pass(30)
    inventor.deliver()
    inventor.let_pass(60)
    getattr(inventor, inventor.dice.choice(("answer", "unanswered", "end")))()
    inventor.deliver()


def _doubted(inventor: Inventor) -> None:
    """A peer reports a firing just after its end."""
    _sent(inventor)
    inventor.end()
    inventor.let_pass(10)
    inventor.deliver()
    inventor.late()
    inventor.settle()
    getattr(inventor, inventor.dice.choice(("wait", "deliver", "late", "answer", "restart")))()
    inventor.let_pass(300)
    inventor.settle()
    inventor.deliver()


def _stale(inventor: Inventor) -> None:
    _sent(inventor)
    inventor.let_pass(6 * _HOUR)
    inventor.do("expire")
    inventor.deliver()
    getattr(inventor, inventor.dice.choice(("repeat", "answer", "end")))()
    inventor.deliver()


def _lapsed(inventor: Inventor) -> None:
    """The sender gives an end in the future."""
    name = inventor.dice.choice(tuple(inventor.alerts))
    start = inventor.firing.setdefault(name, inventor.now)
    until = inventor.now + inventor.dice.choice((20, 60))
    inventor.do("post", group=inventor.homes[name][0], alerts=[[name, "firing", start, until]])
    inventor.let_pass(30)
    inventor.deliver()
    inventor.let_pass(60)
    inventor.do("expire")
    inventor.deliver()


def _flapping(inventor: Inventor) -> None:
    for _ in range(4):
        inventor.fire()
        inventor.let_pass(inventor.dice.choice((60, 400)))
        if inventor.dice.random() < 0.5:
            inventor.do("deliver")
        inventor.end()
        inventor.let_pass(inventor.dice.choice((60, 400)))
    inventor.let_pass(_DAY)
    inventor.deliver()


def _over_night(inventor: Inventor) -> None:
    """An alert at night waits for the morning."""
    inventor.let_pass((22 * _HOUR - inventor.now) % _DAY)
    inventor.fire()
    inventor.let_pass(60)
    inventor.deliver()
    getattr(inventor, inventor.dice.choice(("end", "repeat", "reload", "restart", "wait")))()
    inventor.let_pass((8 * _HOUR + 10 - inventor.now) % _DAY)
    inventor.do("deliver")
    inventor.let_pass((9 * _HOUR + 10 - inventor.now) % _DAY)
    inventor.deliver()


def _hidden(inventor: Inventor) -> None:
    """Alertmanager leaves out alerts of a group, and later reports the complete group."""
    group = inventor.group()
    inventor.truncated[group] = 2
    inventor.post(group, [])
    inventor.let_pass(30)
    inventor.deliver()
    inventor.end_all_of(group)
    inventor.deliver()
    inventor.truncated[group] = 0
    inventor.let_pass(60)
    inventor.end_all_of(group)
    inventor.deliver()


def _come_to_an_end(inventor: Inventor) -> None:
    """All alerts end, and time passes until every end is sent."""
    for group in inventor.groups:
        inventor.truncated[group] = 0
        inventor.end_all_of(group)
    for span in (60, _DAY, _DAY):
        inventor.let_pass(span)
        inventor.settle()
        inventor.do("deliver")


_SCENES: tuple[Callable[[Inventor], None], ...] = (
    _under_way, _under_way, _given_up, _given_up, _half_sent, _half_sent, _gone, _muted, _doubted, _stale, _lapsed,
    _flapping, _over_night, _hidden,
)  # fmt: skip
