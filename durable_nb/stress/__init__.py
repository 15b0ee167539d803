"""Many runs at once for a while: how fast a log is on this machine, and whether anything is lost."""
