"""`lotgate users`: accounts from the command line; how the first administrator comes to be."""

import click
from passlib.totp import TOTP
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts import service
from portal.accounts.actors import MACHINE
from portal.accounts.models import BUYER_ROLES, Organisation, OrganisationKind, RoleName
from portal.app import create_app
from portal.cli.database import upgrade_database
from portal.clock import Clock
from portal.db import open_session
from portal.errors import InvalidInput, Problem
from portal.formats import label
from portal.http.context import db, parts
from portal.settings import load_settings
from portal.suppliers.service import create_supplier


@click.group("users", help="Manage accounts.")
def users_group() -> None: ...


@users_group.command("add", help="Make an account, and print the password made for it.")
@click.option("--email", required=True, help="The address the person signs in with.")
@click.option("--name", required=True, help="The person's name.")
@click.option("--role", required=True, type=click.Choice([role.value for role in RoleName]))
@click.option("--organisation", default="", help="Their company; made if there is none of this name.")
def add_command(email: str, name: str, role: str, organisation: str) -> None:
    chosen = RoleName(role)
    settings = load_settings()
    upgrade_database(settings)  # this is often the first command of an installation
    app = create_app(settings)
    with app.app_context(), open_session(db.engine) as session:
        clock = parts().clock
        found = _organisation(session, clock, chosen, organisation)
        user, password = service.create_user(
            session, clock, organisation_id=found.id, email=email, name=name, role=chosen
        )
        session.commit()
        click.echo(f"{user.name} is {label(chosen).lower()} of {found.name}.")
        click.echo(f"  sign in   {settings.public_url.rstrip('/')}/account/sign-in")
        click.echo(f"  address   {user.email}")
        click.echo(f"  password  {password}")
        if user.needs_second_factor:
            click.echo("  The first sign-in sets up the second factor: have an authenticator app at hand.")


@users_group.command("code", help="Show the six digits that an authenticator app would show now.")
@click.argument("secret")
def code_command(secret: str) -> None:
    """SECRET is base32, as the demo prints it (RFC 6238: SHA-1, 30 seconds, 6 digits)."""
    try:
        token = TOTP(key=secret).generate()
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"SECRET: expected base32 text, found something else ({error})") from None
    click.echo(token.token)


def _organisation(session: Session, clock: Clock, role: RoleName, name: str) -> Organisation:
    """The one named, or made; for the buyer's roles the one buyer, which needs no name once it is there."""
    if role in BUYER_ROLES:
        buyer = service.find_buyer(session)
        if buyer is None:
            return service.create_buyer(session, clock, name or "Buyer")
        if name and name != buyer.name:
            raise InvalidInput(
                "there is one buying organisation only",
                (Problem("--organisation", buyer.name, name, "Leave it out."),),
            )
        return buyer
    if not name:
        raise InvalidInput(
            "a supplier's account needs its company",
            (Problem("--organisation", "the company's name", "nothing"),),
        )
    found = session.scalar(
        select(Organisation).where(Organisation.name == name, Organisation.kind == OrganisationKind.SUPPLIER)
    )
    if found is not None:
        return found
    supplier = create_supplier(session, MACHINE, clock, name=name, country=None)
    return session.get_one(Organisation, supplier.id)
