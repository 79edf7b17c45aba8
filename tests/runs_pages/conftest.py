"""The people and the rows that tests of run pages share."""

import pytest
from django.test import Client

from oneshot.accounts.models import Team, User
from tests.builders import make_team, make_user


@pytest.fixture
def owner(db) -> User:
    return make_user("owner")


@pytest.fixture
def team(owner: User) -> Team:
    return make_team(owner=owner, member=make_user("member"), slug="payments", name="Payments")


@pytest.fixture
def owners(client: Client, owner: User, team: Team) -> Client:
    """A browser of the owner."""
    client.force_login(owner)
    return client


@pytest.fixture
def outsiders(db) -> Client:
    """A browser of somebody who is in no team."""
    client = Client()
    client.force_login(make_user("outsider"))
    return client
