"""A pause after some refused log-ins, so that a password cannot be guessed by trying many."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from oneshot.accounts.models import FailedLogIn

PAUSE = timedelta(minutes=5)
TRIES_PER_PERSON = 5
TRIES_PER_ADDRESS = 50
KEPT = timedelta(days=1)


def address_of(request: HttpRequest) -> str:
    """Return where a request comes from; behind a proxy that we trust, what that proxy last wrote."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    if settings.SECURE_PROXY_SSL_HEADER and forwarded:
        return forwarded.split(",")[-1].strip()[:64]
    return request.META.get("REMOTE_ADDR", "")[:64]


def tries_left(username: str, address: str) -> int:
    """Return how many more refusals this name from this address may collect before a pause; 0 in a pause."""
    recent = FailedLogIn.objects.filter(address=address, at__gt=timezone.now() - PAUSE)
    by_person = TRIES_PER_PERSON - recent.filter(username=_key(username)).count()
    by_address = TRIES_PER_ADDRESS - recent.count()
    return max(0, min(by_person, by_address))


def record_refusal(username: str, address: str) -> None:
    """Count a refused log-in, and forget those that no longer matter."""
    FailedLogIn.objects.filter(at__lt=timezone.now() - KEPT).delete()
    FailedLogIn.objects.create(username=_key(username), address=address)


def forget(username: str, address: str) -> None:
    """Start counting anew, after a log-in that was right."""
    FailedLogIn.objects.filter(username=_key(username), address=address).delete()


def _key(username: str) -> str:
    return username.casefold()[:150]
