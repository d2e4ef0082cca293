"""Kernex carries AI models to fleets of edge devices and puts the old one back when the new one does not work."""

__version__ = "0.1.0"
