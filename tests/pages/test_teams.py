"""Teams: who is in, who may invite, and that somebody always may."""

import re

import pytest
from django.test import Client

from oneshot.accounts.models import Membership, Role, Team, User
from tests.builders import make_superuser, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return make_user("owner")


@pytest.fixture
def member() -> User:
    return make_user("viewer")


@pytest.fixture
def team(owner: User, member: User) -> Team:
    return make_team(owner=owner, member=member, slug="payments", name="Payments")


@pytest.fixture
def owners(client: Client, owner: User, team: Team) -> Client:
    """A browser of the owner."""
    client.force_login(owner)
    return client


def membership(team: Team, user: User) -> Membership:
    return Membership.objects.get(team=team, user=user)


def test_whoever_makes_a_team_owns_it(client: Client, member: User) -> None:
    client.force_login(member)
    assert client.post("/teams/", {"name": "Möbel & Co"}).headers["Location"] == "/teams/mobel-co/"
    assert membership(Team.objects.get(slug="mobel-co"), member).role == Role.OWNER


def test_two_teams_of_one_name_get_two_addresses(owners: Client) -> None:
    for expected in ("/teams/infra/", "/teams/infra-2/"):
        assert owners.post("/teams/", {"name": "Infra"}).headers["Location"] == expected


def test_a_team_needs_a_name_that_can_be_read(owners: Client) -> None:
    response = owners.post("/teams/", {"name": " - "})
    assert response.status_code == 400
    assert "Write a name with at least one letter or number." in response.content.decode()


def test_the_list_shows_only_ones_own_teams(owners: Client) -> None:
    make_team(name="Strangers")
    body = owners.get("/teams/").content.decode()
    assert "Payments" in body
    assert "Strangers" not in body


def test_an_administrator_sees_every_team(client: Client, team: Team) -> None:
    client.force_login(make_superuser())
    assert "Payments" in client.get("/teams/").content.decode()


def test_a_known_name_is_added_without_a_password(owners: Client, team: Team) -> None:
    jonas = make_user("jonas")
    assert owners.post("/teams/payments/invite/", {"username": "JONAS", "role": "owner"}).status_code == 302
    assert membership(team, jonas).role == Role.OWNER
    assert not jonas.must_change_password


def test_a_new_name_gets_an_account_and_a_password_that_is_shown_once(owners: Client, team: Team) -> None:
    response = owners.post("/teams/payments/invite/", {"username": "newcomer", "role": "viewer"})
    password = re.search(r'id="first-password">([^<]+)<', response.content.decode())
    newcomer = User.objects.get(username="newcomer")
    assert password is not None
    assert newcomer.check_password(password[1])
    assert newcomer.must_change_password
    assert "no-store" in response.headers["Cache-Control"]
    assert password[1] not in owners.get("/teams/payments/").content.decode()


@pytest.mark.parametrize("username", ["viewer", "not a name!", ""])
def test_an_invitation_that_cannot_be_says_why(owners: Client, username: str) -> None:
    response = owners.post("/teams/payments/invite/", {"username": username, "role": "viewer"})
    assert response.status_code == 400
    assert 'id="id_username_error"' in response.content.decode()


def test_a_member_sees_the_team_and_may_change_nothing(client: Client, team: Team, member: User) -> None:
    client.force_login(member)
    body = client.get("/teams/payments/").content.decode()
    assert "owner" in body
    assert "Invite" not in body
    assert client.post("/teams/payments/rename/", {"name": "Mine"}).status_code == 404
    assert (
        client.post(f"/teams/payments/members/{membership(team, member).pk}/role/", {"role": "owner"}).status_code
        == 404
    )


def test_a_member_may_leave(client: Client, team: Team, member: User) -> None:
    client.force_login(member)
    gone = client.post(f"/teams/payments/members/{membership(team, member).pk}/remove/")
    assert gone.headers["Location"] == "/teams/"
    assert client.get("/teams/payments/").status_code == 404


def test_a_member_may_not_remove_another(client: Client, team: Team, member: User, owner: User) -> None:
    client.force_login(member)
    assert client.post(f"/teams/payments/members/{membership(team, owner).pk}/remove/").status_code == 404
    assert membership(team, owner)


def test_the_last_owner_can_neither_leave_nor_step_down(owners: Client, team: Team, owner: User) -> None:
    own = membership(team, owner)
    for url, data in (("remove", {}), ("role", {"role": "viewer"})):
        body = owners.post(f"/teams/payments/members/{own.pk}/{url}/", data, follow=True).content.decode()
        assert "is the last owner of Payments. Make someone else an owner first." in body
    assert membership(team, owner).role == Role.OWNER


def test_an_owner_may_step_down_once_there_is_another(owners: Client, team: Team, owner: User, member: User) -> None:
    owners.post(f"/teams/payments/members/{membership(team, member).pk}/role/", {"role": "owner"})
    owners.post(f"/teams/payments/members/{membership(team, owner).pk}/role/", {"role": "viewer"})
    assert membership(team, owner).role == Role.VIEWER
    assert membership(team, member).role == Role.OWNER


def test_a_role_that_does_not_exist_changes_nothing(owners: Client, team: Team, member: User) -> None:
    url = f"/teams/payments/members/{membership(team, member).pk}/role/"
    assert "king is no role" in owners.post(url, {"role": "king"}, follow=True).content.decode()
    assert membership(team, member).role == Role.MAINTAINER


def test_renaming_keeps_the_address(owners: Client, team: Team) -> None:
    owners.post("/teams/payments/rename/", {"name": "Money"})
    team.refresh_from_db()
    assert (team.name, team.slug) == ("Money", "payments")


def test_a_members_page_of_another_team_is_not_found(owners: Client, team: Team) -> None:
    other = make_team(owner=make_user("other"))
    stranger = other.memberships.get()
    assert owners.post(f"/teams/payments/members/{stranger.pk}/remove/").status_code == 404


def test_each_role_may_do_what_those_before_it_may(team: Team, member: User) -> None:
    allowed = {}
    for role in Role:
        Membership.objects.filter(team=team, user=member).update(role=role)
        allowed[role.value] = [least.value for least in Role if Team.objects.of(member, least).exists()]
    assert allowed == {
        "viewer": ["viewer"],
        "curator": ["viewer", "curator"],
        "maintainer": ["viewer", "curator", "maintainer"],
        "owner": ["viewer", "curator", "maintainer", "owner"],
    }
