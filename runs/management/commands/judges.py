"""Which judges there are, and how far people agree with them."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.db.models import Count, Sum

from oneshot.management.base import BadInput, OneShotCommand
from runs.judging import actions, calibration, comparing, pricing
from runs.judging.models import JudgeConfig


class Command(OneShotCommand):
    help = "List the judges; with --calibrate, compare one with people's labels first."
    example = "oneshot judges --calibrate mini"
    prints_json = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--calibrate", metavar="NAME", help="compare this judge with people's labels now")
        parser.add_argument("--all", action="store_true", help="also those that were replaced")

    def run(self, *, calibrate: str | None, all: bool, **options: Any) -> None:
        if calibrate:
            try:
                judge = actions.judges_named([calibrate])[0]
            except actions.CannotJudge as error:
                raise BadInput(str(error)) from error
            found = comparing.recalibrate(judge)
            self.say(f"{found.n} answers compared, {found.left_out} left out that one of both could not assess.")
        rows = JudgeConfig.objects.all() if all else JudgeConfig.objects.filter(enabled=True)
        documents = [_document(row) for row in rows.order_by("name", "created_at")]
        if self.as_json:
            self.emit({"judges": documents})
            return
        for row in documents:
            self.stdout.write(_line(row))
        if not documents:
            self.say("There is no judge yet: oneshot add_judge NAME --model M --key-env VARIABLE --default")


def _document(judge: JudgeConfig) -> dict[str, Any]:
    newest = judge.calibrations.filter(scope=calibration.ALL).order_by("-computed_at", "-pk").first()
    used = judge.judgements.aggregate(n=Count("pk"), usd=Sum("cost_usd"), known=Count("cost_usd"))
    return {
        "name": judge.name,
        "model": judge.model,
        "base_url": judge.base_url,
        "parameters": judge.parameters,
        "prompt_version": judge.prompt_version,
        "default": judge.is_default,
        "enabled": judge.enabled,
        "price_known": pricing.knows_price(judge),
        "calibrated": calibration.is_calibrated(judge),
        "kappa": newest.kappa if newest else None,
        "kappa_low": newest.kappa_low if newest else None,
        "labels": newest.n if newest else 0,
        "judgements": used["n"],
        "cost_usd": float(used["usd"]) if used["n"] and used["known"] == used["n"] else None,
    }


def _line(row: dict[str, Any]) -> str:
    marks = [word for word, holds in (("default", row["default"]), ("replaced", not row["enabled"])) if holds]
    if row["kappa"] is None:
        agreement = "never compared with people" if not row["labels"] else "κ is not defined"
    else:
        agreement = f"κ {row['kappa']:.2f} (at least {row['kappa_low']:.2f}) over {row['labels']} answers"
    state = "calibrated" if row["calibrated"] else "not calibrated"
    words = ", ".join([row["model"], *marks, state, agreement, f"{row['judgements']} judgements"])
    return f"{row['name']}: {words}"
