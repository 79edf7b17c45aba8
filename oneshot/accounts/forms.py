"""Forms of people and teams. Their messages say what to write instead."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, BaseUserCreationForm, PasswordChangeForm
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError

from oneshot.accounts import pauses
from oneshot.accounts.models import ROLE_MEANINGS, ApiToken, Role, Team, User


class LogInForm(AuthenticationForm):
    """User name and password, with a pause after some refusals."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "User name"

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username", "")
        address = pauses.address_of(self.request) if self.request else ""
        minutes = int(pauses.PAUSE.total_seconds() // 60)
        if not pauses.tries_left(username, address):
            raise ValidationError(
                f"Too many tries. Wait {minutes} minutes, then try again; an administrator can set a new password.",
                code="pause",
            )
        try:
            cleaned = super().clean()
        except ValidationError as error:
            pauses.record_refusal(username, address)
            left = pauses.tries_left(username, address)
            tries = "1 try is" if left == 1 else f"{left} tries are"
            after = f"{tries} left before a pause of {minutes} minutes." if left else f"Wait {minutes} minutes now."
            raise ValidationError(f"That name and password don't match. {after}", code="invalid_login") from error
        pauses.forget(username, address)
        return cleaned


HOW_TO_CHOOSE = "At least 10 characters, not like your name, and none that many people use."


class FirstPasswordForm(PasswordChangeForm):
    """The old password, and a new one twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].label = "Password until now"
        self.fields["new_password1"].help_text = HOW_TO_CHOOSE
        self.fields["new_password2"].label = "New password again"
        self.fields["new_password2"].help_text = ""

    def save(self, commit: bool = True) -> User:
        self.user.must_change_password = False
        return super().save(commit)


class SignUpForm(BaseUserCreationForm):
    """User name and a password twice; the name is how others add one to a team."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "User name"
        self.fields["username"].help_text = "Letters, numbers and @ . + - _"
        self.fields["password1"].help_text = HOW_TO_CHOOSE
        self.fields["password2"].label = "Password again"
        self.fields["password2"].help_text = ""

    class Meta:
        model = User
        fields = ["username", "first_name", "last_name"]


class AccountForm(forms.ModelForm):
    """What a person may change about themselves."""

    class Meta:
        model = User
        fields = ["first_name", "last_name", "email", "keyboard_shortcuts"]
        labels = {"email": "E-mail", "keyboard_shortcuts": "Keyboard shortcuts"}


class TeamForm(forms.ModelForm):
    class Meta:
        model = Team
        fields = ["name"]
        labels = {"name": "Name of the team"}

    def clean_name(self) -> str:
        name = self.cleaned_data["name"].strip()
        if not any(letter.isalnum() for letter in name):
            raise ValidationError("Write a name with at least one letter or number.")
        return name


class InviteForm(forms.Form):
    """Whom to add to a team: a user name, known or new."""

    username = forms.CharField(
        label="User name",
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        help_text="Someone who has no account yet gets one, with a first password that you pass on.",
    )
    role = forms.ChoiceField(
        label="Role",
        choices=[(role.value, f"{role.label}: {ROLE_MEANINGS[role]}") for role in Role],
        initial=Role.CURATOR,
    )


class TokenForm(forms.Form):
    """What a new API token is for, what it may do, and how long it lasts."""

    LASTS = (("30", "30 days"), ("90", "90 days"), ("365", "A year"), ("", "Until it is revoked"))

    name = forms.CharField(label="What will use it", max_length=100, help_text="Such as: nightly runs on ci-2")
    scope = forms.ChoiceField(
        label="It may",
        choices=[("read", "read what you may read"), ("write", "read, and do what you may do")],
        initial=ApiToken.Scope.READ,
    )
    days = forms.ChoiceField(label="It lasts", choices=LASTS, initial="90", required=False)
