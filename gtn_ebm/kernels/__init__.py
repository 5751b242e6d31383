"""Compiled loops: plain arrays in and out, no torch, no classes, nothing else of ours.

Every kernel is sequential and releases the GIL, so that one thread pool of ours spreads a batch over the
cores. Index arrays come in as uint32 (a signed index is tested for negatives on every access) and int32
arrays are viewed so at the caller's border. Each file holds all it calls, because numba's disk cache does not
notice edits in imported helpers.
"""
