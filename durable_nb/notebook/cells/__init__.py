"""Durable cells: what a cell reads and makes, whether it must run again, and how its values are kept."""
