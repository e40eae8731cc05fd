"""A plain start with its journal entry as one SQL function: whoever may not, or what is not plain, gives no row and
leaves nothing. The entry's text comes in pieces, between which the run's number stands: it is not known before.
"""

from django.db import migrations

ROLES = """
CREATE FUNCTION roles_of(p_person bigint) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN person.is_superuser THEN 'admin' ELSE role.name END FROM auth_user person
    LEFT JOIN auth_user_groups member ON member.user_id = person.id
    LEFT JOIN auth_group role ON role.id = member.group_id
    WHERE person.id = p_person AND person.is_active
$$;
"""
START = """
CREATE FUNCTION start_and_journal(
    p_workflow text, p_version integer, p_definition text, p_team text, p_goal text, p_key text, p_by text,
    p_simulated boolean, p_input_digest text, p_input text, p_input_size integer, p_deadline interval, p_limit integer,
    p_data text, p_actor bigint, p_may text[], p_act text, p_outcome text, p_body text,
    p_body_2 text, p_body_3 text, p_body_4 text
) RETURNS TABLE (run_id bigint, team_id bigint, moment timestamptz, entry_seq bigint)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM roles_of(p_actor) AS named(role) WHERE named.role = ANY (p_may)) THEN RETURN; END IF;
    SELECT begun.run_id, begun.team_id, begun.moment INTO run_id, team_id, moment
        FROM runs_start(p_workflow, p_version, p_definition, p_team, p_goal, p_key, p_by, p_simulated, p_input_digest,
            p_input, p_input_size, p_deadline, p_limit, p_data) begun;
    IF run_id IS NULL THEN RETURN; END IF;
    SELECT appended.seq INTO entry_seq
        FROM journal_append(p_act, p_outcome, p_actor, p_by, 'run ' || run_id, run_id, NULL, p_workflow, p_team, '',
            p_body || run_id || p_body_2 || run_id || p_body_3 || run_id || p_body_4) appended;
    RETURN NEXT;
END $$;
"""
UNDO = """
DROP FUNCTION start_and_journal(
    text, integer, text, text, text, text, text, boolean, text, text, integer, interval, integer, text, bigint, text[],
    text, text, text, text, text, text
);
DROP FUNCTION roles_of(bigint);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("escalations", "0012_imported_traces"),
        ("runs", "0047_start"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunSQL(ROLES + START, UNDO)]
