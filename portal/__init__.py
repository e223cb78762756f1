"""Lotgate: the gate that battery, UPS and power components pass before they are bought."""

__version__ = "0.1.0"
