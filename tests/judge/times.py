"""Points in time as the judge compares them: microseconds since the epoch, as integers. All of a run's clocks are one
machine's CLOCK_REALTIME."""

import datetime
import functools

SECOND = 1_000_000
NEVER = 1 << 62  # later than all there is

# Journals round to microseconds, audit logs cut them off. So two times that are less apart have no order.
GRAIN = 2


def from_seconds(seconds):
    return round(seconds * SECOND)


@functools.lru_cache(maxsize=4096)
def _second(text):
    """Of "2026-01-31T12:00:00", in UTC."""
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp()) * SECOND


def from_text(text):
    """RFC 3339 with any number of decimals, as the API server writes times."""
    if len(text) == 27 and text[19] == "." and text[26] == "Z":
        return _second(text[:19]) + int(text[20:26])
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(moment.timestamp() * SECOND)


def show(time):
    """"12:00:00.123456", UTC; what never was or never comes is said."""
    if time is None or time >= NEVER:
        return "no end"
    moment = datetime.datetime.fromtimestamp(time // SECOND, datetime.timezone.utc)
    return f"{moment:%H:%M:%S}.{time % SECOND:06d}"


def seconds(duration):
    """A duration for people."""
    return f"{duration / SECOND:.3f} s"
