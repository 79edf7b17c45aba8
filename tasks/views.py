"""Pages of tasks: the list, and one task with its versions."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from tasks.models import Task


def task_list(request: HttpRequest) -> HttpResponse:
    return render(request, "tasks/task_list.html", {"nav": "tasks"})


def task_detail(request: HttpRequest, slug: str) -> HttpResponse:
    task = get_object_or_404(Task.objects.visible_to(request.user), slug=slug)
    return render(request, "tasks/task_detail.html", {"task": task, "nav": "tasks"})
