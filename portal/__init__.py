"""Lotgate: the gate that battery, UPS and power components pass before they are bought.

Kept free of imports: `portal.app.create_app` wires the portal, `portal.cli.main` is the command.
"""

__version__ = "0.1.0"
