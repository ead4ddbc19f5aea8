"""What the token was measured to do, for the time estimates of dry runs."""

import sqlalchemy as sa
from alembic import op

from engine.store.schema import RowId, UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "token_measurement",
        sa.Column("id", RowId, nullable=False),
        sa.Column("measured_at", UtcTime(), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.Column("signatures", sa.Integer(), nullable=False),
        sa.Column("microseconds", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_measurement")),
    )
