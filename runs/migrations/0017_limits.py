"""Limits that people set: rows that are never edited, no two that contradict each other, and an edition that counts.

The triggers hold what CHECKs cannot: a row's terms stay as they were set, its end only comes nearer, and of one scope,
kind, window and mode no two rows hold at the same time. Both take the edition's row first, so that they see each other.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

KEEP = """
CREATE FUNCTION limit_edition_grows() RETURNS void LANGUAGE sql AS $$
    INSERT INTO runs_limitedition AS edition (id, number)
    VALUES (1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    ON CONFLICT (id) DO UPDATE SET number = greatest(edition.number + 1, excluded.number)
$$;
CREATE FUNCTION limit_kept() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM limit_edition_grows();
    IF TG_OP = 'UPDATE' AND (
        (NEW.id, NEW.first_id, NEW.kind, NEW.window, NEW.scope_kind, NEW.scope, NEW.value, NEW.mode, NEW.valid_from,
            NEW.set_at, NEW.set_by, NEW.agreed_by, NEW.reason)
        IS DISTINCT FROM
        (OLD.id, OLD.first_id, OLD.kind, OLD.window, OLD.scope_kind, OLD.scope, OLD.value, OLD.mode, OLD.valid_from,
            OLD.set_at, OLD.set_by, OLD.agreed_by, OLD.reason)
        OR coalesce(NEW.valid_until, 'infinity') > coalesce(OLD.valid_until, 'infinity')
    ) THEN
        RAISE EXCEPTION 'a limit is never edited: end it and begin another' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (
        SELECT FROM runs_limit other
        WHERE other.id <> NEW.id AND other.kind = NEW.kind AND other.window = NEW.window AND other.mode = NEW.mode
            AND other.scope_kind = NEW.scope_kind AND other.scope = NEW.scope
            AND other.valid_from < coalesce(NEW.valid_until, 'infinity')
            AND NEW.valid_from < coalesce(other.valid_until, 'infinity')
            AND other.valid_from IS DISTINCT FROM other.valid_until
            AND NEW.valid_from IS DISTINCT FROM NEW.valid_until
    ) THEN
        RAISE EXCEPTION 'there is such a limit at that time' USING ERRCODE = 'exclusion_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER limit_kept BEFORE INSERT OR UPDATE ON runs_limit
    FOR EACH ROW EXECUTE FUNCTION limit_kept();
CREATE FUNCTION limit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a limit is ended, never deleted' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER limit_stays BEFORE DELETE OR TRUNCATE ON runs_limit
    FOR EACH STATEMENT EXECUTE FUNCTION limit_stays();
"""
DROP = """
DROP TRIGGER limit_kept ON runs_limit;
DROP TRIGGER limit_stays ON runs_limit;
DROP FUNCTION limit_kept();
DROP FUNCTION limit_stays();
DROP FUNCTION limit_edition_grows();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0015_kept_by_triggers"),
    ]

    operations = [
        migrations.CreateModel(
            name="LimitEdition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveBigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name="Limit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("turns", "turns"),
                            ("model_calls", "model_calls"),
                            ("tool_calls", "tool_calls"),
                            ("wall_time", "wall_time"),
                            ("step_latency", "step_latency"),
                            ("context_tokens", "context_tokens"),
                            ("tokens", "tokens"),
                            ("cost", "cost"),
                            ("requests", "requests"),
                            ("concurrency", "concurrency"),
                            ("retries", "retries"),
                            ("fan_out_width", "fan_out_width"),
                            ("fan_out_depth", "fan_out_depth"),
                            ("steps_at_once", "steps_at_once"),
                            ("intake", "intake"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "window",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", ""),
                            ("run", "run"),
                            ("minute", "minute"),
                            ("hour", "hour"),
                            ("day", "day"),
                            ("month", "month"),
                            ("attempt", "attempt"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "scope_kind",
                    models.CharField(
                        choices=[
                            ("organisation", "organisation"),
                            ("team", "team"),
                            ("workflow", "workflow"),
                            ("provider", "provider"),
                            ("model", "model"),
                            ("agent", "agent"),
                            ("tool", "tool"),
                            ("run", "run"),
                        ],
                        max_length=12,
                    ),
                ),
                ("scope", models.CharField(blank=True, max_length=150)),
                ("value", models.BigIntegerField()),
                (
                    "mode",
                    models.CharField(
                        choices=[("observe", "observe"), ("warn", "warn"), ("enforce", "enforce")],
                        max_length=8,
                    ),
                ),
                ("valid_from", models.DateTimeField()),
                ("valid_until", models.DateTimeField(null=True)),
                ("set_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("set_by", models.CharField(max_length=150)),
                (
                    "agreed_by",
                    models.CharField(
                        blank=True, help_text="the second admin, where one was asked", max_length=150
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                (
                    "ended_at",
                    models.DateTimeField(help_text="when a change ended it, or planned its end", null=True),
                ),
                ("ended_by", models.CharField(blank=True, max_length=150)),
                ("end_reason", models.TextField(blank=True)),
                (
                    "first",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="later",
                        to="runs.limit",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["scope_kind", "scope", "kind", "window"], name="limit_by_scope"),
                    models.Index(fields=["valid_until"], name="limit_by_end"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("kind", "turns"),
                                ("scope_kind__in", ["organisation", "team", "workflow", "agent", "run"]),
                                ("value__gte", 1),
                                ("window__in", ["run"]),
                            ),
                            models.Q(
                                ("kind", "model_calls"),
                                (
                                    "scope_kind__in",
                                    ["organisation", "team", "workflow", "provider", "model", "agent", "run"],
                                ),
                                ("value__gte", 1),
                                ("window__in", ["run"]),
                            ),
                            models.Q(
                                ("kind", "tool_calls"),
                                (
                                    "scope_kind__in",
                                    ["organisation", "team", "workflow", "agent", "run", "tool"],
                                ),
                                ("value__gte", 0),
                                ("window__in", ["run"]),
                            ),
                            models.Q(
                                ("kind", "wall_time"),
                                ("scope_kind__in", ["organisation", "team", "workflow", "run"]),
                                ("value__gte", 1),
                                ("window__in", ["run"]),
                            ),
                            models.Q(
                                ("kind", "step_latency"),
                                ("scope_kind__in", ["organisation", "team", "workflow", "agent", "run"]),
                                ("value__gte", 1),
                                ("window__in", [""]),
                            ),
                            models.Q(
                                ("kind", "context_tokens"),
                                (
                                    "scope_kind__in",
                                    ["organisation", "team", "workflow", "provider", "model", "agent", "run"],
                                ),
                                ("value__gte", 1),
                                ("window__in", [""]),
                            ),
                            models.Q(
                                ("kind", "tokens"),
                                (
                                    "scope_kind__in",
                                    ["organisation", "team", "workflow", "provider", "model", "agent", "run"],
                                ),
                                ("value__gte", 1),
                                ("window__in", ["run", "minute", "hour", "day", "month"]),
                            ),
                            models.Q(
                                ("kind", "cost"),
                                (
                                    "scope_kind__in",
                                    ["organisation", "team", "workflow", "provider", "model", "agent", "run"],
                                ),
                                ("value__gte", 1),
                                ("window__in", ["run", "hour", "day", "month"]),
                            ),
                            models.Q(
                                ("kind", "requests"),
                                (
                                    "scope_kind__in",
                                    [
                                        "organisation",
                                        "team",
                                        "workflow",
                                        "provider",
                                        "model",
                                        "agent",
                                        "tool",
                                    ],
                                ),
                                ("value__gte", 1),
                                ("window__in", ["minute"]),
                            ),
                            models.Q(
                                ("kind", "concurrency"),
                                (
                                    "scope_kind__in",
                                    [
                                        "organisation",
                                        "team",
                                        "workflow",
                                        "provider",
                                        "model",
                                        "agent",
                                        "tool",
                                    ],
                                ),
                                ("value__gte", 1),
                                ("window__in", [""]),
                            ),
                            models.Q(
                                ("kind", "retries"),
                                ("scope_kind__in", ["organisation", "team", "workflow", "run"]),
                                ("value__gte", 0),
                                ("window__in", ["run"]),
                            ),
                            models.Q(
                                ("kind", "fan_out_width"),
                                ("scope_kind__in", ["organisation", "team", "workflow", "run"]),
                                ("value__gte", 1),
                                ("window__in", [""]),
                            ),
                            models.Q(
                                ("kind", "fan_out_depth"),
                                ("scope_kind__in", ["organisation", "team", "workflow", "run"]),
                                ("value__gte", 1),
                                ("window__in", [""]),
                            ),
                            _connector="OR",
                        ),
                        name="limit_legal",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("value__lte", 1000000000000000)), name="limit_value_kept"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("mode__in", ["observe", "warn", "enforce"])),
                        name="limit_mode_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("scope", ""), ("scope_kind", "organisation")),
                            models.Q(
                                models.Q(("scope_kind", "organisation"), _negated=True),
                                models.Q(("scope", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="limit_scope_named",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("valid_until__isnull", True),
                            ("valid_until__gte", models.F("valid_from")),
                            _connector="OR",
                        ),
                        name="limit_ends_after_it_begins",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at__isnull", True), ("ended_by", "")),
                            models.Q(
                                ("ended_at__isnull", False),
                                ("valid_until__isnull", False),
                                models.Q(("ended_by", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="limit_ended_by_somebody",
                    ),
                ],
            },
        ),
        migrations.RunSQL(KEEP, DROP),
    ]
