"""How the code of notebooks travels: from live functions and classes to their source, and back in another process."""
