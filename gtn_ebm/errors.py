"""The errors this package raises on purpose, so that a caller can tell bad input from a bug."""


class GtnEbmError(Exception):
    """Base of every error raised on purpose by this package."""


class GraphError(GtnEbmError, ValueError):
    """A graph, or a combination of graphs, that an operation cannot take."""


class CycleError(GraphError):
    """A cycle that must not be, or round which a sum diverges; the message names it, or a state on it."""


class GraphFormatError(GtnEbmError, ValueError):
    """A file or text that does not hold what its format asks for; the message says where."""


class DataError(GtnEbmError, ValueError):
    """A data set, image or model folder that cannot be used; the message says which file and why."""
