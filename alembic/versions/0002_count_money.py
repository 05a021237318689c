"""Count money.

Revision 0002 after 0001. What earlier jobs cost was not written down and stays unknown.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("micro_usd", sa.BigInteger(), nullable=True))
    op.create_table(
        "spending",
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_jobs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month", "guild_id", name="pk_spending"),
    )


def downgrade() -> None:
    op.drop_table("spending")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("micro_usd")
