"""Measure what jobs take of the machine.

Revision 0004, after 0003. What earlier jobs took was not measured: their size and lane stay
unknown, and they count as nothing.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("work", sa.Double(), nullable=True))
        jobs.add_column(sa.Column("device_s", sa.Double(), server_default="0", nullable=False))
        jobs.add_column(sa.Column("lane", sa.String(length=40), nullable=True))
    op.create_table(
        "allowances",
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("slot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("device_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "guild_id", "subject_id", "slot", name="pk_allowances"),
    )
    op.create_index("ix_allowances_slot", "allowances", ["slot"])


def downgrade() -> None:
    op.drop_table("allowances")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("lane")
        jobs.drop_column("device_s")
        jobs.drop_column("work")
