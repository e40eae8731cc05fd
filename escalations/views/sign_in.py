"""Signing in and out. Whether somebody must wait first is `escalations.sign_ins`; passwords are Django's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from escalations import sign_ins
from escalations.sign_ins import Attempt


class SignIn(LoginView):
    """The form, and what comes of it. Who must wait is told until when, whatever the password was."""

    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        wait = _attempt(request).wait()
        return self._paused(wait) if wait else super().post(request, *args, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        _attempt(self.request).succeeded()
        with transaction.atomic(durable=True):
            answer = super().form_valid(form)
            person: Any = form.get_user()
            sign_ins.note(sign_ins.SIGNED_IN, person, _address(self.request))
        return answer

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        attempt = _attempt(self.request)
        wait = attempt.failed()
        if not wait:
            return super().form_invalid(form)
        with transaction.atomic(durable=True):
            sign_ins.note_pause(attempt, wait)
        return self._paused(wait)

    def _paused(self, wait: int) -> HttpResponse:
        context = {
            "paused_until": timezone.now() + timedelta(seconds=wait),
            "given_name": self.request.POST.get("username", ""),
            self.redirect_field_name: self.get_redirect_url(),
        }
        answer = self.render_to_response(context, status=429)
        answer.headers["Retry-After"] = str(wait)
        return answer


class SignOut(LogoutView):
    """By a form alone."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        person = request.user
        if not isinstance(person, User):
            return super().post(request, *args, **kwargs)
        account = User.objects.get(pk=person.pk)
        with transaction.atomic(durable=True):
            answer = super().post(request, *args, **kwargs)
            sign_ins.note(sign_ins.SIGNED_OUT, account, _address(request))
        return answer


def _attempt(request: HttpRequest) -> Attempt:
    return Attempt(name=request.POST.get("username", "")[:150], address=_address(request))


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))[:64]
