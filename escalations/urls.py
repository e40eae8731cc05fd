"""Addresses of what people look at and do. The order matters only where one is a beginning of another."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from escalations.views import (
    acts,
    controls,
    frame,
    inbox,
    interventions,
    limits,
    people,
    rehearsals,
    search,
    starts,
)

urlpatterns = [
    path("sign-in", LoginView.as_view(redirect_authenticated_user=True), name="sign-in"),
    path("sign-out", LogoutView.as_view(), name="sign-out"),
    path("frame/places", frame.places, name="places"),
    path("frame/held", frame.held, name="held"),
    path("search", search.page, name="search"),
    # Inbox
    path("", inbox.page, name="inbox"),
    path("inbox/queue", inbox.queue, name="queue"),
    path("escalations/<int:escalation_id>", inbox.page, name="escalation"),
    path("escalations/<int:escalation_id>/card", inbox.one, name="card"),
    path("escalations/<int:escalation_id>/approve", acts.approve, name="approve"),
    path("escalations/<int:escalation_id>/migrate", acts.migrate, name="migrate"),
    path("escalations/<int:escalation_id>/claims", acts.decide_claims, name="decide-claims"),
    path("escalations/<int:escalation_id>/edit", acts.edit, name="edit"),
    path("escalations/<int:escalation_id>/reject", acts.reject, name="reject"),
    path("escalations/<int:escalation_id>/respond", acts.respond, name="respond"),
    path("escalations/<int:escalation_id>/look", acts.look, name="look"),
    path("escalations/<int:escalation_id>/take", acts.take, name="take"),
    path("escalations/<int:escalation_id>/release", acts.release, name="give-back"),
    path("questions/<int:question_id>", inbox.of_question, name="question"),
    # Runs: what people do about them
    path("runs/start", starts.choose, name="start-choose"),
    path("runs/start/<str:workflow>", starts.page, name="start"),
    path("runs/<int:run_id>/people", people.fragment, name="run-people"),
    # Controls
    path("controls/", controls.page, name="controls"),
    path("controls/held", controls.held_now, name="controls-held"),
    path("controls/hits", controls.hits, name="controls-hits"),
    path("controls/receipt/<int:control_id>", controls.receipt, name="controls-receipt"),
    path("controls/left", controls.left_behind, name="controls-left"),
    path("controls/engage", controls.engage, name="engage"),
    path("controls/<int:control_id>/release", controls.release, name="release"),
    path("controls/<int:control_id>/resume", controls.resume_all, name="resume-all"),
    path("controls/runs/<int:run_id>/resume", controls.resume, name="resume"),
    # Limits
    path("limits/", limits.page, name="limits"),
    path("limits/list", limits.listed, name="limits-list"),
    path("limits/proposals", limits.proposals, name="limits-proposals"),
    path("limits/new", limits.new, name="limit-new"),
    path("limits/rehearse", rehearsals.ask, name="limit-rehearse"),
    path("limits/rehearsals/<int:number>", rehearsals.one, name="limit-rehearsal"),
    path("limits/set", limits.set_limit, name="limit-set"),
    path("limits/<int:line>", limits.page, name="limit"),
    path("limits/<int:line>/asks", limits.asks, name="limit-asks"),
    path("limits/<int:line>/change", limits.change, name="limit-change"),
    path("limits/<int:line>/end", limits.end, name="limit-end"),
    path("limits/proposals/<int:proposal_id>/agree", limits.agree, name="limit-agree"),
    path("limits/proposals/<int:proposal_id>/decline", limits.decline, name="limit-decline"),
    # Interventions
    path("interventions/", interventions.page, name="interventions"),
    path("interventions/list", interventions.listed, name="interventions-list"),
    path("interventions/export", interventions.export, name="interventions-export"),
    path("interventions/<int:seq>", interventions.page, name="intervention"),
]
