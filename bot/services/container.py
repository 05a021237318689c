"""What the cogs and the buttons may use, in one place.

This module owns the list alone: ``bot.app`` makes the parts and hands them over through
``bot.client.Sextant.services``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.attachments import AttachmentService
    from bot.db.instance import InstanceRepository
    from bot.db.jobs import JobRepository
    from bot.db.outbox import OutboxRepository
    from bot.db.prompts import PromptRepository
    from bot.delivery.intake import Intake
    from bot.engine.engine import Engine
    from bot.engine.spool import Spool
    from bot.links import LinkService
    from bot.services.admission import Admission
    from bot.services.allowances import Allowances
    from bot.services.budget import Budget
    from bot.services.dropped import Dropped
    from bot.services.memory import Memory
    from bot.services.next_steps import NextSteps
    from bot.services.privacy import Privacy
    from bot.services.recipes import RecipeService
    from bot.services.role_limits import RoleLimits
    from bot.services.server_settings import ServerSettings
    from bot.services.styles import Styles
    from bot.settings import Settings
    from models.catalog import Catalog
    from models.weights import WeightStore


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that outlives one interaction."""

    settings: Settings
    catalog: Catalog
    weights: WeightStore
    engine: Engine
    spool: Spool
    server_settings: ServerSettings
    memory: Memory
    privacy: Privacy
    prompts: PromptRepository
    recipes: RecipeService
    styles: Styles
    attachments: AttachmentService
    links: LinkService
    admission: Admission
    allowances: Allowances
    role_limits: RoleLimits
    budget: Budget
    intake: Intake
    jobs: JobRepository
    outbox: OutboxRepository
    instance: InstanceRepository
    dropped: Dropped
    next_steps: NextSteps
