"""`python -m tests.bench`: the speed table of DESIGN.md section 5, measured on this machine, now."""
