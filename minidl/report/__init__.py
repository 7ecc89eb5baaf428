"""Pictures: of plans before they run, and of runs afterwards."""
