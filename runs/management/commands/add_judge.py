"""Make a judge: a model at an endpoint that answers rubrics."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from oneshot.management.base import BadInput, OneShotCommand
from runs.judging import actions
from runs.judging.models import DEFAULTS


class Command(OneShotCommand):
    help = "Make a judge of rubrics. A judge of the same name and other content is replaced; its verdicts stay."
    example = "oneshot add_judge mini --model gpt-5.1-mini --key-env OPENAI_API_KEY --default --run-budget 0.50"
    prints_json = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--model", metavar="M", required=True)
        parser.add_argument("--base-url", metavar="URL", default="https://api.openai.com/v1", help="ending in /v1")
        parser.add_argument("--key-env", metavar="NAME", default="", help="variable of the workers that holds the key")
        parser.add_argument("--default", action="store_true", help="judge every graded run whose task has a rubric")
        parser.add_argument(
            "--set",
            metavar="NAME=VALUE",
            action="append",
            default=[],
            help=f"a parameter, null to leave it out: {', '.join(DEFAULTS)}",
        )
        parser.add_argument(
            "--prices",
            metavar="IN,CACHED,OUT",
            default="",
            help="USD per million tokens, for a model that the table of prices lacks",
        )
        parser.add_argument("--run-budget", metavar="USD", help="most that judging one run may cost")
        parser.add_argument("--daily-budget", metavar="USD", help="most that it may cost in 24 hours")

    def run(self, *, name: str, **options: Any) -> None:
        try:
            judge = actions.add_judge(
                name=name,
                model=options["model"],
                base_url=options["base_url"],
                key_env=options["key_env"],
                parameters=dict(_parameter(given) for given in options["set"]),
                prices=_prices(options["prices"]),
                run_budget_usd=_money("--run-budget", options["run_budget"]),
                daily_budget_usd=_money("--daily-budget", options["daily_budget"]),
                is_default=options["default"],
            )
        except actions.CannotJudge as error:
            raise BadInput(str(error)) from error
        if self.as_json:
            self.emit({"name": judge.name, "id": str(judge.pk), "digest": judge.digest, "default": judge.is_default})
        else:
            self.say(f"The judge {judge.name} is {judge.model} at {judge.base_url}, not calibrated yet.")


def _parameter(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals:
        raise BadInput(f"--set {given}: write NAME=VALUE, such as samples=5.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _prices(given: str) -> dict[str, str]:
    if not given:
        return {}
    parts = [_money("--prices", part) for part in given.split(",")]
    if len(parts) != 3:
        raise BadInput(f"--prices {given}: write three figures with commas between, such as 0.25,0.025,2.")
    return dict(zip(("input", "cached_input", "output"), map(str, parts), strict=True))


def _money(option: str, given: str | None) -> Decimal | None:
    if given is None:
        return None
    try:
        value = Decimal(given)
    except InvalidOperation:
        raise BadInput(f"{option} {given}: this is no amount of USD, such as 0.50.") from None
    if not value.is_finite() or value < 0:
        raise BadInput(f"{option} {given}: an amount is not below 0.")
    return value
