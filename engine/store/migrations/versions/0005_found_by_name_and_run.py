"""Certificates found by the name of their holder and by run, however many there are."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_entity_name", "entity", ["name"])
    op.create_index("ix_item_run_id", "item", ["run_id", "id"])
