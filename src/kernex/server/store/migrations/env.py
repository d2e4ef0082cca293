"""Alembic's entry: migrate over the connection that `Database.migrate` opened."""

from alembic import context

from kernex.server.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transaction_per_migration=False,
)
context.run_migrations()
