"""Emissions × graph, frame by frame, without composing them."""
