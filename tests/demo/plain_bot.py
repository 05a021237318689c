"""A bot of a few lines: enough to see whether the simulated Discord runs live."""

from __future__ import annotations

import asyncio
import io

import discord
from discord import app_commands
from discord.ext import commands

from tests.fake_pictures import picture

PICTURE_PX = 600


class PlainBot(commands.AutoShardedBot):
    """Counts, can be stopped, shows a picture, answers files, and has one message command."""

    def __init__(self) -> None:
        super().__init__("!", intents=discord.Intents.all())
        self.too_late: list[discord.NotFound] = []

    async def setup_hook(self) -> None:
        self.tree.add_command(count)
        self.tree.add_command(dawdle)
        self.tree.add_command(show)
        self.tree.add_command(name_files)
        await self.tree.sync()

    async def on_message(self, message: discord.Message) -> None:
        if not message.author.bot:
            sizes = [len(await file.read()) for file in message.attachments]
            await message.reply(f"{message.content} {sizes}")


class Stop(discord.ui.View):
    def __init__(self) -> None:
        super().__init__()
        self.stopped = False
        self.editing = asyncio.Lock()

    @discord.ui.button(label="Stop")
    async def press(self, interaction: discord.Interaction, _: object) -> None:
        async with self.editing:
            self.stopped = True
            await interaction.response.edit_message(content="stopped", view=None)


@app_commands.command(description="Count to a thousand")
async def count(interaction: discord.Interaction) -> None:
    view = Stop()
    await interaction.response.defer()
    for number in range(1, 1001):
        async with view.editing:
            if view.stopped:
                return
            await interaction.edit_original_response(content=str(number), view=view)
        await asyncio.sleep(0.1)


@app_commands.command(description="Answer too late")
async def dawdle(interaction: discord.Interaction) -> None:
    await asyncio.sleep(3.2)
    try:
        await interaction.response.defer()
    except discord.NotFound as error:
        interaction.client.too_late.append(error)


@app_commands.command(description="Show a picture with a button")
async def show(interaction: discord.Interaction) -> None:
    file = discord.File(io.BytesIO(picture("red", (PICTURE_PX, PICTURE_PX))), "red.png")
    await interaction.response.send_message("A picture:", file=file, view=Stop())


@app_commands.context_menu(name="Name files")
async def name_files(interaction: discord.Interaction, message: discord.Message) -> None:
    names = ", ".join(file.filename for file in message.attachments)
    await interaction.response.send_message(f"It holds {names}", ephemeral=True)
