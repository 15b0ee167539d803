"""The notebook: durable cells, magics, and what they show."""
