# Run by Postgres's image when the volume is empty: a role and a schema for each service. The chart has the same.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname trackops <<'SQL'
REVOKE ALL ON DATABASE postgres, template1, trackops FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SQL
for role in trackops_order trackops_saga_orchestrator trackops_outbox_relay trackops_inventory trackops_payment trackops_identity; do
  password=$(cat "/run/secrets/$role")
  psql -v ON_ERROR_STOP=1 -v role="$role" -v password="$password" --username "$POSTGRES_USER" --dbname trackops <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
GRANT CONNECT ON DATABASE trackops TO :"role";
CREATE SCHEMA :"role" AUTHORIZATION :"role";
ALTER ROLE :"role" IN DATABASE trackops SET search_path = :"role";
SQL
done
