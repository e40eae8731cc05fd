"""Limits of the guards that look for loops and injected arguments: repeats, idle turns, tainted calls."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0022_question_kinds"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="limit",
            name="limit_legal",
        ),
        migrations.AlterField(
            model_name="limit",
            name="kind",
            field=models.CharField(
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
                    ("repeats", "repeats"),
                    ("idle_turns", "idle_turns"),
                    ("tainted_calls", "tainted_calls"),
                    ("steps_at_once", "steps_at_once"),
                    ("intake", "intake"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="limit",
            constraint=models.CheckConstraint(
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
                        ("scope_kind__in", ["organisation", "team", "workflow", "agent", "run", "tool"]),
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
                            ["organisation", "team", "workflow", "provider", "model", "agent", "tool"],
                        ),
                        ("value__gte", 1),
                        ("window__in", ["minute"]),
                    ),
                    models.Q(
                        ("kind", "concurrency"),
                        (
                            "scope_kind__in",
                            ["organisation", "team", "workflow", "provider", "model", "agent", "tool"],
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
                    models.Q(
                        ("kind", "repeats"),
                        ("scope_kind__in", ["organisation", "team", "workflow", "agent", "run", "tool"]),
                        ("value__gte", 2),
                        ("window__in", [""]),
                    ),
                    models.Q(
                        ("kind", "idle_turns"),
                        ("scope_kind__in", ["organisation", "team", "workflow", "agent", "run"]),
                        ("value__gte", 2),
                        ("window__in", [""]),
                    ),
                    models.Q(
                        ("kind", "tainted_calls"),
                        ("scope_kind__in", ["organisation", "team", "workflow", "agent", "run", "tool"]),
                        ("value__gte", 0),
                        ("window__in", ["run"]),
                    ),
                    _connector="OR",
                ),
                name="limit_legal",
            ),
        ),
    ]
