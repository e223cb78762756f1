"""The `lotgate` command and its words."""

from typing import Any

import click

from portal import __version__
from portal.errors import InvalidInput, LotgateError, SettingsError

# Words are loaded when used: `lotgate hash` must not wait for what only the portal needs.
WORDS: dict[str, str] = {
    "backup": "portal.cli.backup:backup_command",
    "bundle": "portal.cli.bundle:bundle_command",
    "config": "portal.cli.config:config_command",
    "db": "portal.cli.database:db_group",
    "demo": "portal.cli.demo:demo_command",
    "fsck": "portal.cli.fsck:fsck_command",
    "ledger": "portal.cli.ledger:ledger_group",
    "hash": "portal.cli.verify:hash_command",
    "monitor": "portal.cli.monitor:monitor_command",
    "restore": "portal.cli.backup:restore_command",
    "retention": "portal.cli.retention:retention_group",
    "serve": "portal.cli.serve:serve_command",
    "users": "portal.cli.users:users_group",
    "verify": "portal.cli.verify:verify_command",
    "witness": "portal.cli.witness:witness_group",
    "verify-bundle": "portal.cli.verify_bundle:verify_bundle_command",
    "verify-receipt": "portal.cli.receipts:verify_receipt_command",
    "worker": "portal.cli.serve:worker_command",
}
WRONG_USAGE = 2


class Words(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(WORDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in WORDS:
            return None
        module, attribute = WORDS[name].split(":")
        command = getattr(__import__(module, fromlist=[attribute]), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except SettingsError as error:
            raise click.UsageError(error.message) from None
        except InvalidInput as error:
            lines = [error.message, *(f"  {problem}" for problem in error.problems)]
            raise click.ClickException("\n".join(lines)) from None
        except LotgateError as error:
            raise click.ClickException(error.message) from None
        except Exception as error:
            if type(error).__module__ != "sqlalchemy.exc":  # not imported here: most words need no database
                raise
            why = str(error).partition("\n")[0]
            raise click.ClickException(
                f"The database cannot be used: {why}. `lotgate db upgrade` makes it or brings it up to date."
            ) from None


@click.group(cls=Words, help="Lotgate: evidence in, proof out.", context_settings={"max_content_width": 100})
@click.version_option(__version__, package_name="lotgate", prog_name="lotgate")
def main() -> None: ...
