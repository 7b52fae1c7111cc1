"""The admin's pages of background tasks, to look at: whoever may write a schedule can name any function to be run."""

import django_q.admin
from django.contrib import admin
from django_q.models import Failure, Schedule, Success

from accounts.admin_pages import ReadOnlyAdmin


class ScheduleAdmin(ReadOnlyAdmin):
    list_display = django_q.admin.ScheduleAdmin.list_display[:-2]


class TaskAdmin(ReadOnlyAdmin):
    list_display = ("name", "func", "cluster", "started", "stopped")


for model, pages in ((Schedule, ScheduleAdmin), (Success, TaskAdmin), (Failure, TaskAdmin)):
    admin.site.unregister(model)
    admin.site.register(model, pages)
