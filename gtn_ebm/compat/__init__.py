"""Other toolkits' interfaces on this engine, so that programs written for them run here."""
