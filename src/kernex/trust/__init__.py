"""Whom to believe: device keys and the assertions that they sign."""
